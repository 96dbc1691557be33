// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/approximate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "chainrule/core/error.hpp"
#include "resolution.hpp"
#include "shallow_network.hpp"
#include "tanh_search.hpp"

namespace chainrule {
namespace {

using internal::CertifiedNetwork;

constexpr Index kTanhUnits = 512;
constexpr Index kTanhUnitsInBox = 1600;

void check_approximation(const Domain& domain, double epsilon, const ApproximateOptions& options) {
  if (domain.empty()) throw ArgumentError("approximate: got a domain of no variables");
  for (const auto& [low, high] : domain) {
    if (low < high && std::isfinite(high - low)) continue;
    throw ArgumentError(fmt::format(
        "approximate: got the interval [{}, {}], expected finite ends, low < high", low, high));
  }
  if (!(epsilon > 0) || !std::isfinite(epsilon) || options.max_units < 0) {
    throw ArgumentError(
        fmt::format("approximate: got epsilon {} and at most {} units, expected a finite epsilon "
                    "> 0 and >= 0 units",
                    epsilon, options.max_units));
  }
}

Approximation to_approximation(const CertifiedNetwork& found, double epsilon) {
  Approximation result{.model = internal::to_model(found.network)};
  result.units = found.network.units();
  result.epsilon = epsilon;
  result.sup_error = found.certificate.sup_error;
  result.reached = result.sup_error <= epsilon;
  result.worst_point = found.certificate.worst_point;
  result.certificate_points = found.certificate.points;
  result.rounding_floor = internal::rounding_floor(found.network);
  result.method = found.method;
  return result;
}

Approximation approximate_on_line(const ScalarFunction& f, const Domain& domain, double epsilon,
                                  const ApproximateOptions& options) {
  const internal::Resolution resolution = internal::resolve(f, domain[0], epsilon / 100);
  const RandomKey key{.seed = options.seed};
  const auto target = internal::line_target(f, domain[0], resolution, key);
  const Index most = options.max_units > 0 ? options.max_units : kTanhUnits;
  Approximation result =
      to_approximation(internal::search_tanh(*target, epsilon, most, derive(key, 1)), epsilon);
  result.singularities = resolution.singularities;
  return result;
}

Approximation approximate_in_box(const ScalarFunction& f, const Domain& domain, double epsilon,
                                 const ApproximateOptions& options) {
  if (options.units == ApproximationUnits::kRelu) {
    throw UnsupportedError(
        fmt::format("approximate: ReLU networks are built for functions of one variable, got {}",
                    domain.size()));
  }
  const RandomKey key{.seed = options.seed};
  const auto target = internal::box_target(f, domain, key);
  const Index most = options.max_units > 0 ? options.max_units : kTanhUnitsInBox;
  return to_approximation(internal::search_tanh(*target, epsilon, most, derive(key, 1)), epsilon);
}

}  // namespace

Approximation approximate(const ScalarFunction& f, const Domain& domain, double epsilon,
                          const ApproximateOptions& options) {
  check_approximation(domain, epsilon, options);
  return domain.size() == 1 ? approximate_on_line(f, domain, epsilon, options)
                            : approximate_in_box(f, domain, epsilon, options);
}

}  // namespace chainrule
