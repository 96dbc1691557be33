// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {

struct GaussianProcessOptions {
  double noise = 1e-2;          ///< variance of the noise of each target, > 0
  bool center_targets = false;  ///< subtract the columns' means from y; predictions get them back
  /// CholeskyOptions::max_jitter for K + noise I; 0: not positive definite is an error
  double max_jitter = 0;
  int threads = 0;  ///< 0 means default_threads()
};

/// log p(y | x, theta) of Gaussian process regression (Rasmussen & Williams 2006, eq. 2.30), summed
/// over the columns of y.
struct LogMarginalLikelihood {
  double value = 0;       ///< of the three terms
  double data_fit = 0;    ///< -1/2 y^T (K + noise I)^-1 y
  double complexity = 0;  ///< -1/2 log |K + noise I| a column
  double constant = 0;    ///< -n/2 log 2 pi a column
  /// By GaussianProcess::theta() (eq. 5.9); empty unless it was asked for.
  std::vector<double> gradient{};
};

struct GaussianProcessPrediction {
  Tensor mean{};      ///< [m, k]
  Tensor variance{};  ///< of the latent function, without noise, in each column of y: [m, 1]
};

/// The mean over all of y [m, k] of -log N(y; mean, variance + noise), in nats. ShapeError when y
/// does not fit.
CHAINRULE_API double negative_log_predictive_density(const GaussianProcessPrediction& at,
                                                     double noise, const Tensor& y);

/// How far optimize() is.
struct OptimizeProgress {
  int start = 0;        ///< from 0, which is the one from the current hyperparameters
  int starts = 0;       ///< in all
  int evaluations = 0;  ///< so far, by all starts
  double best = 0;      ///< largest log marginal likelihood so far; minus infinity for none
};

struct OptimizeOptions {
  int restarts = 3;  ///< more starts, beside that from the current hyperparameters
  /// A restart moves each coordinate of theta by a uniform number of at most this, anew from where
  /// optimize() began: a factor of e^2 for what is positive.
  double spread = 2;
  std::uint64_t seed = 0;
  int max_iterations = 200;  ///< of L-BFGS, a start
  /// A start has converged when the Euclidean norm of the gradient is at most this.
  double tolerance = 1e-5;
  /// Called after each evaluation; false ends the optimization with the best point so far.
  std::function<bool(const OptimizeProgress&)> progress{};
};

struct OptimizeResult {
  double log_marginal_likelihood = 0;
  double max_gradient = 0;  ///< largest |element| of the gradient there
  bool converged = false;   ///< of the best start
  bool stopped = false;     ///< by OptimizeOptions::progress
  int evaluations = 0;      ///< of the likelihood, by all starts
  int best_start = 0;       ///< 0 is the one from the current hyperparameters
  /// What each start came to that was begun; minus infinity where no point of it was positive
  /// definite.
  std::vector<double> values{};
};

/// Exact Gaussian process regression (Rasmussen & Williams, Gaussian Processes for Machine
/// Learning, 2006, algorithm 2.1): y = f(x) + noise, f ~ GP(0, k), all in float64. Each column of y
/// is a function of its own with the same kernel and noise. Memory: a matrix [n, n], and another
/// one while a gradient is taken. The same bits for any number of threads.
///
///     GaussianProcess gp(scaled(rbf_kernel(), 1), {.noise = 0.1, .center_targets = true});
///     gp.fit(x, y);
///     gp.optimize();
///     const GaussianProcessPrediction at = gp.predict(new_x);
class CHAINRULE_API GaussianProcess {
 public:
  /// ArgumentError for options outside their domain.
  explicit GaussianProcess(CovarianceKernel kernel, const GaussianProcessOptions& options = {});
  ~GaussianProcess();
  GaussianProcess(GaussianProcess&&) noexcept;
  GaussianProcess& operator=(GaussianProcess&&) noexcept;

  const CovarianceKernel& kernel() const noexcept;
  double noise() const noexcept;
  const GaussianProcessOptions& options() const noexcept;

  /// The hyperparameters: the kernel's, then "noise".
  std::vector<Hyperparameter> hyperparameters() const;
  /// Their coordinates: logarithms of what is positive. set_theta() factors anew if there are data;
  /// throws what CovarianceKernel::set_theta() and fit() throw, and then keeps what was.
  std::vector<double> theta() const;
  void set_theta(std::span<const double> theta);

  /// Conditions on inputs x [n, d] and targets y [n, k], n >= 1, which are copied. ShapeError when
  /// they do not fit; ArgumentError for a number that is not finite; Error, naming the pivot, when
  /// K + noise I is not positive definite with all the jitter allowed.
  void fit(const Tensor& x, const Tensor& y);
  /// The data of fit(), the targets as they came. Empty before.
  const Tensor& x() const noexcept;
  const Tensor& y() const noexcept;
  /// (K + noise I)^-1 y, [n, k], y centered if that was asked for.
  const Tensor& alpha() const noexcept;
  /// What was added to the diagonal beside the noise.
  double jitter() const noexcept;

  /// Of the data given to fit(); ArgumentError before. The gradient costs two thirds of n^3 more.
  LogMarginalLikelihood log_marginal_likelihood(bool with_gradient = false) const;

  /// Maximizes the log marginal likelihood over theta by L-BFGS (Liu & Nocedal 1989) from several
  /// starts and keeps the best point found. Never worse than before. Not to reach the tolerance is
  /// reported, not thrown. ArgumentError before fit(), or for options outside their domain.
  OptimizeResult optimize(const OptimizeOptions& options = {});

  /// Mean and variance of f at x [m, d]; ArgumentError before fit().
  GaussianProcessPrediction predict(const Tensor& x) const;
  /// The mean alone: O(n) a row and column, where the variance is O(n^2) a row.
  Tensor predict_mean(const Tensor& x) const;
  /// The column with the largest mean for each row: the class, where y was one_hot_targets().
  std::vector<std::int32_t> classify(const Tensor& x) const;
  /// Of new rows, whose latent function is predict(x). ShapeError when x and y do not fit.
  double negative_log_predictive_density(const Tensor& x, const Tensor& y) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Regression targets of classes, [n, classes]: `on` in the column of the label, else `off` (Lee et
/// al., Deep Neural Networks as Gaussian Processes, 2018, section 3.1, with 10 classes).
/// ArgumentError for a label outside [0, classes).
CHAINRULE_API Tensor one_hot_targets(std::span<const std::int32_t> labels, Index classes,
                                     double on = 0.9, double off = -0.1);

}  // namespace chainrule
