// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/gaussian_process.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule {

struct NeuralLinearOptions {
  double prior_precision = 1;   ///< alpha > 0: each weight is N(0, 1 / alpha) before the data
  double noise = 1e-2;          ///< variance of the noise of each target, > 0
  bool bias = true;             ///< one more feature that is 1, its weight with the same prior
  bool center_targets = false;  ///< subtract the columns' means from y; predictions get them back
  /// Layer of the model, from 0, whose output the features are; the default is what its last Linear
  /// layer reads.
  std::optional<std::size_t> layer{};
  int threads = 0;  ///< 0 means default_threads()
};

/// What the rows of a neural linear model come to, with m features and k targets.
struct NeuralLinearSums {
  Tensor gram{};      ///< Phi^T Phi [m, m], lower triangle
  Tensor products{};  ///< Phi^T (y - shift) [m, k]
  Tensor features{};  ///< Phi^T 1 [m, 1]
  Tensor targets{};   ///< [3, k]: shift, the sums of y - shift, those of its squares
  Index rows = 0;
};

/// The neural linear model: Bayesian linear regression on the features phi(x) of a model, y = W^T
/// phi(x) + noise, in weight space (Bishop, Pattern Recognition and Machine Learning, 2006, section
/// 3.3; Snoek et al., Scalable Bayesian Optimization Using Deep Neural Networks, 2015). It is the
/// Gaussian process with kernel phi(x) . phi(z) / alpha, at O(m^2) a row and O(m^3) a solution for
/// m features where that takes O(n^3). Data are seen once, in pieces; memory is a few matrices [m,
/// m] and some thousand rows, whatever n. All in float64; the same bits for any number of threads.
///
///     NeuralLinearModel bayes(model, 1, {.noise = 0.1});
///     for (const Dataset& piece : pieces) bayes.add(piece.x, piece.y);
///     bayes.optimize();
///     const GaussianProcessPrediction at = bayes.predict(new_x);
class CHAINRULE_API NeuralLinearModel {
 public:
  /// The features of `model`, which is copied, for targets of `outputs` columns. ArgumentError for
  /// options outside their domain or a layer that is not there.
  explicit NeuralLinearModel(const Model& model, Index outputs = 1,
                             const NeuralLinearOptions& options = {});
  /// As it was when sums() gave `sums`. `model` has the features and ends in a Linear layer for the
  /// outputs, with or without a bias; options.bias and layer do not count. ShapeError when the sums
  /// do not fit.
  NeuralLinearModel(const Model& model, NeuralLinearSums sums, const NeuralLinearOptions& options);
  ~NeuralLinearModel();
  NeuralLinearModel(NeuralLinearModel&&) noexcept;
  NeuralLinearModel& operator=(NeuralLinearModel&&) noexcept;

  Index features() const noexcept;  ///< m, with the bias, which comes last
  Index outputs() const noexcept;   ///< k
  Index rows() const noexcept;      ///< seen so far
  const NeuralLinearSums& sums() const noexcept;
  const NeuralLinearOptions& options() const noexcept;
  double prior_precision() const noexcept;
  double noise() const noexcept;
  /// Needs no data again. ArgumentError unless finite and > 0.
  void set_hyperparameters(double prior_precision, double noise);
  /// What the columns of the data mean; goes into model().
  Schema& schema() noexcept;

  /// More rows x [n, d], raw as Model::features() takes them, with targets y [n, k]. ShapeError
  /// when they do not fit; ArgumentError for a number that is not finite, and then takes none.
  void add(const Tensor& x, const Tensor& y);

  /// The posterior mean of the weights, [m, k] (eq. 3.53), of centered targets if that was asked
  /// for.
  Tensor mean() const;
  /// Their posterior covariance, [m, m], the same for each target (eq. 3.54).
  Tensor covariance() const;
  /// log p(y | alpha, noise) of all rows seen (eq. 3.86), in the terms of the Gaussian process, its
  /// gradient by log(prior_precision) and log(noise).
  LogMarginalLikelihood log_marginal_likelihood(bool with_gradient = false) const;
  /// Maximizes it over both (type II maximum likelihood; MacKay, Bayesian Interpolation, 1992) by
  /// L-BFGS from several starts, as GaussianProcess::optimize(). Needs no data again.
  OptimizeResult optimize(const OptimizeOptions& options = {});

  /// Mean [n, k] and variance [n, 1] of W^T phi(x) (eq. 3.58, and 3.59 without the noise); the
  /// prior before any rows. ShapeError when x does not fit.
  GaussianProcessPrediction predict(const Tensor& x) const;
  /// The mean over all of y [n, k] of -log N(y; mean, variance + noise).
  double negative_log_predictive_density(const Tensor& x, const Tensor& y) const;
  /// A float64 model with likelihood Gaussian that predicts the posterior mean.
  Model model() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace chainrule
