// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process.hpp"

namespace chainrule::internal {

/// A Gaussian process conditioned on data: the factor of K + noise I and alpha.
struct GpPosterior {
  /// Rasmussen & Williams, algorithm 2.1, lines 2 and 3; throws what cholesky() throws.
  GpPosterior(const CovarianceKernel& kernel, double noise, double max_jitter, const Tensor& x,
              const Tensor& centered_y, const Executor& executor);

  /// Line 7, of the same arguments. Takes the gradient by eq. 5.9 if it is wanted.
  LogMarginalLikelihood likelihood(const CovarianceKernel& kernel, double noise, const Tensor& x,
                                   const Tensor& centered_y, bool with_gradient,
                                   const Executor& executor) const;

  Tensor factor;  ///< L, lower
  Tensor alpha;
  double jitter = 0;
  double log_determinant = 0;
};

/// Maximizes `evaluate` (theta -> value and gradient; throws Error where there is no value) from
/// `start`; see GaussianProcess::optimize(). `theta` becomes the best point found.
OptimizeResult maximize(
    const std::function<LogMarginalLikelihood(std::span<const double>)>& evaluate,
    std::vector<double>& theta, const OptimizeOptions& options);

}  // namespace chainrule::internal
