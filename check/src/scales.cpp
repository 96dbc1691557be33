// SPDX-License-Identifier: Apache-2.0
#include "scales.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace chainrule::internal {
namespace {

constexpr int kFirstRow = -5;  // steps larger than the first
constexpr int kSteps = 4;      // of one estimate
// Estimates that are needed to refute.
constexpr std::ptrdiff_t kWitnesses = 2;
constexpr double kNoiseBeside = 1e-3;
constexpr double kNoiseUnits = 16;
// More than what is computed in float32 is rounded by, beside how far it gets, or beside 1.
constexpr double kCoarse = 1e-6;
// What is smooth leaves 64 or some more times less of itself at half the step; an edge that is no
// more inside leaves nothing.
constexpr double kDrop = 1e4;

using Steps = std::array<double, kSteps>;

struct Range {
  double low, high;
  bool contains(double x) const { return x >= low && x <= high; }
};

// Entries [first, kSteps) of one column of Richardson's table.
struct Column {
  Steps entries{};
  std::size_t first = 0;

  double last() const { return entries.back(); }
  double spread(std::size_t from) const {
    const auto [low, high] =
        std::minmax_element(entries.begin() + static_cast<std::ptrdiff_t>(from), entries.end());
    return *high - *low;
  }
  // All ratios of successive differences are what the leading term of the error makes of them.
  bool converges(const Range& ratio) const {
    if (first + 2 >= entries.size()) return false;
    for (std::size_t k = first + 2; k < entries.size(); ++k) {
      const double now = entries[k - 1] - entries[k];
      if (now == 0 || !ratio.contains((entries[k - 2] - entries[k - 1]) / now)) return false;
    }
    return true;
  }
  Column next(double base) const {
    Column result{.entries = {}, .first = first + 1};
    for (std::size_t k = result.first; k < entries.size(); ++k) {
      result.entries[k] = entries[k] + (entries[k] - entries[k - 1]) / (base - 1);
    }
    return result;
  }
};

// What four steps, each half the one before, tell.
struct Estimate {
  double value = 0;
  double bar = 0;
  double tolerance = 0;   // what it lets pass
  double support = 0;     // the same if what fades at smaller steps is no noise
  double local = 0;       // the same of the noise that these very steps have
  bool verified = false;  // a smooth function was seen at these steps
  Difference last;        // of the smallest step
  int row = 0;            // of the largest

  bool refutes(double claimed) const { return !(std::abs(claimed - value) <= tolerance); }
  bool supports(double claimed) const { return verified && std::abs(claimed - value) <= support; }
  bool sees(double other) const { return std::abs(other - value) <= local; }
};

Estimate cautious(const Steps& slopes, double noise) {
  Column column{.entries = slopes};
  Estimate result;
  // Without a series the largest step is left out: the spread of the others is more than their
  // distance from the limit of any power of h.
  std::size_t from = 1;
  double base = 4;
  for (const Range& ratio : {Range{3.4, 4.7}, Range{11, 23}}) {
    if (!column.converges(ratio)) break;
    column = column.next(base);
    base *= 4;
    from = column.first;
    result.verified = true;
  }
  const double spread = column.spread(from);
  result.verified = result.verified || spread <= 4 * noise;
  result.value = column.last();
  result.bar = std::max(spread, 2 * noise);
  return result;
}

// Of the slopes from both sides, extrapolated to the point: 0 where that is what they tend to.
double jump_at_point(const Steps& jumps) {
  const auto once = [&](std::size_t k) { return 2 * jumps[k] - jumps[k - 1]; };
  const double before = std::abs(once(2)), last = std::abs(once(3));
  return last <= before / 4 ? 0 : last;
}

// The steps of a row: s, 2 s, 4 s and 8 s, of digits that no other row has.
Difference of_row(Line& line, std::size_t channel, int row, int multiple) {
  return line.at_step(multiple * line.unaligned_step(row + kSteps - 1), channel);
}

// f - f(0) at 2 j s for j = -4 ... 4.
std::array<double, 9> equally_spaced(Line& line, std::size_t channel, int row, bool& usable) {
  std::array<double, 9> f{};
  usable = true;
  for (int j = 1; j <= 4; ++j) {
    const Difference d = of_row(line, channel, row, 2 * j);
    usable = usable && d.finite;
    f[static_cast<std::size_t>(4 + j)] = d.right * d.step;
    f[static_cast<std::size_t>(4 - j)] = -d.left * d.step;
  }
  return f;
}

// sigma_k of More & Wild for k = 4, 5, 6, the least: the higher the order, the less is left of what
// is smooth. Negative where f is not finite.
double noise_at(Line& line, std::size_t channel, int row) {
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

double reach_of(Line& line, std::size_t channel) {
  for (int row = kFirstRow; row <= 0; ++row) {
    const Difference& far = line.at(row, channel);
    if (far.finite) return far.step * (std::abs(far.left) + std::abs(far.right));
  }
  return 0;
}

// The largest remainder that `count` rows in succession have alike. An edge inside the steps leaves
// a remainder too, but in proportion to them or to a power.
double alike(const std::vector<double>& remainders, std::ptrdiff_t count, double ratio,
             double most) {
  double result = 0;
  if (std::ssize(remainders) < count) return 0;
  for (auto end = remainders.begin() + count; end <= remainders.end(); ++end) {
    const auto [low, high] = std::minmax_element(end - count, end);
    if (*low > 0 && *high <= ratio * *low && *high <= most) result = std::max(result, *high);
  }
  return result;
}

// The largest remainder that all but vanishes at half the step, which no series does: there all
// steps are on one tread of a staircase.
double above_a_plateau(const std::vector<double>& remainders, double most) {
  double result = 0;
  for (std::size_t k = 0; k + 1 < remainders.size(); ++k) {
    const double here = remainders[k], below = remainders[k + 1];
    if (below >= 0 && here <= most && here > kDrop * below) result = std::max(result, here);
  }
  return result;
}

// The largest remainder that has no trend over eight rows: less sensitive to single rows, and
// surer. What many edges leave gets less with the steps.
double steady(const std::vector<double>& remainders, double most) {
  constexpr std::ptrdiff_t kHalf = 4;
  const auto second_largest = [](auto begin) {
    std::array<double, kHalf> sorted{};
    std::copy_n(begin, kHalf, sorted.begin());
    std::sort(sorted.begin(), sorted.end());
    return sorted[kHalf - 2];
  };
  double result = 0;
  if (std::ssize(remainders) < 2 * kHalf) return 0;
  for (auto end = remainders.begin() + 2 * kHalf; end <= remainders.end(); ++end) {
    const double larger = second_largest(end - 2 * kHalf), smaller = second_largest(end - kHalf);
    const bool flat = smaller >= larger / 4 && smaller <= 8 * larger;
    if (flat && larger <= most) result = std::max(result, larger);
  }
  return result;
}

// The row below which all steps are on one tread of a staircase, however high its steps are: its
// remainder does not grow in proportion to h, as that of a kink does. Before the first row where
// there is none.
int row_of_treads(const std::vector<double>& remainders) {
  constexpr std::size_t kBack = 3;
  constexpr double kGrowth = 6;  // in three rows, where that of a kink is 8
  for (std::size_t k = kBack + 1; k + 1 < remainders.size(); ++k) {
    const double here = remainders[k], below = remainders[k + 1];
    if (below < 0 || !(here > kDrop * below)) continue;
    // At the drop itself an edge is just inside.
    const double before = remainders[k - 1], far = remainders[k - 1 - kBack];
    if (far >= 0 && far <= kGrowth * before) return kFirstRow + static_cast<int>(k);
  }
  return kFirstRow - 1;
}

// The noise of the function (ECnoise: More & Wild 2011, "Estimating computational noise", SIAM J.
// Sci. Comput. 33), where it is the same at steps of several sizes and small beside how far f gets.
double noise_of(Line& line, std::size_t channel, const std::vector<double>& remainders) {
  const double unit = kNoiseUnits * kEpsilon * std::max(1.0, line.at(0, channel).size);
  const double small = std::max(kNoiseBeside * reach_of(line, channel), unit);
  return std::max({alike(remainders, 4, 4, small), alike(remainders, 3, 3, unit),
                   above_a_plateau(remainders, unit)});
}

class Scales {
 public:
  Scales(Line& line, std::size_t channel, double claimed, const NumericDerivative& first,
         const Trust& trust)
      : line_(line), channel_(channel), claimed_(claimed), first_(first), trust_(trust) {}

  NumericDerivative run() && {
    collect();
    return agrees(first_) ? reconsider() : confirm();
  }

 private:
  template <class Predicate>
  std::ptrdiff_t count(const Predicate& predicate) const {
    return std::count_if(estimates_.begin(), estimates_.end(), predicate);
  }

  bool agrees(const NumericDerivative& with) const {
    const double tolerance =
        trust_.error_bars * with.error_bar + trust_.roundings * (with.rounding + with.hidden);
    return std::abs(claimed_ - with.value) <= tolerance;
  }

  template <class Predicate>
  const Estimate* best_of(const Predicate& predicate) const {
    const Estimate* best = nullptr;
    for (const Estimate& estimate : estimates_) {
      if (!predicate(estimate)) continue;
      if (best == nullptr || estimate.bar < best->bar) best = &estimate;
    }
    return best;
  }

  // The first look refutes the claim.
  NumericDerivative confirm() const {
    const double error = std::abs(claimed_ - first_.value);
    if (is_confirmed()) return first_;
    // Far from both, steps are as large as what the function is made of.
    const Estimate* best = best_of([&](const Estimate& e) {
      return std::abs(e.value - first_.value) <= 2 * error + e.tolerance;
    });
    if (best == nullptr) return first_;
    if (!best->refutes(claimed_)) {
      const bool refuted_closer = count([&](const Estimate& e) {
                                    return e.last.step < best->last.step && e.refutes(claimed_);
                                  }) > 0;
      const bool shown = best->tolerance < std::max(std::abs(claimed_), std::abs(best->value)) &&
                         count([&](const Estimate& e) {
                           return e.tolerance < 4 * best->tolerance && !e.refutes(claimed_);
                         }) >= kWitnesses;
      return refuted_closer || !shown ? contradiction(*best) : derivative(*best);
    }
    const bool supported =
        count([&](const Estimate& e) { return e.support < error / 4 && e.supports(claimed_); }) > 0;
    const bool refuted = count([&](const Estimate& e) {
                           return e.tolerance < error / 4 && e.refutes(claimed_);
                         }) >= kWitnesses;
    return refuted && !supported && !is_trend(claimed_) ? first_ : contradiction(*best);
  }

  // True when steps of all digits see the first look's derivative and not the claimed one where
  // they see no noise, and none see it the other way round: beside a jump of the function, which is
  // noise to larger steps. Rounding jumps as well, but not so far.
  bool is_confirmed() const {
    const auto confirming =
        count([&](const Estimate& e) { return e.sees(first_.value) && !e.sees(claimed_); });
    const auto doubting = count([&](const Estimate& e) {
      return (e.refutes(first_.value) && !e.refutes(claimed_)) ||
             (e.supports(claimed_) && !e.supports(first_.value));
    });
    return jumps_ && confirming >= kWitnesses && doubting == 0 && !is_trend(claimed_);
  }

  // True when steps over many treads of a staircase lead there, and not where one tread does: the
  // function is the trend if rounding makes the treads, as in (1 - cos x) / x^2 near 0, and the
  // tread if it is a sawtooth.
  bool is_trend(double claimed) const {
    return count([&](const Estimate& e) {
             return e.row <= tread_row_ && e.verified && std::abs(claimed - e.value) <= e.bar &&
                    std::abs(first_.value - e.value) > 2 * e.bar;
           }) > 0;
  }

  // The first look confirms the claim, but larger steps agreed on something else: were the smaller
  // ones on one tread of a staircase? Edges nearby look alike, but not over so many sizes. It is a
  // reason for doubt and no more.
  NumericDerivative reconsider() const {
    if (!steady_noise_) return first_;
    const Estimate* best = best_of([](const Estimate& e) { return e.verified; });
    if (best == nullptr || !best->refutes(claimed_)) return first_;
    const double error = std::abs(claimed_ - best->value);
    const bool supported = count([&](const Estimate& e) {
                             return e.tolerance < error / 4 && !e.refutes(claimed_);
                           }) > 0;
    return supported ? first_ : contradiction(*best);
  }

  // Rows from here on drown in the rounding of y.
  int last_useful_row() {
    const double error = std::max(std::abs(claimed_ - first_.value), first_.error_bar);
    int row = 0;
    while (row < line_.last_row()) {
      const Difference& d = line_.at(row, channel_);
      if (d.finite && kEpsilon * (d.size + d.still) > error * d.step) break;
      ++row;
    }
    return row;
  }

  void collect() {
    const int last = last_useful_row();
    std::vector<double> remainders;
    for (int row = kFirstRow; row <= last; ++row) {
      remainders.push_back(noise_at(line_, channel_, row));
    }
    const double noise = std::max(trust_.noise, noise_of(line_, channel_, remainders));
    steady_noise_ = noise <= 4 * steady(remainders, kNoiseBeside * reach_of(line_, channel_));
    tread_row_ = row_of_treads(remainders);
    jumps_ = noise > kCoarse * std::max(1.0, reach_of(line_, channel_));
    double edge = 0;  // what steps that are smaller do not see of the function
    for (int row = kFirstRow; row + kSteps - 1 <= last; ++row) {
      // Noise that is seen at smaller steps is there at larger ones, if they are lucky or not.
      const auto here = remainders.begin() + (row - kFirstRow);
      if (row > kFirstRow && here[-1] > kDrop * here[0]) edge = std::max(edge, here[-1]);
      const double local = *std::max_element(here, here + kSteps);
      add_estimate(row, std::max(noise, local), std::max(edge, local), local);
    }
  }

  // `here`: the noise at these steps and what they do not see; `local`: what they have themselves.
  void add_estimate(int row, double noise, double here, double local) {
    Steps slopes{}, jumps{};
    for (int k = 0; k < kSteps; ++k) {
      const Difference d = of_row(line_, channel_, row, 8 >> k);
      if (!d.finite) return;
      slopes[static_cast<std::size_t>(k)] = d.slope;
      jumps[static_cast<std::size_t>(k)] = d.right - d.left;
    }
    const Difference last = of_row(line_, channel_, row, 1);
    const double step = line_.telling(last.step);
    const double rounding = kEpsilon * (last.size + last.still) / step;
    const auto tolerance = [&](const Estimate& of) {
      return trust_.error_bars * of.bar + trust_.roundings * rounding;
    };
    const auto with_noise = [&](double of) {
      const double all = std::max(of / step, rounding);
      Estimate estimate = cautious(slopes, all);
      const double jump = jump_at_point(jumps);
      if (jump > 64 * all) {
        estimate.bar += jump / 2;
        estimate.verified = false;
      }
      return estimate;
    };
    Estimate estimate = with_noise(noise);
    estimate.tolerance = tolerance(estimate);
    estimate.support = tolerance(with_noise(std::max(trust_.noise, here)));
    estimate.local = tolerance(with_noise(local));
    estimate.last = last;
    estimate.row = row;
    estimates_.push_back(estimate);
  }

  NumericDerivative derivative(const Estimate& of) const {
    NumericDerivative result = first_;
    result.value = of.value;
    result.error_bar = of.bar;
    result.step = of.last.step;
    if (!first_.moved) {
      result.moved = of.last.moved > 0;
      result.reached = of.last.moved;
      result.terms = of.last.terms;
    }
    result.rounding = kEpsilon * of.last.size / line_.telling(of.last.step);
    result.hidden = kEpsilon * of.last.still / line_.telling(of.last.step);
    return result;
  }

  // The bar becomes what the scales disagree by.
  NumericDerivative contradiction(const Estimate& best) const {
    NumericDerivative result = derivative(best);
    result.error_bar += std::abs(claimed_ - best.value) + std::abs(first_.value - best.value);
    result.resolved = false;
    result.doubt = Doubt::kScales;
    return result;
  }

  Line& line_;
  std::size_t channel_;
  double claimed_;
  const NumericDerivative& first_;
  Trust trust_;
  std::vector<Estimate> estimates_;
  bool steady_noise_ = false;
  int tread_row_ = 0;
  bool jumps_ = false;  ///< what is noise to larger steps is too coarse to be rounding
};

}  // namespace

NumericDerivative differentiate_at_all_scales(Line& line, std::size_t channel, double claimed,
                                              const NumericDerivative& first, const Trust& trust) {
  return Scales(line, channel, claimed, first, trust).run();
}

}  // namespace chainrule::internal
