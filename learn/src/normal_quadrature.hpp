// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "dual_form.hpp"

namespace chainrule::internal {

/// The trapezoidal rule for expectations over a standard normal number: nodes k step within
/// +-reach, weights step times the density.
struct NormalRule {
  std::vector<double> nodes;
  std::vector<double> weights;

  NormalRule(double step, double reach);
};

/// A step at which the second moments of phi(sigma g) and phi'(sigma g) have converged.
/// UnsupportedError, naming phi, when none does; ArgumentError when they are not finite.
double converged_step(const DualActivation::Form& form, double sigma);

/// Both moments of a pair by the rule in two dimensions.
DualMoments smooth_moments(const DualActivation::Form& form, const PairCovariance& pair);
/// The same of u with itself, in one.
DualMoments smooth_moments(const DualActivation::Form& form, double variance);

/// ArgumentError unless form.derivative looks like the derivative of form.phi: by Stein's
/// identities E[g phi(g)] = E[phi'(g)] and E[(g^2 - 1) phi(g)] = E[g phi'(g)].
void check_derivative(const DualActivation::Form& form);

}  // namespace chainrule::internal
