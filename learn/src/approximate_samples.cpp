// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "chainrule/core/error.hpp"
#include "relu_path.hpp"
#include "tanh_search.hpp"

namespace chainrule {
namespace {

using internal::CertifiedNetwork;
using internal::SampleSet;

constexpr Index kFewestSamples = 20;

SampleSet to_samples(const Dataset& data) {
  data.validate();
  if (data.x.shape().rank() == 0 || data.y.shape().rank() == 0 || data.y.columns() != 1 ||
      data.x.columns() < 1 || data.x.rows() < kFewestSamples) {
    throw ShapeError(fmt::format(
        "approximate: got samples x [{}, {}] and y [{}, {}], expected [n, d] and [n, 1], n >= {}",
        data.rows(), data.features(), data.y.rows(), data.y.columns(), kFewestSamples));
  }
  SampleSet samples{.x = data.x.to(DType::kFloat64), .y = {}};
  for (Index i = 0; i < data.x.rows(); ++i) {
    samples.y.push_back(element(data.y.view(), i, 0));
    bool finite = std::isfinite(samples.y.back());
    for (Index k = 0; k < data.x.columns(); ++k) {
      finite = finite && std::isfinite(element(data.x.view(), i, k));
    }
    if (finite) continue;
    throw ArgumentError(fmt::format("approximate: row {} of the samples is not finite", i));
  }
  return samples;
}

Domain bounding_box(const SampleSet& samples) {
  Domain domain;
  const auto x = samples.x.as<double>();
  for (Index k = 0; k < x.columns; ++k) {
    Interval side{x(0, k), x(0, k)};
    for (Index i = 0; i < x.rows; ++i) {
      side = {std::min(side.low, x(i, k)), std::max(side.high, x(i, k))};
    }
    if (!(side.low < side.high)) {
      throw ArgumentError(
          fmt::format("approximate: column {} of the samples is {} in every row", k, side.low));
    }
    domain.push_back(side);
  }
  return domain;
}

internal::Polyline joined_in_order(const SampleSet& samples) {
  const auto x = samples.x.as<double>();
  std::vector<Index> order(samples.y.size());
  std::iota(order.begin(), order.end(), Index{0});
  std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) { return x(a, 0) < x(b, 0); });
  internal::Polyline line;
  for (const Index i : order) {
    if (!line.x.empty() && x(i, 0) <= line.x.back()) continue;
    line.x.push_back(x(i, 0));
    line.y.push_back(samples.y[static_cast<std::size_t>(i)]);
  }
  return line;
}

// The lines between samples are not the function: narrower tubes leave room for what is between.
CertifiedNetwork relu_from_samples(internal::ApproximationTarget& target, double epsilon,
                                   Index max_units) {
  const SampleSet training = target.training(0), selection = target.selection(0);
  const internal::Polyline line = joined_in_order(training);
  CertifiedNetwork result;
  for (const double share : {1.0, 0.8, 0.6, 0.4, 0.2}) {
    internal::ReluFit fit = internal::fit_relu(line, share * epsilon, max_units);
    const double error = std::max(internal::sup_error(fit.network, training),
                                  internal::sup_error(fit.network, selection));
    if (result.network.units() == 0 || error < result.chosen_by) {
      result.network = std::move(fit.network);
      result.chosen_by = error;
    }
    if (result.chosen_by <= 0.95 * epsilon) break;
  }
  result.certificate = target.certify(result.network, 0, 0);
  result.method = "ReLU units at free knots, a minimum-link path along the samples";
  return result;
}

}  // namespace

Approximation approximate(const Dataset& data, double epsilon, const ApproximateOptions& options) {
  internal::check_options(epsilon, options);
  const SampleSet samples = to_samples(data);
  const Domain domain = bounding_box(samples);
  internal::check_activation(domain.size(), options);
  const auto target = internal::sample_target(samples, domain);
  const auto allowed = [&](Index usual) {
    return internal::units_allowed(options.max_units, usual);
  };
  const bool line = domain.size() == 1;
  CertifiedNetwork best;
  if (options.units != ApproximationUnits::kRelu) {
    best = internal::search_tanh(*target, epsilon,
                                 allowed(line ? internal::kTanhUnits : internal::kTanhUnitsInBox),
                                 derive({.seed = options.seed}, 1), true);
  }
  if (line && options.units != ApproximationUnits::kTanh) {
    CertifiedNetwork other = relu_from_samples(*target, epsilon, allowed(internal::kReluUnits));
    const auto rank = [&](const CertifiedNetwork& network) {  // reached first, then small
      const double error = network.chosen_by;
      return error <= epsilon ? std::pair(0.0, static_cast<double>(network.network.units()))
                              : std::pair(error, 0.0);
    };
    if (options.units == ApproximationUnits::kRelu || rank(other) < rank(best)) {
      best = std::move(other);
    }
  }
  return internal::to_approximation(best, epsilon);
}

}  // namespace chainrule
