// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process.hpp"

namespace chainrule {

struct GaussianProcessClassifierOptions {
  /// Newton's method for the mode has converged when no latent value moves by more than this times
  /// (1 + the largest |latent value|).
  double tolerance = 1e-10;
  int max_iterations = 100;  ///< of Newton's method
  int threads = 0;           ///< 0 means default_threads()
};

struct LatentPrediction {
  Tensor mean{};      ///< of the latent functions, [m, 1] for two classes, else [m, classes]
  Tensor variance{};  ///< of the same shape
};

/// Gaussian process classification by Laplace's approximation (Rasmussen & Williams, Gaussian
/// Processes for Machine Learning, 2006, algorithms 3.1, 3.2 and 5.1): p(y = 1 | f) = 1 / (1 +
/// exp(-f)), f ~ GP(0, k), all in float64. Two classes have one latent function, that of class 1;
/// more have one each, against the rest, with the same kernel. Memory: a matrix [n, n] a latent
/// function, and three more at work. The same bits for any number of threads.
class CHAINRULE_API GaussianProcessClassifier {
 public:
  /// ArgumentError for options outside their domain.
  explicit GaussianProcessClassifier(CovarianceKernel kernel,
                                     const GaussianProcessClassifierOptions& options = {});
  ~GaussianProcessClassifier();
  GaussianProcessClassifier(GaussianProcessClassifier&&) noexcept;
  GaussianProcessClassifier& operator=(GaussianProcessClassifier&&) noexcept;

  const CovarianceKernel& kernel() const noexcept;
  Index classes() const noexcept;  ///< 0 before fit()

  /// Finds the modes for inputs x [n, d] and the label in [0, classes) of each row, n >= 1, classes
  /// >= 2. ShapeError when they do not fit; ArgumentError for a label outside, or an input that is
  /// not finite; Error when Newton's method does not converge.
  void fit(const Tensor& x, std::span<const std::int32_t> labels, Index classes);

  /// log q(y | x, theta) (eq. 3.32), summed over the latent functions, and its gradient by the
  /// kernel's theta() if it is wanted. data_fit is -1/2 f^T K^-1 f + log p(y | f) at the mode f,
  /// complexity -1/2 log |B|, constant 0. ArgumentError before fit().
  LogMarginalLikelihood log_marginal_likelihood(bool with_gradient = false) const;

  /// Maximizes it over the kernel's theta; see GaussianProcess::optimize().
  OptimizeResult optimize(const OptimizeOptions& options = {});

  /// Mean and variance of the latent functions at x [m, d] (eq. 3.21 and 3.24); ArgumentError
  /// before fit().
  LatentPrediction predict_latent(const Tensor& x) const;
  /// The probability of each class, [m, classes]: the logistic function averaged over the latent
  /// value (eq. 3.25, to 1e-10); of more than two classes divided by their sum.
  Tensor predict(const Tensor& x) const;
  /// The most probable class of each row.
  std::vector<std::int32_t> classify(const Tensor& x) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The mean of 1 / (1 + exp(-f)) for f ~ N(mean, variance), to 1e-10; variance >= 0.
CHAINRULE_API double expected_logistic(double mean, double variance) noexcept;

}  // namespace chainrule
