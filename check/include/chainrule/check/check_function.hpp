// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

// Checks of derivatives that have nothing to do with graphs: anybody's function with anybody's
// derivative, in float64.

/// y = f(x): fills y, of the size that was asked for, from x. It is called at points around the
/// given one, on the calling thread, and may return NaN where it is not defined.
using VectorFunction = std::function<void(std::span<const double> x, std::span<double> y)>;
/// Fills the Jacobian dy/dx at x, [outputs, x.size()], row-major.
using JacobianFunction = std::function<void(std::span<const double> x, std::span<double> jacobian)>;
/// Fills the row vector v^T dy/dx at x, of x.size() numbers, for v of as many as there are outputs.
using VectorJacobianFunction = std::function<void(
    std::span<const double> x, std::span<const double> v, std::span<double> product)>;

struct FunctionCheckOptions {
  /// The derivative is identically zero; else one that is zero everywhere is a failure.
  bool zero_derivative = false;
  /// Kinks, where the derivative lies between the one-sided slopes, are no failure.
  bool accept_kinks = true;
  /// Unresolved elements are no failure, but counted as waived, as long as anything is resolved.
  bool waive_unresolved = false;

  // As in GradientCheckOptions.
  double first_step = 0.2;
  double relative_tolerance = 1e-9;
  double error_bars = 10;
  double roundings = 8;
  double resolution = 1e-4;
  Index max_jacobian = 4096;
  Index max_elements = 256;
  Index samples = 48;
  Index directions = 6;
  std::uint64_t seed = 1;
  Index max_failures = 10;
};

/// Compares a Jacobian with differences of its function, in the manner of check_gradients().
///
///     auto report = check_jacobian(
///         [](auto x, auto y) { y[0] = x[0] * x[1]; },           // y = f(x)
///         [](auto x, auto j) { j[0] = x[1], j[1] = x[0]; },     // dy/dx
///         std::vector{2.0, 3.0}, /*outputs=*/1);
///     assert(report.ok());
///
/// Where outputs x size of x is at most `max_jacobian`, every entry is compared with the derivative
/// of its own output (ElementCheck::output, and ::column for the element of x); and the gradient of
/// a sum of all outputs with random signed weights, element by element of x. Larger Jacobians are
/// compared by the latter alone, at `samples` random elements and along `directions` random
/// directions when x has more than `max_elements`. The report has one value, named "x".
///
/// Nothing is printed. Failures are, beside what disagrees or is unresolved: nothing compared, a
/// derivative that is zero everywhere without being declared so, a point at which f or its
/// derivative is not finite, and functions that give other numbers when called again. Throws
/// ArgumentError for a negative number of outputs, more than 2^28 of them or of entries of a
/// Jacobian, an empty function, a first step that is not positive and finite, a tolerance that is
/// not finite and any other negative option; exceptions of the functions pass through.
CHAINRULE_API GradientReport check_jacobian(const VectorFunction& function,
                                            const JacobianFunction& jacobian,
                                            std::span<const double> x, Index outputs,
                                            const FunctionCheckOptions& options = {});

/// The same for code that computes products of a row vector with the Jacobian, as reverse mode
/// does. Up to `max_jacobian` entries, it is called once for each output, to get at every one.
CHAINRULE_API GradientReport check_vector_jacobian_product(
    const VectorFunction& function, const VectorJacobianFunction& product,
    std::span<const double> x, Index outputs, const FunctionCheckOptions& options = {});

/// The same for a number that depends on several, and its gradient.
CHAINRULE_API GradientReport check_gradient(
    const std::function<double(std::span<const double> x)>& function,
    const std::function<void(std::span<const double> x, std::span<double> gradient)>& gradient,
    std::span<const double> x, const FunctionCheckOptions& options = {});

/// The same for a function of one number and its derivative:
///
///     check_derivative([](double x) { return std::sin(x); },
///                      [](double x) { return std::cos(x); }, 0.3).ok()
CHAINRULE_API GradientReport check_derivative(const std::function<double(double)>& function,
                                              const std::function<double(double)>& derivative,
                                              double x, const FunctionCheckOptions& options = {});

}  // namespace chainrule
