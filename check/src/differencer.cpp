// SPDX-License-Identifier: Apache-2.0
#include "differencer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "plateau.hpp"
#include "scales.hpp"

namespace chainrule::internal {
namespace {

constexpr std::uint64_t kSampleStream = 2;

}  // namespace

Differencer::Differencer(Subject& subject, std::size_t variable, const std::vector<double>& weights,
                         const Gradients& gradients, const CompareSettings& settings)
    : subject_(subject),
      variable_(variable),
      weights_(weights),
      gradients_(gradients),
      settings_(settings),
      mean_(mean_magnitude(subject.point(variable))),
      largest_sum_(largest_magnitude(gradients.sum.view())),
      largest_each_(gradients.largest_of_each()) {
  const ConstTensorView x = subject.point(variable);
  result_.has_element.resize(static_cast<std::size_t>(x.rows * x.columns));
}

Comparisons Differencer::run() && {
  const std::size_t count = result_.has_element.size();
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  const Index most = weights_.size() * count <= static_cast<std::size_t>(settings_.max_jacobian)
                         ? static_cast<Index>(count)
                         : settings_.max_elements;
  if (static_cast<Index>(count) <= most) {
    compare_elements(order);
    return std::move(result_);
  }
  random_permutation({.seed = settings_.seed, .stream = kSampleStream}, order);
  const std::span<const std::uint32_t> all(order);
  const auto samples =
      static_cast<std::size_t>(std::clamp<Index>(settings_.samples, 0, static_cast<Index>(count)));
  compare_elements(all.first(samples));
  if (!compare_directions()) {
    const auto more = static_cast<std::size_t>(std::max<Index>(most, 0));
    if (more > samples) compare_elements(all.subspan(samples, more - samples));
  }
  return std::move(result_);
}

void Differencer::compare_elements(std::span<const std::uint32_t> elements) {
  const ConstTensorView x = subject_.point(variable_);
  for (const Index k : elements) {
    if (result_.has_element[static_cast<std::size_t>(k)]) continue;
    result_.has_element[static_cast<std::size_t>(k)] = true;
    const Index row = k / x.columns, column = k % x.columns;
    const double size = std::abs(element(x, row, column));
    Line line(
        [&](double t, std::span<double> y) {
          return subject_.move_element(variable_, row, column, t, y);
        },
        weights_, subject_.outputs(),
        {.first = settings_.first_step * std::max(size, mean_),
         .smallest = std::ldexp(size, -46),
         .grid = size > 0 ? std::ldexp(1.0, std::ilogb(size) - 51) : 0,
         .natural = settings_.first_step * std::max(size, std::min(mean_, 1.0))},
        !gradients_.each.empty());
    Comparison& sum = result_.elements.emplace_back();
    sum.row = row;
    sum.column = column;
    sum.analytic = element(gradients_.sum.view(), row, column);
    sum.has_float32 = settings_.dtype == DType::kFloat32;
    if (sum.has_float32) sum.float32 = element(gradients_.sum32.view(), row, column);
    differentiate(line, 0, sum);
    for (std::size_t i = 0; i < gradients_.each.size(); ++i) {
      Comparison& entry = result_.jacobian.emplace_back();
      entry.row = row;
      entry.column = column;
      entry.output = static_cast<Index>(i);
      entry.analytic = element(gradients_.each[i].view(), row, column);
      differentiate(line, 1 + i, entry);
    }
    subject_.restore();
  }
}

void Differencer::differentiate(Line& line, std::size_t channel, Comparison& comparison) const {
  comparison.numeric = internal::differentiate(line, channel);
  NumericDerivative& numeric = comparison.numeric;
  if (!numeric.resolved || numeric.kink) return;
  if (!numeric.moved) ask_why_still(line, channel, comparison);
  // Before a disagreement: what if the output is less exact than its digits say, ...
  const auto is_contested = [&] { return refuted(comparison) || numeric.contradicted; };
  const bool contested = is_contested();
  if (!contested && !finer_steps_contradict(line, channel, numeric)) return;
  double quantum = 0;
  if (numeric.moved && contested) {
    if (const auto plateau = plateau_of_small_steps(line, channel)) quantum = plateau->quantum;
    numeric.rounding = std::max(numeric.rounding, quantum / numeric.step);
    if (!is_contested()) return;
  }
  // ... and what if other steps, or the same but for their last digits, see another function?
  const Tolerances& tolerances = settings_.tolerances;
  numeric = differentiate_at_all_scales(line, channel, comparison.analytic, numeric,
                                        {.error_bars = tolerances.error_bars,
                                         .roundings = tolerances.roundings,
                                         .relative = tolerances.relative_tolerance,
                                         .noise = quantum});
}

// Estimates from steps of some sizes agreed, and no smaller ones were asked. Do some tell another
// derivative, beyond rounding, as where a ripple is too small for the steps that were taken?
bool Differencer::finer_steps_contradict(Line& line, std::size_t channel,
                                         const NumericDerivative& numeric) const {
  constexpr int kStride = 6;         // rows
  constexpr double kFiner = 1. / 6;  // of the steps that agreed
  // What rounding hides of the derivative where a step can still tell.
  constexpr double kTelling = 1e-2;
  const Tolerances& tolerances = settings_.tolerances;
  const double size = std::abs(numeric.value);
  const double known = tolerances.error_bars * numeric.error_bar +
                       tolerances.relative_tolerance * size +
                       std::abs(line.at_step(numeric.step, channel).slope - numeric.value);
  for (int row = kStride; row < line.last_row(); row += kStride) {
    if (line.step(row) > kFiner * numeric.step) continue;
    const Difference& d = line.at(row, channel);
    if (!d.finite) return false;
    const double rounding = tolerances.roundings * kEpsilon * (d.size + d.still) / d.step;
    if (rounding > kTelling * size) return false;
    if (std::abs(d.slope - numeric.value) > known + rounding) return true;
  }
  return false;
}

bool Differencer::refuted(const Comparison& comparison) const {
  const NumericDerivative& numeric = comparison.numeric;
  const Tolerances& tolerances = settings_.tolerances;
  const double hidden = std::max(numeric.hidden, numeric.saturation);
  return std::abs(comparison.analytic - numeric.value) >
         tolerances.error_bars * numeric.error_bar +
             tolerances.roundings * (numeric.rounding + hidden) +
             tolerances.relative_tolerance * std::abs(numeric.value);
}

// Is it rounding that makes a channel flat? Asked where the answer decides something.
void Differencer::ask_why_still(Line& line, std::size_t channel, Comparison& comparison) const {
  NumericDerivative& numeric = comparison.numeric;
  const double largest = channel == 0 ? largest_sum_ : largest_each_;
  const double negligible = settings_.tolerances.resolution * largest;
  const double hidden = settings_.tolerances.roundings * numeric.hidden;
  const double size = std::abs(comparison.analytic);
  if (size == 0 ? hidden <= negligible : size <= hidden) return;
  if (numeric.step != line.at(0, channel).step) return;  // it was asked on the way to small steps
  const Plateau plateau = plateau_around(line, channel, 0);
  numeric.by_rounding = plateau.is_fine;
  numeric.saturation = std::max(numeric.saturation, plateau.hidden());
}

}  // namespace chainrule::internal
