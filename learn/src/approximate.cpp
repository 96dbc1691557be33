// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/approximate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

#include "chainrule/core/error.hpp"
#include "relu_path.hpp"
#include "resolution.hpp"
#include "shallow_network.hpp"
#include "tanh_search.hpp"

namespace chainrule {
namespace {

using internal::CertifiedNetwork;

using internal::kReluUnits;
using internal::kTanhUnits;

void check_domain(const Domain& domain) {
  if (domain.empty()) throw ArgumentError("approximate: got a domain of no variables");
  for (const auto& [low, high] : domain) {
    const auto fail = [low = low, high = high](std::string_view expected) {
      throw ArgumentError(
          fmt::format("approximate: got the interval [{}, {}], expected {}", low, high, expected));
    };
    if (!(low < high) || !std::isfinite(low) || !std::isfinite(high)) {
      fail("finite ends, low < high");
    }
    if (!std::isfinite(high - low)) fail("a width that float64 can hold");
    const double farthest = std::max(std::abs(low), std::abs(high));
    if (high - low < 1000 * std::numeric_limits<double>::epsilon() * farthest) {
      fail("a thousand numbers of float64 in between");
    }
  }
}

// Functions of one variable.
class LineApproximation {
 public:
  LineApproximation(const ScalarFunction& f, const Domain& domain, double epsilon,
                    const ApproximateOptions& options)
      : f_(f),
        domain_(domain),
        epsilon_(epsilon),
        options_(options),
        key_{.seed = options.seed},
        resolution_(internal::resolve(f, domain[0], epsilon / 100)) {}

  Approximation run() const {
    Approximation result = internal::to_approximation(find(), epsilon_);
    result.singularities = resolution_.singularities;
    return result;
  }

 private:
  CertifiedNetwork find() const {
    if (options_.units == ApproximationUnits::kTanh) return tanh_network(budget(kTanhUnits), true);
    if (options_.units == ApproximationUnits::kRelu) return relu_network(fit_relu(0));
    // As a rule kinks are for ReLU and smooth functions for tanh.
    const internal::ReluFit fit = fit_relu(0);
    const Index fewer = fit.within ? fit.network.units() - 1 : budget(kTanhUnits);
    if (fewer == 0) return relu_network(fit);
    CertifiedNetwork smooth = tanh_network(std::min(budget(kTanhUnits), fewer), !fit.within);
    if (smooth.certificate.sup_error <= std::max(epsilon_, fit.within ? 0 : fit.error)) {
      return smooth;
    }
    CertifiedNetwork straight = relu_network(fit);
    return straight.certificate.sup_error <= smooth.certificate.sup_error ? straight : smooth;
  }

  Index budget(Index usual) const { return internal::units_allowed(options_.max_units, usual); }

  CertifiedNetwork tanh_network(Index most, bool thorough) const {
    const auto target = internal::line_target(f_, domain_[0], resolution_, key_);
    return internal::search_tanh(*target, epsilon_, most, derive(key_, 1), thorough);
  }

  internal::ReluFit fit_relu(int attempt) const {
    return internal::fit_relu(f_, resolution_, epsilon_ * (1 - 0.03 * attempt), budget(kReluUnits));
  }

  // Tries narrower tubes while the certificate finds more than was fitted.
  CertifiedNetwork relu_network(internal::ReluFit fit) const {
    CertifiedNetwork result;
    for (int attempt = 0;; fit = fit_relu(++attempt)) {
      result.certificate = internal::certify_on_line(
          f_, domain_[0], fit.network, fit.fitted, resolution_.singularities,
          derive(key_, 200 + static_cast<std::uint64_t>(attempt)));
      if (!fit.within || result.certificate.sup_error <= epsilon_ || attempt == 2) break;
    }
    result.network = std::move(fit.network);
    result.method = "ReLU units at free knots, a minimum-link path";
    return result;
  }

  const ScalarFunction& f_;
  const Domain& domain_;
  double epsilon_;
  const ApproximateOptions& options_;
  RandomKey key_;
  internal::Resolution resolution_;
};

Approximation approximate_in_box(const ScalarFunction& f, const Domain& domain, double epsilon,
                                 const ApproximateOptions& options) {
  internal::check_activation(domain.size(), options);
  const RandomKey key{.seed = options.seed};
  const auto target = internal::box_target(f, domain, key);
  const Index most = internal::units_allowed(options.max_units, internal::kTanhUnitsInBox);
  return internal::to_approximation(
      internal::search_tanh(*target, epsilon, most, derive(key, 1), true), epsilon);
}

}  // namespace

void internal::check_options(double epsilon, const ApproximateOptions& options) {
  if (epsilon > 0 && std::isfinite(epsilon) && options.max_units >= 0) return;
  throw ArgumentError(
      fmt::format("approximate: got epsilon {} and at most {} units, expected a finite epsilon > 0 "
                  "and >= 0 units",
                  epsilon, options.max_units));
}

void internal::check_activation(std::size_t variables, const ApproximateOptions& options) {
  if (options.units != ApproximationUnits::kRelu || variables == 1) return;
  throw UnsupportedError(fmt::format(
      "approximate: ReLU networks are for functions of one variable, got {}", variables));
}

Approximation internal::to_approximation(const CertifiedNetwork& found, double epsilon) {
  Approximation result{.model = to_model(found.network)};
  result.units = found.network.units();
  result.epsilon = epsilon;
  result.sup_error = found.certificate.sup_error;
  result.reached = result.sup_error <= epsilon;
  result.worst_point = found.certificate.worst_point;
  result.certificate_points = found.certificate.points;
  result.rounding_floor = rounding_floor(found.network);
  result.method = found.method;
  return result;
}

Approximation approximate(const ScalarFunction& f, const Domain& domain, double epsilon,
                          const ApproximateOptions& options) {
  check_domain(domain);
  internal::check_options(epsilon, options);
  return domain.size() == 1 ? LineApproximation(f, domain, epsilon, options).run()
                            : approximate_in_box(f, domain, epsilon, options);
}

}  // namespace chainrule
