// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "line.hpp"

namespace chainrule::internal {

/// Why a numeric derivative is not to be relied on.
enum class Doubt : std::uint8_t {
  kNone,
  kDomain,     ///< no step stays where the function is finite
  kDiverges,   ///< estimates from different steps do not agree
  kSaturated,  ///< no step moves the function, though it is not constant
  kScales,     ///< large and small steps tell different derivatives
};

/// The derivative of one channel of a line at t = 0, by differences.
struct NumericDerivative {
  double value = 0;
  /// How far `value` may be off: what the last extrapolation changed and how far the estimates from
  /// the smaller steps scatter, whichever is larger.
  double error_bar = 0;
  double step = 0;            ///< the smallest that `value` came from
  double rounding = 0;        ///< eps sum |v_i| max|y_i| / step, of the outputs that moved ...
  double hidden = 0;          ///< ... and of those that did not, which may hide that much
  double saturation = 0;      ///< if none moved: what rounding may hide of it beyond that
  bool by_rounding = false;   ///< ... and it is rounding that keeps them, where that was asked
  double terms = 0;           ///< sum_i |v_i dy_i/dt|
  Index reached = 0;          ///< outputs that moved
  bool moved = false;         ///< some output changed; if none did, `rounding` is 0
  bool resolved = false;      ///< estimates from different starting steps agree
  bool contradicted = false;  ///< ... but larger ones agreed on something else
  Doubt doubt = Doubt::kNone;
  bool kink = false;      ///< the one-sided slopes differ
  double left_slope = 0;  ///< set at a kink, with their uncertainty
  double right_slope = 0;
  double slope_error = 0;
};

/// Central differences with Richardson's extrapolation and an error estimate of its own (Ridders
/// 1982, "Accurate computation of F'(x) and F'(x)F''(x)", Adv. Eng. Software 4), from windows of
/// six steps, each half the one before, until two windows in succession agree and smaller steps can
/// only be worse: a step that jumps over a pole or leaves the domain does not agree with one that
/// does not. Slopes from the right and from the left are extrapolated as well; a kink is where they
/// differ and still do at steps that are as small as rounding lets them be, and f runs straight
/// into the point from both sides.
NumericDerivative differentiate(Line& line, std::size_t channel = 0);

}  // namespace chainrule::internal
