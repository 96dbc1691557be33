// SPDX-License-Identifier: Apache-2.0
#include "differencer.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

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
        weights_, subject_.outputs(), settings_.first_step * std::max(size, mean_),
        std::ldexp(size, -46), !gradients_.each.empty());
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
  const Tolerances& tolerances = settings_.tolerances;
  const double roundings = tolerances.roundings;
  if (numeric.moved) {
    // Before a disagreement: what if the output is less exact than its digits say, ...
    const double error = std::abs(comparison.analytic - numeric.value);
    const auto disagrees = [&] {
      return error > tolerances.error_bars * numeric.error_bar +
                         roundings * (numeric.rounding + numeric.hidden) +
                         tolerances.relative_tolerance * std::abs(numeric.value);
    };
    if (!disagrees() && !numeric.contradicted) return;
    const double unit = rounding_unit(line, channel) / numeric.step;
    numeric.rounding = std::max(numeric.rounding, unit);
    // ... and what if steps of that size see another function?
    if (!disagrees() && !numeric.contradicted) return;
    numeric =
        differentiate_at_all_scales(line, channel, comparison.analytic, numeric,
                                    {.error_bars = tolerances.error_bars, .roundings = roundings});
    return;
  }
  const double largest = channel == 0 ? largest_sum_ : largest_each_;
  const double negligible = tolerances.resolution * largest;
  const double size = std::abs(comparison.analytic);
  // Flat it is; is it rounding that makes it so? Asked where the answer decides something.
  const bool matters =
      size == 0 ? roundings * numeric.hidden > negligible : size > roundings * numeric.hidden;
  if (!matters) return;
  const double hidden = hidden_by_rounding(line, channel);
  comparison.saturated = hidden > 0;
  numeric.hidden = std::max(numeric.hidden, hidden);
}

}  // namespace chainrule::internal
