// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_taylor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "check_graph.hpp"
#include "compare.hpp"
#include "gradient_probe.hpp"

namespace chainrule {
namespace {

using internal::GradientProbe;
using internal::Subject;

constexpr std::uint64_t kDirectionStream = 5;
// Rounding errors of f, in units of eps |f|, and by how much a remainder must exceed them.
constexpr double kTaylorRoundings = 8;
constexpr double kAboveNoise = 16;
// The order is that over so many halvings.
constexpr std::size_t kFit = 3;
// What an error of the slope must be below, as a part of it, to go unseen: see check_taylor.hpp.
constexpr double kUnseenError = 1e-4;
// The least jump of the slope at a kink, as a part of the slope's error. Of many kinks it is a sum
// of terms of both signs, and so may be smaller than what it does to the slope.
constexpr double kJumpOfError = 1e-3;

using Step = TaylorDirection::Step;

// The smallest steps at which `part` is above the noise; none where they are too few.
std::span<const Step> smallest_steps(const std::vector<Step>& steps, double Step::*part) {
  std::size_t end = steps.size();
  while (end > 0 && !(steps[end - 1].*part > kAboveNoise * steps[end - 1].noise)) --end;
  if (end <= kFit) return {};
  return std::span(steps).subspan(end - 1 - kFit, kFit + 1);
}

// The order of `part` in t at its smallest steps above the noise; NaN when there are too few.
double order_of(const std::vector<Step>& steps, double Step::*part) {
  const std::span<const Step> smallest = smallest_steps(steps, part);
  if (smallest.empty()) return std::numeric_limits<double>::quiet_NaN();
  return std::log2(smallest.front().*part / smallest.back().*part) / static_cast<double>(kFit);
}

// Of r(t) = a t + b t^2 + c t^3 + ... at t, t/2, t/4, ...: 4 r(t/2) - r(t) = a t - c t^3 / 2 - ...,
// whose order is 1 or no less than 3. Where b t^2 and c t^3 cancel, so that r changes its sign and
// shrinks like nothing in particular, nothing happens to it.
class WithoutSquare {
 public:
  explicit WithoutSquare(std::span<const double> r) {
    for (std::size_t i = 0; i < kFit; ++i) rest_[i] = 4 * r[i + 1] - r[i];
  }

  double last() const { return rest_.back(); }
  /// Over the last halving; NaN where it changes its sign.
  double order() const {
    return keeps_its_sign() ? std::log2(rest_[kFit - 2] / rest_[kFit - 1])
                            : std::numeric_limits<double>::quiet_NaN();
  }
  /// |a|: the median, so that a single step, just where terms cancel, does not decide.
  double slope(std::span<const Step> steps) const {
    std::array<double, kFit> slopes;
    for (std::size_t i = 0; i < kFit; ++i) slopes[i] = std::abs(rest_[i]) / steps[i].t;
    std::nth_element(slopes.begin(), slopes.begin() + kFit / 2, slopes.end());
    return slopes[kFit / 2];
  }

 private:
  bool keeps_its_sign() const {
    return std::all_of(rest_.begin(), rest_.end(),
                       [&](double rest) { return rest * rest_.back() > 0; });
  }

  std::array<double, kFit> rest_{};
};

// Rounding of f; moves are rounded too, which f feels as much as it changes with x.
double noise_of(std::span<const double> weights, std::span<const double> y, double slope_size) {
  double size = 0;
  for (std::size_t i = 0; i < y.size(); ++i) size += std::abs(weights[i] * y[i]);
  return kTaylorRoundings * std::numeric_limits<double>::epsilon() * (size + slope_size);
}

class TaylorChecker {
 public:
  TaylorChecker(GradientProbe& probe, const TaylorOptions& options)
      : probe_(probe),
        options_(options),
        weights_(internal::output_weights(probe.outputs().size(), DType::kFloat64, options.seed)),
        y_(weights_.size()) {
    gradients_ = probe.gradients(weights_, DType::kFloat64);
  }

  TaylorDirection along(int number) {
    draw(number);
    TaylorDirection result;
    long double slope = 0, size = 0;
    for (std::size_t k = 0; k < gradients_.size(); ++k) {
      const ConstTensorView g = gradients_[k].view();
      for (Index i = 0; i < g.rows; ++i) {
        for (Index j = 0; j < g.columns; ++j) {
          const long double term =
              static_cast<long double>(
                  directions_[k][static_cast<std::size_t>(i * g.columns + j)]) *
              element(g, i, j);
          slope += term;
          size += std::abs(term);
        }
      }
    }
    result.slope = static_cast<double>(slope);
    sample(result, static_cast<double>(size));
    judge(result);
    probe_.restore();
    return result;
  }

 private:
  void draw(int number) {
    directions_.clear();
    const RandomKey key = derive({.seed = options_.seed, .stream = kDirectionStream},
                                 static_cast<std::uint64_t>(number));
    for (std::size_t k = 0; k < gradients_.size(); ++k) {
      const ConstTensorView x = probe_.point(k);
      directions_.push_back(
          internal::random_signs(derive(key, k), static_cast<std::size_t>(x.rows * x.columns)));
      double mean = 0;
      for (Index i = 0; i < x.rows; ++i) {
        for (Index j = 0; j < x.columns; ++j) mean += std::abs(element(x, i, j));
      }
      if (mean == 0 || directions_.back().empty()) continue;
      mean /= static_cast<double>(directions_.back().size());
      for (double& d : directions_.back()) d *= mean;
    }
  }

  // sum_i v_i (y_i(x + t u) - y_i(x)) into `change`; false where f is not finite.
  bool change_at(double t, double& change) {
    std::vector<Subject::Move> moves;
    for (std::size_t k = 0; k < directions_.size(); ++k) moves.push_back({k, directions_[k]});
    probe_.move(moves, t, y_);
    if (!std::all_of(y_.begin(), y_.end(), [](double y) { return std::isfinite(y); })) return false;
    const std::span<const double> y0 = probe_.outputs();
    long double sum = 0;
    for (std::size_t i = 0; i < y_.size(); ++i) {
      sum += static_cast<long double>(weights_[i]) *
             (static_cast<long double>(y_[i]) - static_cast<long double>(y0[i]));
    }
    change = static_cast<double>(sum);
    return true;
  }

  void sample(TaylorDirection& result, double slope_size) {
    remainders_.clear();
    for (int step = 0; step <= options_.halvings; ++step) {
      Step at;
      at.t = std::ldexp(options_.first_step, -step);
      double change = 0;
      if (!change_at(at.t, change)) {  // and larger steps went past where f ends
        result.steps.clear();
        remainders_.clear();
        continue;
      }
      const long double linear =
          static_cast<long double>(at.t) * static_cast<long double>(result.slope);
      remainders_.push_back(static_cast<double>(static_cast<long double>(change) - linear));
      at.change = std::abs(change);
      at.remainder = std::abs(remainders_.back());
      at.noise = noise_of(weights_, y_, slope_size);
      result.steps.push_back(at);
    }
  }

  void judge(TaylorDirection& result) {
    const auto& steps = result.steps;
    result.order = order_of(steps, &Step::remainder);
    result.order_of_change = order_of(steps, &Step::change);
    // Where f hardly changes, a gradient of zero would pass as well.
    if (!(result.order_of_change < options_.least_order)) return;
    result.exact = std::none_of(steps.begin(), steps.end(), [](const Step& step) {
      return step.remainder > kAboveNoise * step.noise;
    });
    if (result.exact) result.verdict = Verdict::kAgree;
    if (!std::isnan(result.order)) judge_order(result);
  }

  void judge_order(TaylorDirection& result) {
    const std::span<const Step> smallest = smallest_steps(result.steps, &Step::remainder);
    const auto first = static_cast<std::size_t>(smallest.data() - result.steps.data());
    const WithoutSquare rest = rest_from(first);
    result.slope_error = rest.slope(smallest);
    if (is_noise(rest, smallest)) {
      result.order = std::fmax(result.order, order_of_rest_before(result.steps, first));
    } else {
      result.order = rest.order();
    }
    if (std::isnan(result.order)) {
      const bool unseen = result.slope_error <= kUnseenError * std::abs(result.slope);
      if (unseen) result.verdict = Verdict::kAgree;
      return;
    }
    result.order = std::min(2.0, result.order);
    if (result.order >= options_.least_order) {
      result.verdict = Verdict::kAgree;
      return;
    }
    look_for_kink(result, smallest, first, rest);
    if (!result.kink) result.verdict = Verdict::kDisagree;
  }

  WithoutSquare rest_from(std::size_t first) const {
    return WithoutSquare(std::span<const double>(remainders_).subspan(first, kFit + 1));
  }

  static bool is_noise(const WithoutSquare& rest, std::span<const Step> steps) {
    return !(std::abs(rest.last()) > kAboveNoise * steps[kFit].noise);
  }

  // The order of what remains without the square, at the smallest of the steps before `end` where
  // it is above the noise; NaN when there are too few.
  double order_of_rest_before(const std::vector<Step>& steps, std::size_t end) const {
    while (end-- > 0) {
      const WithoutSquare rest = rest_from(end);
      if (!is_noise(rest, std::span(steps).subspan(end))) return rest.order();
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  // At a kink f(x + t u) + f(x - t u) - 2 f(x) is of order t too, t times the jump of the slope.
  void look_for_kink(TaylorDirection& result, std::span<const Step> steps, std::size_t first,
                     const WithoutSquare& rest) {
    std::vector<double> bends;
    for (std::size_t i = 0; i < steps.size(); ++i) {
      double left = 0;
      if (!change_at(-steps[i].t, left)) return;
      const double linear = steps[i].t * result.slope;
      bends.push_back(left + linear + remainders_[first + i]);
    }
    const WithoutSquare bend(bends);
    const double t = steps[kFit - 1].t;
    const bool above_noise = std::abs(bend.last()) > 2 * kAboveNoise * steps.back().noise;
    const bool accounts = std::abs(bend.last()) > kJumpOfError * std::abs(rest.last());
    result.kink = above_noise && accounts && bend.order() < options_.least_order;
    if (!result.kink) return;
    result.right_slope = result.slope + rest.last() / t;
    result.left_slope = result.right_slope - bend.last() / t;
  }

  GradientProbe& probe_;
  const TaylorOptions& options_;
  std::vector<double> weights_;
  std::vector<double> y_;
  std::vector<Tensor> gradients_;
  std::vector<std::vector<double>> directions_;
  std::vector<double> remainders_;  // with their signs, one for each step
};

std::string remainder_text(const TaylorDirection& direction) {
  if (direction.exact) return "no remainder";
  if (direction.kink) {
    return fmt::format("not smooth here: slope {:.6g} to the left and {:.6g} to the right",
                       direction.left_slope, direction.right_slope);
  }
  if (std::isnan(direction.order) && direction.slope_error > 0) {
    return fmt::format("a remainder of no order, slope off by {:.2g} at most",
                       direction.slope_error);
  }
  return fmt::format("remainder of order {:.2f}", direction.order);
}

std::string text_of(const TaylorDirection& direction) {
  return fmt::format("slope {:.6g}, change of order {:.2f}, {}: {}", direction.slope,
                     direction.order_of_change, remainder_text(direction),
                     to_string(direction.verdict));
}

void require_valid(const TaylorOptions& options) {
  if (!(options.first_step > 0) || !std::isfinite(options.first_step)) {
    throw ArgumentError(fmt::format(
        "check_taylor: first_step is {}, expected a positive, finite number", options.first_step));
  }
  // Any gradient has 1, and no more than 2 can be asked of the right one.
  if (!(options.least_order > 1 && options.least_order <= 2)) {
    throw ArgumentError(
        fmt::format("check_taylor: least_order is {}, expected more than 1 and at most 2",
                    options.least_order));
  }
  for (const auto& [name, value] :
       {std::pair("halvings", options.halvings), {"directions", options.directions}}) {
    if (value >= 0) continue;
    throw ArgumentError(fmt::format("check_taylor: {} is {}, expected 0 or more", name, value));
  }
}

}  // namespace

Verdict TaylorReport::verdict() const noexcept {
  if (directions.empty()) return Verdict::kUnresolved;
  Verdict verdict = Verdict::kAgree;
  for (const TaylorDirection& direction : directions) {
    verdict = std::max(verdict, direction.verdict);
  }
  return verdict;
}

std::string TaylorReport::to_text() const {
  std::string text;
  for (std::size_t k = 0; k < directions.size(); ++k) {
    text += fmt::format("direction {}: {}\n", k + 1, text_of(directions[k]));
  }
  for (const std::string& failure : failures) text += failure + "\n";
  return text;
}

TaylorReport check_taylor(const Graph& graph, Value output, const Feed& feed,
                          const TaylorOptions& options) {
  require_valid(options);
  GradientCheckOptions checked;
  checked.with_respect_to = options.with_respect_to;
  checked.kernels = options.kernels;
  const std::vector<Value> values = internal::values_to_check(graph, output, checked);
  TaylorReport report;
  if (values.empty()) {
    report.failures.push_back(fmt::format(
        "{}: nothing to differentiate by, so nothing was compared", describe(output.node())));
    return report;
  }
  GradientProbe probe(graph, output, feed, values, checked);
  report.architecture = probe.kernels().architecture;
  if (!probe.output_is_finite()) {
    report.failures.push_back(fmt::format("{}: is not finite", describe(output.node())));
    return report;
  }
  TaylorChecker checker(probe, options);
  for (int k = 0; k < options.directions; ++k) {
    report.directions.push_back(checker.along(k));
    const TaylorDirection& direction = report.directions.back();
    if (direction.verdict == Verdict::kAgree) continue;
    report.failures.push_back(
        fmt::format("{}: direction {}: {}", describe(output.node()), k + 1, text_of(direction)));
  }
  if (report.directions.empty())
    report.failures.emplace_back("no directions, nothing was compared");
  return report;
}

}  // namespace chainrule
