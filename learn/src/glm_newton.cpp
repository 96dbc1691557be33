// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "glm_problem.hpp"

namespace chainrule::internal {
namespace {

constexpr int kMaxHalvings = 40;
constexpr double kSufficientDecrease = 1e-4;
// A step that promises less than this and no less than a quarter of the last one's promise is made
// of rounding (or runs after a maximum that is not there): near one, steps square their promise.
constexpr double kNegligibleDecrease = 1e-10;

}  // namespace

Index minimize_newton(GlmProblem& problem, std::vector<double>& theta, double limit,
                      Index max_iterations) {
  double objective = problem.evaluate(theta);
  double last_slope = -std::numeric_limits<double>::infinity();
  for (Index iteration = 0; iteration < max_iterations; ++iteration) {
    if (problem.max_gradient() <= limit) return iteration;
    const auto step = problem.newton_step();
    if (!step) return iteration;
    double slope = 0;
    for (std::size_t i = 0; i < theta.size(); ++i) slope += (*step)[i] * problem.gradient()[i];
    if (-slope <= kNegligibleDecrease && -slope > -last_slope / 4) return iteration;
    last_slope = slope;
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
