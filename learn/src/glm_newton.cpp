// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/linear_algebra.hpp"
#include "glm_problem.hpp"

namespace chainrule::internal {
namespace {

constexpr int kMaxHalvings = 40;
constexpr double kSufficientDecrease = 1e-4;

// Adds curvature along the direction of equal biases, where a Categorical's Hessian has none. The
// gradient has no part in it, so the step stays the one of least norm.
void fix_gauge(const GlmProblem& problem, MatrixView<double> hessian) {
  const auto first = static_cast<Index>(problem.weight_count());
  double scale = 0;
  for (Index i = first; i < hessian.rows; ++i) scale = std::max(scale, hessian(i, i));
  for (Index i = first; i < hessian.rows; ++i) {
    for (Index j = first; j < hessian.rows; ++j) hessian(i, j) += scale;
  }
}

// Minus the inverse Hessian times the gradient; nothing when the Hessian is not positive definite
// to working precision.
std::optional<std::vector<double>> newton_step(const GlmProblem& problem) {
  Tensor hessian = problem.hessian();
  if (problem.biases_are_free()) fix_gauge(problem, hessian.as<double>());
  std::vector<double> step(problem.size());
  std::ranges::transform(problem.gradient(), step.begin(), [](double g) { return -g; });
  try {
    solve_positive_definite(hessian.as<double>(),
                            {step.data(), static_cast<Index>(step.size()), 1, 1});
  } catch (const Error&) {
    return std::nullopt;
  }
  const bool finite = std::ranges::all_of(step, [](double s) { return std::isfinite(s); });
  return finite ? std::optional(std::move(step)) : std::nullopt;
}

}  // namespace

Index minimize_newton(GlmProblem& problem, std::vector<double>& theta, double limit,
                      Index max_iterations) {
  double objective = problem.evaluate(theta);
  for (Index iteration = 0; iteration < max_iterations; ++iteration) {
    if (problem.max_gradient() <= limit) return iteration;
    const auto step = newton_step(problem);
    if (!step) return iteration;
    double slope = 0;
    for (std::size_t i = 0; i < theta.size(); ++i) slope += (*step)[i] * problem.gradient()[i];
    // Close to the optimum the decrease drowns in the rounding of the objective.
    const double noise = 32 * std::numeric_limits<double>::epsilon() * std::abs(objective);

    bool accepted = false;
    double length = 1;
    std::vector<double> candidate(theta.size());
    for (int halving = 0; halving <= kMaxHalvings && !accepted; ++halving, length /= 2) {
      for (std::size_t i = 0; i < theta.size(); ++i) candidate[i] = theta[i] + length * (*step)[i];
      const double value = problem.evaluate(candidate);
      if (value <= objective + kSufficientDecrease * length * slope + noise) {
        objective = value;
        theta = candidate;
        accepted = true;
      }
    }
    if (!accepted) return iteration;
  }
  return max_iterations;
}

}  // namespace chainrule::internal
