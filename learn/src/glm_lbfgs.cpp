// SPDX-License-Identifier: Apache-2.0
#include <LBFGS.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "chainrule/core/error.hpp"
#include "glm_problem.hpp"

namespace chainrule::internal {
namespace {

constexpr int kCorrections = 20;  // more than usual: memory is cheap here, evaluations are not

}  // namespace

Index minimize_lbfgs(GlmProblem& problem, std::vector<double>& theta, double limit,
                     Index max_iterations) {
  if (max_iterations == 0) return 0;  // LBFGSpp would take it for no limit
  LBFGSpp::LBFGSParam<double> parameters;
  parameters.m = kCorrections;
  parameters.epsilon = limit;  // of the Euclidean norm, which bounds every element
  parameters.epsilon_rel = 0;
  parameters.linesearch = LBFGSpp::LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE;
  parameters.max_iterations =
      static_cast<int>(std::min<Index>(max_iterations, std::numeric_limits<int>::max()));

  Index evaluations = 0;
  const auto function = [&](const Eigen::VectorXd& x, Eigen::VectorXd& gradient) {
    ++evaluations;
    theta.assign(x.data(), x.data() + x.size());
    const double objective = problem.evaluate(theta);
    std::ranges::copy(problem.gradient(), gradient.data());
    return objective;
  };
  Eigen::VectorXd x = Eigen::Map<const Eigen::VectorXd>(theta.data(),
                                                        static_cast<Eigen::Index>(theta.size()));
  double objective = 0;
  try {
    LBFGSpp::LBFGSSolver<double>(parameters).minimize(function, x, objective);
  } catch (const Error&) {
    throw;
  } catch (const std::exception&) {
    // The line search found nothing better, as happens where rounding hides the decrease.
  }
  theta.assign(x.data(), x.data() + x.size());
  return evaluations;
}

}  // namespace chainrule::internal
