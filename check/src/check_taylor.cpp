// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_taylor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

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
// The order is that of a fit over so many halvings.
constexpr std::size_t kFit = 3;

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

  void sample(TaylorDirection& result, double slope_size) {
    std::vector<Subject::Move> moves;
    for (std::size_t k = 0; k < directions_.size(); ++k) moves.push_back({k, directions_[k]});
    const std::span<const double> y0 = probe_.outputs();
    for (int step = 0; step <= options_.halvings; ++step) {
      TaylorDirection::Step at;
      at.t = std::ldexp(options_.first_step, -step);
      probe_.move(moves, at.t, y_);
      if (!std::all_of(y_.begin(), y_.end(), [](double y) { return std::isfinite(y); })) continue;
      long double change = 0;
      for (std::size_t i = 0; i < y_.size(); ++i) {
        change += static_cast<long double>(weights_[i]) *
                  (static_cast<long double>(y_[i]) - static_cast<long double>(y0[i]));
      }
      at.change = std::abs(static_cast<double>(change));
      at.remainder = std::abs(static_cast<double>(
          change - static_cast<long double>(at.t) * static_cast<long double>(result.slope)));
      at.noise = noise_of(weights_, y_, slope_size);
      result.steps.push_back(at);
    }
    probe_.restore();
  }

  // The order of `part` at the smallest steps where it is above the noise; NaN when there are none.
  static double order_of(const std::vector<TaylorDirection::Step>& steps,
                         double TaylorDirection::Step::*part) {
    std::size_t last = steps.size();
    while (last > 0 && !(steps[last - 1].*part > kAboveNoise * steps[last - 1].noise)) --last;
    if (last <= kFit) return std::numeric_limits<double>::quiet_NaN();
    const double large = steps[last - 1 - kFit].*part, small = steps[last - 1].*part;
    return std::log2(large / small) / static_cast<double>(kFit);
  }

  void judge(TaylorDirection& result) const {
    const auto& steps = result.steps;
    result.order = order_of(steps, &TaylorDirection::Step::remainder);
    result.order_of_change = order_of(steps, &TaylorDirection::Step::change);
    // Where f hardly changes, a gradient of zero would pass as well.
    if (!(result.order_of_change < options_.least_order)) return;
    const bool any = std::any_of(steps.begin(), steps.end(), [](const auto& step) {
      return step.remainder > kAboveNoise * step.noise;
    });
    result.exact = !any;
    if (std::isnan(result.order) && any) return;
    const bool shrinks = result.exact || result.order >= options_.least_order;
    result.verdict = shrinks ? Verdict::kAgree : Verdict::kDisagree;
  }

  GradientProbe& probe_;
  const TaylorOptions& options_;
  std::vector<double> weights_;
  std::vector<double> y_;
  std::vector<Tensor> gradients_;
  std::vector<std::vector<double>> directions_;
};

std::string text_of(const TaylorDirection& direction) {
  if (direction.exact) {
    return fmt::format("slope {:.6g}, change of order {:.2f}, no remainder: {}", direction.slope,
                       direction.order_of_change, to_string(direction.verdict));
  }
  return fmt::format("slope {:.6g}, change of order {:.2f}, remainder of order {:.2f}: {}",
                     direction.slope, direction.order_of_change, direction.order,
                     to_string(direction.verdict));
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
