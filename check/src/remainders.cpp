// SPDX-License-Identifier: Apache-2.0
#include "remainders.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>

namespace chainrule::internal {
namespace {

// What is smooth leaves 64 or some more times less of itself at half the step; an edge that is no
// more inside leaves nothing.
constexpr double kDrop = 1e4;
constexpr double kFade = 16;
// Rows of larger steps that tell how a remainder grew.
constexpr int kBack = 4;

// f - f(0) at 2 j s for j = -4 ... 4.
std::array<double, 9> equally_spaced(Line& line, std::size_t channel, int row, bool& usable) {
  std::array<double, 9> f{};
  usable = true;
  for (int j = 1; j <= 4; ++j) {
    const Difference d = at_row(line, channel, row, 2 * j);
    usable = usable && d.finite;
    f[static_cast<std::size_t>(4 + j)] = d.right * d.step;
    f[static_cast<std::size_t>(4 - j)] = -d.left * d.step;
  }
  return f;
}

// sigma_k of More & Wild for k = 4, 5, 6, the least: the higher the order, the less is left of what
// is smooth. Negative where f is not finite.
double remainder_of(Line& line, std::size_t channel, int row) {
  bool usable = false;
  std::array<double, 9> f = equally_spaced(line, channel, row, usable);
  if (!usable) return -1;
  // Squares neither overflow nor vanish beside the largest.
  double largest = 0;
  for (const double value : f) largest = std::max(largest, std::abs(value));
  if (largest == 0) return 0;
  for (double& value : f) value /= largest;
  double least = std::numeric_limits<double>::infinity(), gamma = 1;
  for (std::size_t k = 1; k <= 6; ++k) {
    double sum = 0;
    for (std::size_t j = 0; j + k < f.size(); ++j) {
      f[j] = f[j + 1] - f[j];
      sum += f[j] * f[j];
    }
    const auto order = static_cast<double>(k);
    gamma *= order / (2 * (2 * order - 1));
    if (k < 4) continue;
    least = std::min(least, std::sqrt(gamma * sum / (9 - order)));
  }
  return largest * least;
}

constexpr std::size_t kHalf = 4;

// The second largest of the kHalf before `end`.
double second_largest(const double* end) {
  std::array<double, kHalf> sorted{};
  std::copy_n(end - kHalf, kHalf, sorted.begin());
  std::sort(sorted.begin(), sorted.end());
  return sorted[kHalf - 2];
}

// What the 2 kHalf remainders before `end` have without a trend; 0 if there is one.
double without_trend(const double* end) {
  const double larger = second_largest(end - kHalf), smaller = second_largest(end);
  return smaller >= larger / 4 && smaller <= 8 * larger ? larger : 0;
}

}  // namespace

Difference at_row(Line& line, std::size_t channel, int row, int multiple) {
  return line.at_step(multiple * line.unaligned_step(row + kRowSteps - 1), channel);
}

Remainders::Remainders(Line& line, std::size_t channel, int first_row, int last_row)
    : first_row_(first_row) {
  for (int row = first_row - kBack; row <= last_row; ++row) {
    values_.push_back(remainder_of(line, channel, row));
  }
  std::copy_if(rows().begin(), rows().end(), std::back_inserter(finite_),
               [](double of) { return of >= 0; });
}

std::span<const double> Remainders::rows() const { return std::span(values_).subspan(kBack); }

double Remainders::of_steps(int row) const {
  const auto begin = rows().begin() + (row - first_row_);
  return *std::max_element(begin, begin + kRowSteps);
}

double Remainders::dropped_at(int row) const {
  const auto k = static_cast<std::size_t>(row - first_row_ + kBack - 1);
  return row > first_row_ && values_[k] > kDrop * values_[k + 1] ? values_[k] : 0;
}

double Remainders::noise(double small, double unit) const {
  return std::max({alike(4, 4, small), alike(3, 3, unit), above_a_plateau(unit)});
}

double Remainders::at_the_end() const {
  return finite_.size() < kHalf ? 0 : second_largest(finite_.data() + finite_.size());
}

bool Remainders::has_trend_at_the_end() const {
  return finite_.size() < 2 * kHalf || without_trend(finite_.data() + finite_.size()) == 0;
}

// The largest that `count` rows in succession have alike.
double Remainders::alike(std::ptrdiff_t count, double ratio, double most) const {
  double result = 0;
  const auto all = rows();
  if (std::ssize(all) < count) return 0;
  for (auto end = all.begin() + count; end <= all.end(); ++end) {
    const auto [low, high] = std::minmax_element(end - count, end);
    if (*low > 0 && *high <= ratio * *low && *high <= most) result = std::max(result, *high);
  }
  return result;
}

// The largest that all but vanishes at half the step, which no series does: there all steps are on
// one tread of a staircase.
double Remainders::above_a_plateau(double most) const {
  double result = 0;
  for (std::size_t k = kBack; k + 1 < values_.size(); ++k) {
    if (values_[k] <= most && drops_below(k) && !grew_before(k)) {
      result = std::max(result, values_[k]);
    }
  }
  return result;
}

double Remainders::steady(double most) const {
  double result = 0;
  const auto all = rows();
  for (std::size_t count = 2 * kHalf; count <= all.size(); ++count) {
    const double of = without_trend(all.data() + count);
    if (of <= most) result = std::max(result, of);
  }
  return result;
}

int Remainders::row_of_smoothness(double rounding) const {
  const auto all = rows();
  const auto fades = [&](std::size_t k) {
    return all[k + 1] > 0 && all[k] > kFade * all[k + 1] && all[k] < kDrop * all[k + 1];
  };
  std::size_t begin = all.size();
  while (begin > 0 && all[begin - 1] <= rounding) --begin;
  // Its first row has faded to rounding, those before it on the way there.
  const bool smooth = begin >= 3 && begin < all.size() && fades(begin - 3) && fades(begin - 2);
  return first_row_ + static_cast<int>(smooth ? begin - 1 : all.size());
}

int Remainders::row_of_treads() const {
  for (std::size_t k = kBack; k + 1 < values_.size(); ++k) {
    if (values_[k - kBack] >= 0 && drops_below(k) && !grew_before(k)) {
      return first_row_ - kBack + static_cast<int>(k);
    }
  }
  return first_row_ - 1;
}

bool Remainders::drops_below(std::size_t k) const {
  return values_[k + 1] >= 0 && values_[k] > kDrop * values_[k + 1];
}

// True when larger steps leave more and more, in proportion to them or to a power, as beside a
// kink; beside many treads of a staircase they leave as much. At the drop itself the edge is just
// inside.
bool Remainders::grew_before(std::size_t k) const {
  constexpr double kGrowth = 6;   // in three rows, where that of a kink is 8 ...
  constexpr double kLeast = 1.4;  // ... and in each, where it is 2
  for (std::size_t row = k - kBack; row + 1 < k; ++row) {
    if (!(values_[row] > kLeast * values_[row + 1])) return false;
  }
  return values_[k - kBack] > kGrowth * values_[k - 1];
}

}  // namespace chainrule::internal
