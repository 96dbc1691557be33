// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule {

enum class GlmSolver : std::uint8_t {
  /// Newton's method with the exact Hessian, which for these likelihoods is iteratively reweighted
  /// least squares, and step halving. Memory and time grow with the square and cube of the number
  /// of parameters.
  kNewton,
  kLbfgs,  ///< limited-memory BFGS (Liu & Nocedal 1989)
};

struct GlmOptions {
  double c = 1;  ///< inverse strength of the penalty, > 0
  GlmSolver solver = GlmSolver::kNewton;
  /// Converged when no element of the gradient exceeds tolerance * max(1, c * sum of the sample
  /// weights).
  double tolerance = 1e-12;
  Index max_iterations = 1000;  ///< steps of the solver
};

/// How a fit_glm() ended.
struct GlmFit {
  Index iterations = 0;  ///< Newton steps; of L-BFGS, evaluations of the objective
  double objective = 0;
  double max_gradient = 0;  ///< largest |element| of the objective's gradient
  bool converged = false;
};

/// Fits a generalized linear model to all of the data at once: the W and b of a model of one Linear
/// layer that minimize
///
///     c sum_i w_i l_i + 1/2 ||W||^2,    l_i = the negative log-likelihood of row i,
///
/// w_i the sample weights (1 without). The bias is not penalized. Per row, z = x W + b (+ offset):
/// Bernoulli log(1 + e^z) - t z; Categorical -log softmax(z)_t (smoothed labels too); Gaussian
/// 1/2 sum_k (z_k - t_k)^2, so c is 1 / alpha of ridge regression and, with the variance of the
/// noise as 1, that of the weights; Poisson sum_k e^(z_k) - t_k z_k. x is as Model::prepare() gives
/// it: standardized if the schema says so.
///
/// Starts from zero, works in float64, and rounds to the model's dtype at the end. Categorical's
/// biases, which the loss knows up to a constant only, get mean 0. Not reaching the tolerance is
/// reported, not thrown; the model then has the best point found. ArgumentError for another kind of
/// model or an option outside its domain; also throws what Model::prepare() throws.
CHAINRULE_API GlmFit fit_glm(Model& model, const Dataset& data, const GlmOptions& options = {});

}  // namespace chainrule
