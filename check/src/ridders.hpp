// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>

#include "chainrule/core/dtype.hpp"

namespace chainrule::internal {

/// Writes y(x0 + t d) for the direction d being differentiated along.
using LineFunction = std::function<void(double t, std::span<double> y)>;

/// d/dt sum_i v_i y_i(x0 + t d) at t = 0, by differences.
struct NumericDerivative {
  double value = 0;
  double error_bar = 0;  ///< Ridders' estimate; how far two estimates are apart when unresolved
  double noise = 0;      ///< rounding of the y_i that moved, over the step
  double step = 0;
  double terms = 0;       ///< sum_i |v_i dy_i/dt|
  bool resolved = false;  ///< two starting steps gave the same
  bool moved = false;     ///< some y_i changed; if none did, `noise` is that of all y_i
  bool kink = false;      ///< the one-sided slopes differ
  double left_slope = 0;  ///< set at a kink, with their uncertainty
  double right_slope = 0;
  double slope_error = 0;
};

/// Central differences with Ridders' extrapolation, from `first_step` and ever smaller starting
/// steps until two in succession agree. `y0` is y at t = 0.
NumericDerivative differentiate(const LineFunction& function, std::span<const double> weights,
                                std::span<const double> y0, double first_step);

}  // namespace chainrule::internal
