// SPDX-License-Identifier: Apache-2.0
#include "ridders.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>

#include "plateau.hpp"

namespace chainrule::internal {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr int kWindow = 6;  // rows of one window
constexpr int kStride = 5;  // two windows in succession share one row
// An error bar below this part of the terms is as good as any.
constexpr double kGood = 1e-10;
constexpr double kConverged = 1e-3;
// Rounding errors of kernels, in units of eps |y|.
constexpr double kRoundings = 8;
// A jump between the slopes is one when it is so many error bars large.
constexpr double kSureJump = 10;
constexpr double kNoJump = 2;
// How much the noise of differences over h grows by extrapolation in all powers of h.
constexpr double kOneSidedGrowth = 8;

// What rounding makes of a difference of numbers of that size over a step.
double rounding_of(double size, double step) {
  if (size == 0) return 0;
  return kEpsilon * std::max(size, std::numeric_limits<double>::min()) / step;
}

double relative(double error, double scale) { return error == 0 ? 0 : error / scale; }

using Rows = std::array<double, kWindow>;

struct Extrapolated {
  double value = 0;
  double error = kInfinity;
  int row = 0;
};

// Richardson's table of values at h, h / 2, h / 4, ..., whose error is a series in h^p, h^2p, ...,
// with base = 2^p. Takes the entry with the smallest error: by how much it differs from its
// neighbours, but not less than what rounding leaves of its row.
Extrapolated extrapolate(const Rows& values, const Rows& rounding, double base) {
  Extrapolated best;
  Rows before{}, now{};
  // One row and one order more gain at least base^2.
  const double gain = base * base;
  for (std::size_t k = 0; k < values.size(); ++k) {
    now[0] = values[k];
    double factor = 1;
    for (std::size_t m = 1; m <= k; ++m) {
      factor *= base;
      now[m] = now[m - 1] + (now[m - 1] - before[m - 1]) / (factor - 1);
      const double error = std::max(
          {std::abs(now[m] - now[m - 1]), std::abs(now[m] - before[m - 1]) / gain, rounding[k]});
      if (error < best.error) best = {now[m], error, static_cast<int>(k)};
    }
    before = now;
  }
  return best;
}

// The rows [first, first + kWindow) of a channel.
struct Window {
  int first = 0;
  Rows steps{}, slopes{}, left{}, right{}, jumps{};
  Difference last;
  bool moved = false;
  double scatter = 0;  // noise of sum_i v_i y_i, as the estimates from the smaller steps have it

  Rows noise(double scatter_of, double growth) const {
    Rows result{};
    for (std::size_t k = 0; k < result.size(); ++k) result[k] = growth * scatter_of / steps[k];
    return result;
  }
};

// Nothing where y is not finite: then `first_finite` is the row to go on from.
std::optional<Window> make_window(Line& line, std::size_t channel, int first, int& first_finite) {
  Window window;
  window.first = first;
  for (int k = kWindow - 1; k >= 0; --k) {
    const Difference& row = line.at(first + k, channel);
    if (!row.finite) {
      first_finite = first + k + 1;
      return std::nullopt;
    }
    const auto at = static_cast<std::size_t>(k);
    window.steps[at] = row.step;
    window.slopes[at] = row.slope;
    window.left[at] = row.left;
    window.right[at] = row.right;
    window.jumps[at] = row.right - row.left;
    window.moved = window.moved || row.moved > 0;
  }
  window.last = line.at(first + kWindow - 1, channel);
  // Estimates of the same order from successive rows differ by noise, once h is small.
  Rows second{};
  for (std::size_t k = 2; k < kWindow; ++k) {
    const auto once = [&](std::size_t i) {
      return window.slopes[i] + (window.slopes[i] - window.slopes[i - 1]) / 3;
    };
    second[k] = once(k) + (once(k) - once(k - 1)) / 15;
    if (k < 3) continue;
    window.scatter =
        std::max(window.scatter, std::abs(second[k] - second[k - 1]) * window.steps[k]);
  }
  return window;
}

class Search {
 public:
  Search(Line& line, std::size_t channel) : line_(line), channel_(channel) {}

  NumericDerivative run() {
    std::optional<Window> before;
    for (int row = 0; row + kWindow - 1 <= line_.last_row();) {
      int next = 0;
      std::optional<Window> window = make_window(line_, channel_, row, next);
      if (!window) {
        before.reset();
        row = next;
        continue;
      }
      if (!window->moved) return flat(*window);
      if (before && (accept(*before, *window) || only_worse(*window))) break;
      before = std::move(window);
      row += kStride;
    }
    if (!best_.resolved) best_.doubt = best_.moved ? Doubt::kDiverges : Doubt::kDomain;
    // What never converged is known by its size alone.
    const double scale = scale_of(best_.value, best_.terms);
    if (best_.error_bar > kConverged * scale) best_.error_bar += scale;
    return best_;
  }

 private:
  static double scale_of(double value, double terms) { return std::max(std::abs(value), terms); }

  // True when even the largest step of the next window would be more uncertain than what there is.
  bool only_worse(const Window& now) const {
    if (!best_.resolved) return false;
    const double rounding = kRoundings * rounding_of(now.last.size, now.last.step);
    return relative(rounding, scale_of(0, now.last.terms)) >
           relative(best_.error_bar, scale_of(best_.value, best_.terms));
  }

  NumericDerivative flat(const Window& window) {
    const Difference& row = line_.at(window.first, channel_);
    NumericDerivative result;
    result.resolved = true;
    result.step = row.step;
    result.hidden = rounding_of(row.still, row.step);
    result.saturation = rounding_of(row.still, line_.telling(row.step));
    if (window.first == 0) return result;
    // Farther away it moves: did it only become too flat for its own rounding?
    const Plateau plateau = plateau_around(line_, channel_, window.first);
    result.by_rounding = plateau.is_fine;
    result.saturation = std::max(result.saturation, plateau.hidden());
    const bool same = best_.resolved && std::abs(best_.value) <= kRoundings * result.saturation;
    return same ? best_ : result;
  }

  // Takes the better of two windows if it is better than what was; true when it is good enough.
  bool accept(const Window& before, const Window& now) {
    const double scatter = now.scatter;
    const bool even = has_even_series(before, scatter);
    const Extrapolated a = slope_of(before, scatter, even), b = slope_of(now, scatter, even);
    const Extrapolated jump_a = jump_of(before, scatter), jump_b = jump_of(now, scatter);
    if (is_kink(jump_a, jump_b, now)) {
      take_kink(before, now, scatter);
      return true;
    }

    const bool first = a.error <= b.error;
    const Window& window = first ? before : now;
    const Extrapolated& better = first ? a : b;
    const Difference& row = line_.at(window.first + better.row, channel_);
    const double apart = std::abs(a.value - b.value);
    const bool agree =
        apart <= 2 * (a.error + b.error) + kRoundings * rounding_of(now.last.size, now.last.step);
    const bool smooth = std::abs(jump_b.value) <= kNoJump * jump_b.error;
    double bar = better.error;
    if (!agree) bar += apart;
    if (!smooth) bar += std::abs(jump_b.value) / 2;  // or is it a kink that noise hides?
    const double scale = scale_of(better.value, now.last.terms);
    if (best_.moved && !is_better(agree, bar, scale)) return false;
    const bool contradicted =
        best_.contradicted || (agree && best_.resolved &&
                               std::abs(best_.value - better.value) >
                                   kSureJump * (best_.error_bar + bar + best_.rounding));
    best_ = NumericDerivative{};
    best_.contradicted = contradicted;
    best_.value = better.value;
    best_.error_bar = bar;
    best_.step = row.step;
    best_.rounding = rounding_of(row.size, row.step);
    best_.hidden = rounding_of(row.still, line_.telling(row.step));
    best_.terms = now.last.terms;
    best_.reached = std::max(line_.at(before.first, channel_).moved, now.last.moved);
    best_.moved = true;
    best_.resolved = agree;
    return agree && smooth && bar <= kGood * scale;
  }

  // By the bar relative to what it is the bar of: far from the scale of the function, where every
  // estimate is wrong, bars are small but so are the estimates.
  bool is_better(bool agree, double bar, double scale) const {
    if (agree != best_.resolved) return agree;
    const double now = relative(bar, scale);
    const double before = relative(best_.error_bar, scale_of(best_.value, best_.terms));
    return now < before || (bar < best_.error_bar / 8 && now < 4 * before);
  }

  // Central differences: a series in h^2 where f is smooth, in h where its second derivative jumps.
  static Extrapolated slope_of(const Window& window, double scatter, bool even) {
    if (even) return extrapolate(window.slopes, window.noise(scatter, 2), 4);
    return extrapolate(window.slopes, window.noise(scatter, kOneSidedGrowth), 2);
  }

  static bool has_even_series(const Window& window, double scatter) {
    const Extrapolated even = slope_of(window, scatter, true);
    const Extrapolated any = slope_of(window, scatter, false);
    return std::abs(even.value - any.value) <= kSureJump * (even.error + any.error);
  }

  static Extrapolated jump_of(const Window& window, double scatter) {
    const double noise = std::max(scatter, kRoundings * kEpsilon * window.last.size);
    return extrapolate(window.jumps, window.noise(noise, kOneSidedGrowth), 2);
  }

  // True when both windows see the same jump, and so do steps that rounding just leaves to us.
  bool is_kink(const Extrapolated& a, const Extrapolated& b, const Window& now) {
    const double jump = std::abs(b.value);
    if (!(jump > kSureJump * b.error) || !(std::abs(a.value) > kSureJump * a.error)) return false;
    if (std::abs(a.value - b.value) > jump / 4) return false;
    const double wanted = 25 * kOneSidedGrowth * kRoundings * kEpsilon * now.last.size / jump;
    int row = line_.last_row();
    while (line_.step(row) < wanted) --row;
    if (row < now.first + kWindow) return false;
    const Difference& close = line_.at(row, channel_);
    return close.finite && std::abs((close.right - close.left) - b.value) <= jump / 4 &&
           !is_bend(row);
  }

  // True when the straight lines that f follows on both sides miss the point between them: what is
  // round there, within steps that rounding does not leave to us, is no kink.
  bool is_bend(int row) {
    const Difference &close = line_.at(row, channel_), &twice = line_.at(row - 1, channel_),
                     &far = line_.at(row - 2, channel_);
    const double noise = 2 * kRoundings * kEpsilon * close.size;
    const auto misses = [&](double at_h, double at_2h, double at_4h) {
      const double by = std::abs(2 * close.step * (at_h - at_2h));
      // Curvature, too, makes them miss, but four times as much at twice the step.
      return by > noise && std::abs(4 * close.step * (at_2h - at_4h)) < 2.5 * by;
    };
    return misses(close.right, twice.right, far.right) || misses(close.left, twice.left, far.left);
  }

  void take_kink(const Window& before, const Window& now, double scatter) {
    const auto slope = [&](const Rows& first, const Rows& second) {
      const Extrapolated a = extrapolate(first, before.noise(scatter, kOneSidedGrowth), 2);
      const Extrapolated b = extrapolate(second, now.noise(scatter, kOneSidedGrowth), 2);
      return a.error <= b.error ? a : b;
    };
    const Extrapolated left = slope(before.left, now.left), right = slope(before.right, now.right);
    best_ = NumericDerivative{};
    best_.kink = best_.moved = best_.resolved = true;
    best_.left_slope = left.value;
    best_.right_slope = right.value;
    best_.slope_error = std::max(left.error, right.error);
    best_.value = (left.value + right.value) / 2;
    best_.error_bar = best_.slope_error;
    best_.step = now.steps.front();
    best_.rounding = rounding_of(now.last.size, best_.step);
    best_.terms = now.last.terms;
    best_.reached = now.last.moved;
  }

  Line& line_;
  std::size_t channel_;
  NumericDerivative best_;
};

}  // namespace

NumericDerivative differentiate(Line& line, std::size_t channel) {
  return Search(line, channel).run();
}

}  // namespace chainrule::internal
