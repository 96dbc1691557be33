// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/gaussian_process.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule {

struct LastLayerLaplaceOptions {
  double prior_precision = 1;  ///< alpha > 0: each weight is N(0, 1 / alpha) before the data
  int threads = 0;             ///< 0 means default_threads()
};

/// What the rows of a last-layer Laplace approximation come to, with P weights.
struct LastLayerLaplaceSums {
  Tensor information{};       ///< Hessian of -log likelihood [P, P], lower triangle
  double log_likelihood = 0;  ///< at the weights
  Index rows = 0;
};

struct LastLayerLaplacePrediction {
  Tensor probability{};     ///< [n, classes] of Categorical, [n, 1] of Bernoulli (of class 1)
  Tensor logit_mean{};      ///< of the same shape
  Tensor logit_variance{};  ///< of each logit
};

/// The Laplace approximation of the posterior of a trained classifier's last layer, whose W and b
/// count as its mode: N(weights, (alpha I + H)^-1), H the Hessian of the negative log-likelihood
/// there (MacKay, The Evidence Framework Applied to Classification Networks, 1992; Kristiadi, Hein
/// & Hennig, Being Bayesian, Even Just a Bit, Fixes Overconfidence in ReLU Networks, 2020). The
/// layers before stay certain. Weights are numbered class by class: class * m + feature, of m
/// features with the bias last, P = classes * m (m for Bernoulli).
///
/// Predictions integrate over the logits by the probit approximation (MacKay 1992, eq. 10):
/// Bernoulli sigmoid(mu / sqrt(1 + pi v / 8)) for a logit of mean mu and variance v; Categorical
/// 1 / sum_l exp(-mu_kl / sqrt(1 + pi v_kl / 8)), mean and variance of z_k - z_l, over the sum of
/// these (Lu, Ie & Sha, Mean-Field Approximation to Gaussian-Softmax Integral, 2020), which for two
/// classes is the former.
///
/// Data are seen once, in pieces, O(P^2) a row; memory is a few matrices [P, P] and some thousand
/// rows. All in float64; the same bits for any number of threads.
///
///     LastLayerLaplace laplace(model);
///     laplace.add(train);
///     laplace.optimize();
///     const LastLayerLaplacePrediction at = laplace.predict(new_x);
class CHAINRULE_API LastLayerLaplace {
 public:
  /// Copies `model`. ArgumentError unless it ends in a Linear layer and is Bernoulli or
  /// Categorical, or for options outside their domain.
  explicit LastLayerLaplace(const Model& model, const LastLayerLaplaceOptions& options = {});
  /// As it was when sums() gave `sums`; ShapeError when they do not fit.
  LastLayerLaplace(const Model& model, LastLayerLaplaceSums sums,
                   const LastLayerLaplaceOptions& options);
  ~LastLayerLaplace();
  LastLayerLaplace(LastLayerLaplace&&) noexcept;
  LastLayerLaplace& operator=(LastLayerLaplace&&) noexcept;

  Index weights() const noexcept;  ///< P
  Index rows() const noexcept;     ///< seen so far
  const LastLayerLaplaceSums& sums() const noexcept;
  /// In float64.
  const Model& model() const noexcept;
  double prior_precision() const noexcept;
  /// Needs no data again. ArgumentError unless finite and > 0.
  void set_prior_precision(double prior_precision);

  /// More rows with labels, and sample weights if they have any. Throws what Model::prepare()
  /// throws, and then takes none.
  void add(const Dataset& data);

  /// Of the weights, [P, P].
  Tensor covariance() const;
  /// Laplace's approximation of log p(labels | alpha) (MacKay 1992; Bishop, Pattern Recognition and
  /// Machine Learning, 2006, eq. 4.137), its gradient by log(prior_precision). data_fit is the log
  /// likelihood, complexity the rest.
  LogMarginalLikelihood log_marginal_likelihood(bool with_gradient = false) const;
  /// Maximizes it over the prior precision at the weights as they are (Daxberger et al., Laplace
  /// Redux, 2021, section 3.5, post-hoc), as GaussianProcess::optimize().
  OptimizeResult optimize(const OptimizeOptions& options = {});

  /// At raw inputs x [n, d]; ShapeError when they do not fit.
  LastLayerLaplacePrediction predict(const Tensor& x) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace chainrule
