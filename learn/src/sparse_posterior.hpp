// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process.hpp"
#include "chainrule/learn/sparse_gaussian_process.hpp"

namespace chainrule::internal {

/// Rows whose sums are taken at a time; the bits depend on it.
inline constexpr Index kSparsePieceRows = 1024;

/// A float64 copy of rows [first, first + count).
Tensor rows_copy(const Tensor& x, Index first, Index count);

SparseGaussianProcessSums empty_sums(Index inducing, Index outputs);

/// Inducing points Z as a kernel sees them: L L^T = K(Z, Z). Refers to the points.
class InducingFactor {
 public:
  /// Throws what cholesky() throws.
  InducingFactor(CovarianceKernel kernel, const Tensor& points, double max_jitter,
                 const Executor& executor);

  const CovarianceKernel& kernel() const noexcept { return kernel_; }
  const Tensor& points() const noexcept { return *points_; }
  MatrixView<const double> factor() const noexcept { return factor_.as<double>(); }

  /// V = L^-1 K(Z, x), a column for each row of x.
  Tensor project(const Tensor& x, const Executor& executor) const;
  /// Adds rows x, and y without its means, at most kSparsePieceRows of them.
  void add(const Tensor& x, const Tensor& y, SparseGaussianProcessSums& sums,
           const Executor& executor) const;

 private:
  CovarianceKernel kernel_;
  const Tensor* points_;
  Tensor factor_;
};

/// The posterior of sums at one noise variance: B = I + V V^T / noise = M M^T and c = M^-1 V y /
/// noise.
struct SparsePosterior {
  SparsePosterior(SparseGaussianProcessSums sums, double noise, const Executor& executor);

  Tensor factor;  ///< M
  Tensor c;
  /// The terms of Titsias' bound (eq. 9): what the inducing points leave unexplained, -tr(K - Q) /
  /// (2 noise) a column, is part of the complexity.
  LogMarginalLikelihood bound;
};

/// The bound of all of x and y, which has no means, with its gradient; the pieces of x are gone
/// through twice.
LogMarginalLikelihood sparse_likelihood(const InducingFactor& inducing, double noise,
                                        const Tensor& x, const Tensor& y, const Executor& executor);

}  // namespace chainrule::internal
