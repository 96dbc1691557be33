// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process.hpp"

namespace chainrule {

struct SparseGaussianProcessOptions {
  double noise = 1e-2;  ///< variance of the noise of each target, > 0
  /// CholeskyOptions::max_jitter for the kernel matrix of the inducing points, which is hardly
  /// positive definite where they are close
  double max_jitter = 1e-6;
  int threads = 0;  ///< 0 means default_threads()
};

/// Gaussian process regression on m inducing points (Titsias, Variational Learning of Inducing
/// Variables in Sparse Gaussian Processes, 2009) for more rows than one Cholesky factor has room
/// for. Data are seen once, in pieces, O(m^2) a row; memory is a few matrices [m, m] and some
/// thousand rows, whatever n. With the training inputs as inducing points it is the exact process.
/// The same bits for any number of threads and however the rows are cut into pieces.
///
///     SparseGaussianProcess gp(kernel, greedy_inducing_points(kernel, some_rows, 500));
///     for (const Dataset& piece : pieces) gp.add(piece.x, piece.y);
///     const GaussianProcessPrediction at = gp.predict(new_x);
class CHAINRULE_API SparseGaussianProcess {
 public:
  /// `inducing` [m, d], m >= 1, and targets of `outputs` columns. ArgumentError for options outside
  /// their domain; Error when the kernel matrix of the inducing points is not positive definite
  /// with the jitter allowed.
  SparseGaussianProcess(CovarianceKernel kernel, const Tensor& inducing, Index outputs = 1,
                        const SparseGaussianProcessOptions& options = {});
  ~SparseGaussianProcess();
  SparseGaussianProcess(SparseGaussianProcess&&) noexcept;
  SparseGaussianProcess& operator=(SparseGaussianProcess&&) noexcept;

  const CovarianceKernel& kernel() const noexcept;
  const Tensor& inducing() const noexcept;
  Index rows() const noexcept;  ///< seen so far
  double noise() const noexcept;
  /// Needs no data again. ArgumentError unless finite and > 0.
  void set_noise(double noise);

  /// More rows x [n, d] with targets y [n, outputs]. ShapeError when they do not fit; ArgumentError
  /// for a number that is not finite, and then takes none.
  void add(const Tensor& x, const Tensor& y);

  /// Titsias' lower bound of the log marginal likelihood of all rows seen (eq. 9), summed over the
  /// columns of y.
  double lower_bound() const;
  /// Mean and variance of the latent function at x [m, d]; the prior before any rows.
  GaussianProcessPrediction predict(const Tensor& x) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Up to `count` rows of x [n, d], each the one that those before leave most uncertain: the pivots
/// of Cholesky's factorization of its kernel matrix (Burt, Rasmussen & van der Wilk, Convergence of
/// Sparse Variational Inference in Gaussian Processes Regression, 2020, section 4). Fewer where the
/// rest is certain to 1e-12 of the largest variance. O(n count^2), memory for n count numbers.
/// ArgumentError unless count >= 1 and n >= 1.
CHAINRULE_API Tensor greedy_inducing_points(const CovarianceKernel& kernel, const Tensor& x,
                                            Index count);

}  // namespace chainrule
