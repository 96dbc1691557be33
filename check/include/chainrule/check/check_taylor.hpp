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
  /// The remainder must shrink at least like t^least_order.
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
  std::vector<Step> steps;     ///< t halves from one to the next
  double slope = 0;            ///< <g, u>
  double order = 0;            ///< of the remainder in t, at the smallest steps above rounding
  double order_of_change = 0;  ///< of the change in t, there
  bool exact = false;          ///< f is linear along u: no remainder to be seen
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
/// Disagree: the remainder is of lower order than `least_order` and not rounding. Unresolved: too
/// few steps are above the rounding of f to tell, or the direction's slope is itself within it, so
/// that any g would pass. Failures are these, an output that is not finite, and nothing to move.
/// Throws as check_gradients() does.
CHAINRULE_API TaylorReport check_taylor(const Graph& graph, Value output, const Feed& feed,
                                        const TaylorOptions& options = {});

}  // namespace chainrule
