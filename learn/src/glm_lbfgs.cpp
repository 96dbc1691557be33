// SPDX-License-Identifier: Apache-2.0
#include <LBFGS.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

#include "chainrule/core/error.hpp"
#include "glm_problem.hpp"

namespace chainrule::internal {
namespace {

using Vector = Eigen::VectorXd;

constexpr int kCorrections = 20;  // more than usual: memory is cheap here, evaluations are not
constexpr int kMaxTrials = 60;    // the first step of a run is 1 long, which may be far too much

LBFGSpp::LBFGSParam<double> solver_parameters(double limit, Index max_iterations) {
  LBFGSpp::LBFGSParam<double> parameters;
  parameters.m = kCorrections;
  parameters.epsilon = limit;  // of the Euclidean norm, which bounds every element
  parameters.epsilon_rel = 0;
  parameters.linesearch = LBFGSpp::LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE;
  parameters.max_linesearch = kMaxTrials;
  parameters.max_iterations =
      static_cast<int>(std::min<Index>(max_iterations, std::numeric_limits<int>::max()));
  return parameters;
}

// False when the line search found nothing better, as happens where rounding hides the decrease.
template <class Function>
bool minimize(const LBFGSpp::LBFGSParam<double>& parameters, Function& function, Vector& x) {
  double objective = 0;
  try {
    LBFGSpp::LBFGSSolver<double>(parameters).minimize(function, x, objective);
    return true;
  } catch (const Error&) {
    throw;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace

Index minimize_lbfgs(GlmProblem& problem, std::vector<double>& theta, double limit,
                     Index max_iterations) {
  if (max_iterations == 0) return 0;  // LBFGSpp would take it for no limit
  const auto parameters = solver_parameters(limit, max_iterations);
  Index evaluations = 0;
  const auto objective = [&](const Vector& x, Vector& gradient) {
    ++evaluations;
    theta.assign(x.data(), x.data() + x.size());
    const double value = problem.evaluate(theta);
    std::ranges::copy(problem.gradient(), gradient.data());
    return value;
  };
  Vector x = Vector::Zero(static_cast<Eigen::Index>(theta.size()));
  std::ranges::copy(theta, x.data());
  const bool finished = minimize(parameters, objective, x);

  if (!finished) {
    // So close to the optimum the change of the objective is below its rounding, but the trapezoid
    // rule gives that change from the gradients, to third order in the step.
    const Vector origin = x;
    Vector gradient_there(x.size());
    const double value_there = objective(x, gradient_there);
    const double largest_there = problem.max_gradient();
    const auto change = [&](const Vector& at, Vector& gradient) {
      objective(at, gradient);
      return 0.5 * (gradient + gradient_there).dot(at - origin);
    };
    minimize(parameters, change, x);
    Vector gradient(x.size());
    const double noise = 1e-12 * std::abs(value_there);
    const bool better =
        objective(x, gradient) <= value_there + noise && problem.max_gradient() <= largest_there;
    if (!better) x = origin;
  }
  theta.assign(x.data(), x.data() + x.size());
  return evaluations;
}

}  // namespace chainrule::internal
