// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/approximate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "chainrule/core/error.hpp"
#include "relu_path.hpp"
#include "resolution.hpp"
#include "shallow_network.hpp"
#include "tanh_search.hpp"

namespace chainrule {
namespace {

using internal::CertifiedNetwork;

constexpr Index kReluUnits = 10'000;
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

// Tries narrower tubes while the certificate finds more than was fitted.
CertifiedNetwork certified_relu(const ScalarFunction& f, const Domain& domain,
                                const internal::Resolution& resolution, double epsilon,
                                Index max_units, RandomKey key) {
  CertifiedNetwork result;
  for (std::uint64_t attempt = 0; attempt < 3; ++attempt) {
    const double goal = epsilon * (1 - 0.03 * static_cast<double>(attempt));
    internal::ReluFit fit = internal::fit_relu(f, resolution, goal, max_units);
    result.certificate = internal::certify_on_line(f, domain[0], fit.network, fit.fitted,
                                                   resolution.singularities, derive(key, attempt));
    result.network = std::move(fit.network);
    if (!fit.within || result.certificate.sup_error <= epsilon) break;
  }
  result.method = "ReLU units at free knots, a minimum-link path";
  return result;
}

Approximation approximate_on_line(const ScalarFunction& f, const Domain& domain, double epsilon,
                                  const ApproximateOptions& options) {
  const internal::Resolution resolution = internal::resolve(f, domain[0], epsilon / 100);
  const RandomKey key{.seed = options.seed};
  const Index budget = options.max_units;
  std::optional<CertifiedNetwork> best;
  if (options.units != ApproximationUnits::kTanh) {
    const Index most = budget > 0 ? budget : kReluUnits;
    best = certified_relu(f, domain, resolution, epsilon, most, derive(key, 2));
  }
  if (options.units != ApproximationUnits::kRelu) {
    const bool done = best && best->certificate.sup_error <= epsilon;
    Index most = budget > 0 ? budget : kTanhUnits;
    if (done) most = std::min(most, best->network.units() - 1);
    if (most > 0) {
      const auto target = internal::line_target(f, domain[0], resolution, key);
      CertifiedNetwork found = internal::search_tanh(*target, epsilon, most, derive(key, 1));
      const double error = found.certificate.sup_error;
      if (!best || error <= epsilon || (!done && error < best->certificate.sup_error)) {
        best = std::move(found);
      }
    }
  }
  Approximation result = to_approximation(*best, epsilon);
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
