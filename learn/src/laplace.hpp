// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process_classifier.hpp"

namespace chainrule::internal {

/// Laplace's approximation to the posterior of one latent function with a logistic likelihood, its
/// targets -1 or 1.
class LaplacePosterior {
 public:
  /// Rasmussen & Williams, algorithm 3.1, with halved steps where Newton's go too far; k [n, n]
  /// symmetric. Error when it does not converge.
  LaplacePosterior(MatrixView<const double> k, const std::vector<double>& targets,
                   const GaussianProcessClassifierOptions& options, const Executor& executor);

  /// Adds log q(y | x) to `sum`.
  void add_likelihood(LogMarginalLikelihood& sum) const;
  /// Adds d log q / d K [n, n] to `weights`, both triangles: algorithm 5.1, for all hyperparameters
  /// at once.
  void add_gradient(MatrixView<const double> k, MatrixView<double> weights,
                    const Executor& executor) const;
  /// Algorithm 3.2: `across` k(X, x*) [n, m] is overwritten; `variance`, k(x*, x*) before.
  void predict(MatrixView<double> across, double* mean, double* variance,
               const Executor& executor) const;

 private:
  using Values = std::vector<double>;

  Index rows() const noexcept { return static_cast<Index>(latent_.size()); }
  double objective(const Values& a, const Values& f) const;
  /// slope_, root_ and factor_ at latent_.
  void linearize(MatrixView<const double> k, const Executor& executor);
  /// The a of Newton's next point.
  Values newton(MatrixView<const double> k, const Executor& executor) const;

  Values targets_;
  Values latent_;  ///< f, the mode
  Values a_;       ///< K^-1 f
  Values slope_;   ///< d log p / d f
  Values root_;    ///< W^1/2
  Tensor factor_;  ///< L of B = I + W^1/2 K W^1/2
  double log_determinant_ = 0;
};

}  // namespace chainrule::internal
