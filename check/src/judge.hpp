// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "chainrule/check/check_gradients.hpp"
#include "ridders.hpp"

namespace chainrule::internal {

/// The bound |g32 - g64| <= factor n u S of float32 backward.
struct Float32Rule {
  double factor = 4;
  Index sum = 1;     ///< n is at least this, ...
  double terms = 0;  ///< ... and S
  /// An op's contract: n the number of outputs that the element reaches and S = sum_i |v_i dy_i/dx|
  /// of the element, but not less than this function says. Else S is that of the tensor's largest.
  std::function<double(Value value, Index row, Index column)> contract{};
};

/// What comparisons are judged by; see GradientCheckOptions for those of the same name.
struct Tolerances {
  double relative_tolerance = 1e-9;
  double error_bars = 10;
  double roundings = 8;
  double resolution = 1e-4;
  Float32Rule float32;
  Index longest_sum = 1;  ///< of a gradient that is declared to be zero
};

/// What is to be known of a whole tensor to judge one of its elements.
struct Scale {
  double gradient = 0;  ///< the largest gradient
  double terms = 0;     ///< the largest sum_i |v_i dy_i/dx|
  bool zero = false;    ///< declared to be zero
  bool kinks = true;    ///< kinks are expected
  Value value;
};

/// One comparison before its verdict.
struct Comparison {
  Index row = -1;
  Index column = -1;
  Index output = -1;
  double analytic = 0;  ///< float64
  NumericDerivative numeric;

  bool has_float32 = false;
  double float32 = 0;         ///< the same gradient in float32
  double float32_spread = 0;  ///< added to its tolerance
};

/// Compares float64 with differences, then float32, if there is one, with float64.
ElementCheck judge(const Comparison& comparison, const Scale& scale, const Tolerances& tolerances);
/// The second half alone, for an element that was not compared with differences.
ElementCheck judge_float32(const Comparison& comparison, const Scale& scale,
                           const Tolerances& tolerances);

/// Counts a verdict, and keeps the worst check and the worst failures. `waived`: an unresolved one
/// is no failure.
void tally(ValueCheck& result, const ElementCheck& check, bool waived, Index max_failures);

}  // namespace chainrule::internal
