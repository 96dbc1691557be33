// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <type_traits>
#include <utility>

#include "chainrule/core/error.hpp"
#include "dual_form.hpp"
#include "infinite_gram.hpp"
#include "normal_quadrature.hpp"

namespace chainrule::internal {
namespace {

using Family = DualActivation::Form::Family;

constexpr Index kBlock = 64;         // samples of a task
constexpr Index kTerms = 256;        // of a series
constexpr double kSeriesReach = 13;  // where a term, of a number times the density, is gone
constexpr double kSeriesStep = 0.1;  // resolves the terms
// What of a series is dropped, as a fraction of the square root of the second moment.
constexpr double kNegligible = 4e-15;

// Eight sums, which a CPU adds side by side.
double sum_of_squares(const double* x, Index count) {
  std::array<double, 8> sums{};
  Index k = 0;
  for (; k + 8 <= count; k += 8) {
    for (Index s = 0; s < 8; ++s) sums[static_cast<std::size_t>(s)] += x[k + s] * x[k + s];
  }
  for (; k < count; ++k) sums[0] += x[k] * x[k];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

/// The rule of one step.
struct SeriesNodes {
  NormalRule rule;
  Tensor table;
};

template <class View>
View rows_of(View view, Index first, Index count) {
  const Index bytes = first * view.ld * size_of(view.dtype);
  if constexpr (std::is_same_v<View, TensorView>) {
    view.data = static_cast<std::byte*>(view.data) + bytes;
  } else {
    view.data = static_cast<const std::byte*>(view.data) + bytes;
  }
  view.rows = count;
  return view;
}

[[noreturn]] void refuse_row(const Tensor& x, Index i, std::string_view name, double variance) {
  for (Index k = 0; k < x.columns(); ++k) {
    if (const double value = element(x.view(), i, k); !std::isfinite(value)) {
      throw ArgumentError(fmt::format("infinite width: {}({}, {}) is {}, expected finite numbers",
                                      name, i, k, value));
    }
  }
  throw ArgumentError(fmt::format(
      "infinite width: row {} of {} has variance {}, expected less than 1e154", i, name, variance));
}

// (node, k): the normalized Hermite polynomial h_k at a node times the node's weight.
Tensor hermite_table(const NormalRule& rule) {
  const auto nodes = static_cast<Index>(rule.nodes.size());
  Tensor table({nodes, kTerms}, DType::kFloat64);
  for (Index n = 0; n < nodes; ++n) {
    double* const h = table.as<double>().row(n);
    const double g = rule.nodes[static_cast<std::size_t>(n)];
    h[0] = rule.weights[static_cast<std::size_t>(n)];
    h[1] = g * h[0];
    for (Index k = 1; k + 1 < kTerms; ++k) {
      const auto order = static_cast<double>(k);
      h[k + 1] = (g * h[k] - std::sqrt(order) * h[k - 1]) / std::sqrt(order + 1);
    }
  }
  return table;
}

// The series of one function at a sample from its values at the nodes: column i of `result`.
// Returns the fraction of the second moment that it lacks.
double fit_series(std::span<const double> at_nodes, const Tensor& table, double moment, Index i,
                  Tensor& result) {
  if (moment == 0) return 0;
  std::array<double, kTerms> a{};
  for (Index n = 0; n < table.rows(); ++n) {
    const double* const h = table.as<double>().row(n);
    const double value = at_nodes[static_cast<std::size_t>(n)];
    for (Index k = 0; k < kTerms; ++k) a[static_cast<std::size_t>(k)] += value * h[k];
  }
  double held = 0;
  double dropped = 0;
  const double negligible = kNegligible * kNegligible * moment;
  for (Index k = kTerms; k-- > 0;) {
    const double coefficient = a[static_cast<std::size_t>(k)];
    const double square = coefficient * coefficient;
    // Zeros, so that a term beyond does not depend on how many the others need.
    if (held == 0 && dropped + square <= negligible) {
      dropped += square;
      continue;
    }
    held += square;
    result.as<double>()(k, i) = coefficient;
  }
  const bool complete = a[kTerms - 1] * a[kTerms - 1] + a[kTerms - 2] * a[kTerms - 2] <= negligible;
  return complete ? kNegligible * kNegligible
                  : std::max(1 - held / moment, kNegligible * kNegligible);
}

double factor_first(Family family, double variance) {
  switch (family) {
    case Family::kRectifier:
      return std::sqrt(variance);
    case Family::kSin:
      return variance / 2;
    case Family::kGelu:
      return variance;
    default:
      return 0;
  }
}

double factor_second(Family family, double variance) {
  switch (family) {
    case Family::kErf:
      return std::numbers::sqrt2 / std::sqrt(1 + 2 * variance);
    case Family::kGelu:
      return 1 / std::sqrt(1 + variance);
    case Family::kSin:
      return 0;
    default:
      return variance > 0 ? 1 / std::sqrt(variance) : 0;
  }
}

}  // namespace

InfiniteSamples::InfiniteSamples(const InfiniteNetwork& network, const Tensor& x,
                                 std::string_view name, const Executor& executor) {
  if (x.columns() < 1) {
    throw ShapeError(fmt::format("infinite width: {} has no columns, expected at least one", name));
  }
  add_input(network, x, name, executor);
  for (std::size_t l = 0; l < network.hidden.size(); ++l) add_layer(network, l, name, executor);
}

void InfiniteSamples::add_input(const InfiniteNetwork& network, const Tensor& x,
                                std::string_view name, const Executor& executor) {
  const Index rows = x.rows();
  const Index columns = x.columns();
  const WeightPrior& prior = network.dense[0];
  const double scale = std::sqrt(prior.weight / static_cast<double>(columns));
  scaled_ = Tensor({rows, columns}, DType::kFloat64);
  auto& variances = variances_.emplace_back(static_cast<std::size_t>(rows));
  const auto task = [&](Index block, int) {
    const Index first = block * kBlock;
    const Index count = std::min(kBlock, rows - first);
    copy_values(rows_of(x.view(), first, count), rows_of(scaled_.view(), first, count));
    for (Index i = first; i < first + count; ++i) {
      double* const row = scaled_.as<double>().row(i);
      for (Index k = 0; k < columns; ++k) row[k] *= scale;
      const double variance = sum_of_squares(row, columns) + prior.bias;
      if (!std::isfinite(variance * variance)) refuse_row(x, i, name, variance);
      variances[static_cast<std::size_t>(i)] = variance;
    }
  };
  executor.for_each((rows + kBlock - 1) / kBlock, 4.0 * static_cast<double>(rows * columns), task);
}

void InfiniteSamples::add_layer(const InfiniteNetwork& network, std::size_t l,
                                std::string_view name, const Executor& executor) {
  const DualActivation& dual = network.hidden[l];
  const WeightPrior& prior = network.dense[l + 1];
  const auto count = static_cast<std::size_t>(rows());
  Layer& layer = layers_.emplace_back();
  layer.first.resize(count);
  layer.second.resize(count);
  const bool smooth = dual.form().family == Family::kSmooth;
  if (smooth) {
    layer.values = Tensor({kTerms, rows()}, DType::kFloat64);
    layer.slopes = Tensor({kTerms, rows()}, DType::kFloat64);
    layer.value_tail.resize(count);
    layer.slope_tail.resize(count);
  }
  variances_.emplace_back(count);
  const auto task = [&](Index block, int) {
    const Index first = block * kBlock;
    const Index end = std::min(rows(), first + kBlock);
    for (Index i = first; i < end; ++i) add_factors(dual, prior, l, i);
    if (smooth) add_series(dual, prior, l, first, end - first);
    for (Index i = first; i < end; ++i) {
      if (std::isfinite(variance(l + 1, i) * variance(l + 1, i))) continue;
      throw ArgumentError(
          fmt::format("infinite width: row {} of {} has variance {} behind hidden layer {} ({}), "
                      "expected less than 1e154",
                      i, name, variance(l + 1, i), l + 1, dual.name()));
    }
  };
  const double flops = (smooth ? 1e6 : 50) * static_cast<double>(rows());
  executor.for_each((rows() + kBlock - 1) / kBlock, flops, task);
}

void InfiniteSamples::add_factors(const DualActivation& dual, const WeightPrior& prior,
                                  std::size_t l, Index i) {
  const Family family = dual.form().family;
  const double k = variance(l, i);
  const auto at = static_cast<std::size_t>(i);
  layers_[l].first[at] = factor_first(family, k);
  layers_[l].second[at] = factor_second(family, k);
  if (family != Family::kSmooth) {
    variances_[l + 1][at] = prior.bias + prior.weight * dual(k).value;
  }
}

void InfiniteSamples::add_series(const DualActivation& dual, const WeightPrior& prior,
                                 std::size_t l, Index first, Index count) {
  const auto& form = dual.form();
  Layer& layer = layers_[l];
  std::map<double, SeriesNodes> nodes_of_step;
  std::vector<double> values;
  std::vector<double> slopes;
  for (Index i = first; i < first + count; ++i) {
    const double sigma = std::sqrt(variance(l, i));
    const double step = std::min(converged_step(form, sigma), kSeriesStep);
    auto found = nodes_of_step.find(step);
    if (found == nodes_of_step.end()) {
      NormalRule rule(step, kSeriesReach);
      Tensor table = hermite_table(rule);
      found = nodes_of_step.emplace(step, SeriesNodes{std::move(rule), std::move(table)}).first;
    }
    const auto& [rule, table] = found->second;
    values.clear();
    slopes.clear();
    DualMoments moments;
    for (std::size_t n = 0; n < rule.nodes.size(); ++n) {
      values.push_back(form.phi(sigma * rule.nodes[n]));
      slopes.push_back(form.derivative(sigma * rule.nodes[n]));
      moments.value += rule.weights[n] * values[n] * values[n];
      moments.derivative += rule.weights[n] * slopes[n] * slopes[n];
    }
    const auto at = static_cast<std::size_t>(i);
    layer.value_tail[at] = fit_series(values, table, moments.value, i, layer.values);
    layer.slope_tail[at] = fit_series(slopes, table, moments.derivative, i, layer.slopes);
    variances_[l + 1][at] = prior.bias + prior.weight * moments.value;
  }
}

}  // namespace chainrule::internal
