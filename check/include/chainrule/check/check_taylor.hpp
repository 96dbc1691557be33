// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

struct TaylorOptions {
  /// Parameters and real inputs to move, all at once; empty: all that influence the output.
  std::vector<Value> with_respect_to{};
  /// The first t, and how often it is halved. At t = 1 every element moves by 1/2 to 1 times the
  /// mean magnitude of its tensor.
  double first_step = 0.125;
  int halvings = 26;
  /// The remainder must shrink at least like t^least_order, which is above 1 and at most 2.
  double least_order = 1.9;
  int directions = 3;
  std::uint64_t seed = 1;
  /// Null: default_kernels().
  const KernelTable* kernels = nullptr;
};

/// How f behaves along one random direction u.
struct TaylorDirection {
  struct Step {
    double t = 0;
    double change = 0;     ///< |f(x + t u) - f(x)|
    double remainder = 0;  ///< |f(x + t u) - f(x) - t <g, u>|
    double noise = 0;      ///< how much of either is rounding
  };
  std::vector<Step> steps;  ///< t halves from one to the next
  double slope = 0;         ///< <g, u>
  /// Of the remainder in t, at the smallest steps above rounding; NaN where it has none there.
  double order = 0;
  double order_of_change = 0;  ///< of the change in t, there
  double slope_error = 0;      ///< how much the slope may be off, for all these steps say
  bool exact = false;          ///< f is linear along u: no remainder to be seen
  bool kink = false;           ///< f has different slopes on both sides of x
  double left_slope = 0;       ///< which are these, at a kink
  double right_slope = 0;
  Verdict verdict = Verdict::kUnresolved;
};

struct CHAINRULE_API TaylorReport {
  std::string architecture;
  std::vector<TaylorDirection> directions;
  /// Why the check failed, one line each; empty when all is well.
  std::vector<std::string> failures;

  /// True when every direction agrees and there was at least one.
  bool ok() const noexcept { return failures.empty() && !directions.empty(); }
  /// The worst verdict of all directions; kUnresolved when there are none.
  Verdict verdict() const noexcept;
  /// A line for each direction and each failure.
  std::string to_text() const;
};

/// The Taylor-remainder test, for networks of any size: with the right gradient g the remainder
/// |f(x + t u) - f(x) - t <g, u>| is of order t^2, with any other g it is of order t, as the change
/// |f(x + t u) - f(x)| is. f is `output` if it is a scalar, and else a sum of its elements with
/// random signed weights. It costs one gradient and a few dozen forward passes for each direction,
/// in float64, however many parameters there are. It sees what changes the slope along random
/// directions by about a part in 10^4, and does not say where; check_gradients() does both better.
///
/// The order is looked for where it shows: at the smallest steps above rounding, over several
/// halvings, and in 4 r(t/2) - r(t), which has no t^2, and so is of order 1 or at least 3. There a
/// remainder that happens to change its sign does not look like one that shrinks slowly. Where this
/// changes its sign too, the slope still agrees when it is off by no more than that part in 10^4.
///
/// Disagree: the remainder is of lower order than `least_order` and not rounding. Unresolved: too
/// few steps are above the rounding of f to tell; or the direction's slope is itself within it, so
/// that any g would pass; or f has a kink at x itself (a ReLU at 0), so that its slopes to the left
/// and to the right differ and no g gives both. Kinks further away do not matter. Failures are
/// these, an output that is not finite, and nothing to move. Throws as check_gradients() does, and
/// ArgumentError for a first step that is not positive and finite, another order than allowed and
/// negative numbers of anything.
CHAINRULE_API TaylorReport check_taylor(const Graph& graph, Value output, const Feed& feed,
                                        const TaylorOptions& options = {});

}  // namespace chainrule
