// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule {

enum class GlmSolver : std::uint8_t {
  /// Newton's method with the exact Hessian, which with canonical links is iteratively reweighted
  /// least squares, and step halving. Memory and time grow with the square and cube of the number
  /// of parameters.
  kNewton,
  kLbfgs,  ///< limited-memory BFGS (Liu & Nocedal 1989)
};

struct GlmOptions {
  double l2 = 0;  ///< strength of the penalty, >= 0
  bool penalize_bias = false;
  GlmSolver solver = GlmSolver::kNewton;
  /// Converged when no element of the gradient by the coefficients of centered and scaled features
  /// exceeds tolerance * max(1, sum of the sample weights), or when a Newton step from there would
  /// lower the objective by no more than tolerance * max(1, |objective|).
  double tolerance = 1e-12;
  Index max_iterations = 1000;  ///< steps of the solver
  /// Standard errors and the test for a maximum, which need the Hessian also after L-BFGS.
  bool covariance = true;
};

/// What a fit_glm() found, p = (features + bias) * outputs parameters. Sample weights count as
/// repetitions of a row, n is their sum.
struct GlmFit {
  Index iterations = 0;  ///< Newton steps; of L-BFGS, evaluations of the objective
  double objective = 0;
  double max_gradient = 0;  ///< largest |element| of the gradient that GlmOptions::tolerance is of
  bool converged = false;
  /// The likelihood still grows where the search stopped, and would for ever: the data are
  /// separable (or quasi-separable, or a count is 0 in a whole group; Albert & Anderson 1984), the
  /// coefficients without meaning. Never converged; false without GlmOptions::covariance.
  bool no_maximum = false;

  /// sum_i w_i log p(t_i), with all constants; of Gaussian and Gamma at the dispersion that
  /// maximizes it.
  double log_likelihood = 0;
  /// 2 sum_i w_i (log p of t_i at mean t_i - log p at the fitted mean), times the dispersion where
  /// there is one (McCullagh & Nelder, Generalized Linear Models, 1989, 2.3).
  double deviance = 0;
  /// The same of a model of nothing but the bias and the offset.
  double null_deviance = 0;
  /// Of each output: Pearson's sum_i w_i (t_i - mu_i)^2 / V(mu_i) / (n - parameters of the output),
  /// V = 1 for Gaussian and mu^2 for Gamma; NaN when nothing is left to divide by. 1 for the
  /// others, whose variance is known.
  std::vector<double> dispersion{};
  /// Free parameters: p, less a class of Categorical, plus a dispersion for each output of Gaussian
  /// and Gamma.
  Index parameters = 0;
  double aic = 0;  ///< 2 parameters - 2 log_likelihood (Akaike 1974)

  /// Rows are the features and then the bias (if there is one), columns the outputs, [features +
  /// bias, outputs], float64.
  Tensor coefficients{};
  Tensor standard_errors{};
  /// Of the coefficients, row-major as they stand, [p, p]: dispersion times the inverse of the
  /// expected information and the penalty. Of Categorical without penalty, whose outputs are known
  /// up to a common number only, of coefficients with mean 0 over the classes. Empty without
  /// GlmOptions::covariance, or where there is no maximum.
  Tensor covariance{};
};

/// Fits a generalized linear model on the features of a model to all of the data at once: the W and
/// b of its last layer, a Linear one, that minimize
///
///     sum_i w_i l_i + l2 / 2 ||W||^2,    l_i = the negative log-likelihood of row i,
///
/// w_i the sample weights (1 without). The layers before it stay as they are; of a model of one
/// layer the features are the inputs. Per row, z = phi(x) W + b (+ offset), t the target: Bernoulli
/// log(1 + e^z) - t z; Categorical -log softmax(z)_t (smoothed labels too); Gaussian
/// 1/2 sum_k (z_k - t_k)^2, the variance of the noise as 1; with log link, mu = e^z: Poisson mu - t
/// z; Gamma k (z + t / mu), k its shape; NegativeBinomial (t + 1/a) log(1 + a mu) - t z, a its
/// dispersion. Several outputs add up. x is as Model::prepare() gives it: standardized if the
/// schema says so.
///
/// Starts from the bias alone, works in float64 on centered and scaled features (which changes
/// nothing but rounding), and rounds to the model's dtype at the end. Where outputs of Categorical
/// are known up to a constant only, they get mean 0. Not reaching the tolerance is reported, not
/// thrown; the model then has the best point found.
///
/// ArgumentError for another kind of model, an option outside its domain, a number that is not
/// finite, weights that are all 0, and without a penalty for a feature that is constant beside the
/// bias or a linear combination of those before it, which it names; also throws what
/// Model::prepare() throws.
CHAINRULE_API GlmFit fit_glm(Model& model, const Dataset& data, const GlmOptions& options = {});

/// The dispersion a of NegativeBinomial, variance mu + a mu^2, at which fit_glm() of the last layer
/// has the largest likelihood (Lawless, Negative binomial and mixed Poisson regression, 1987): in
/// turn the coefficients and a of these means, until a stays to 1e-10. The likelihood of `model`
/// does not matter, nor do the values of its last layer. At least 2e-9, which it comes to for
/// counts that vary no more than Poisson's. Throws what fit_glm() throws; ArgumentError unless
/// `model` has one output.
CHAINRULE_API double negative_binomial_dispersion(const Model& model, const Dataset& data,
                                                  const GlmOptions& options = {});

}  // namespace chainrule
