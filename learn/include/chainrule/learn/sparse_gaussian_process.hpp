// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process.hpp"

namespace chainrule {

struct SparseGaussianProcessOptions {
  double noise = 1e-2;  ///< variance of the noise of each target, > 0
  /// Subtracted from the columns of y; predictions get them back. Empty: nothing.
  std::vector<double> means{};
  /// CholeskyOptions::max_jitter for the kernel matrix of the inducing points, which is hardly
  /// positive definite where they are close
  double max_jitter = 1e-6;
  int threads = 0;  ///< 0 means default_threads()
};

/// What the rows x, y of a sparse Gaussian process come to, with V = L^-1 K(Z, x), L L^T = K(Z, Z)
/// of m inducing points Z, and k targets without their means.
struct SparseGaussianProcessSums {
  Tensor squares{};      ///< V V^T [m, m], lower triangle
  Tensor products{};     ///< V y [m, k]
  double targets = 0;    ///< sum of y^2
  double variances = 0;  ///< sum of k(x, x)
  Index rows = 0;
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
  /// As it was when sums() gave `sums`. ShapeError when they do not fit.
  SparseGaussianProcess(CovarianceKernel kernel, const Tensor& inducing,
                        SparseGaussianProcessSums sums,
                        const SparseGaussianProcessOptions& options = {});
  ~SparseGaussianProcess();
  SparseGaussianProcess(SparseGaussianProcess&&) noexcept;
  SparseGaussianProcess& operator=(SparseGaussianProcess&&) noexcept;

  const CovarianceKernel& kernel() const noexcept;
  const Tensor& inducing() const noexcept;
  Index outputs() const noexcept;
  Index rows() const noexcept;  ///< seen so far
  SparseGaussianProcessSums sums() const;
  const SparseGaussianProcessOptions& options() const noexcept;
  double noise() const noexcept;
  /// Needs no data again. ArgumentError unless finite and > 0.
  void set_noise(double noise);
  /// The kernel's hyperparameters, then "noise"; the coordinates of gradients are as in
  /// GaussianProcess::theta().
  std::vector<Hyperparameter> hyperparameters() const;

  /// More rows x [n, d] with targets y [n, outputs]. ShapeError when they do not fit; ArgumentError
  /// for a number that is not finite, and then takes none.
  void add(const Tensor& x, const Tensor& y);

  /// Titsias' lower bound of the log marginal likelihood of all rows seen (eq. 9), summed over the
  /// columns of y.
  double lower_bound() const;
  /// The bound of x [n, d] and y [n, outputs] alone, whatever has been seen, and its gradient by
  /// the hyperparameters, for which x is gone through twice; the inducing points stay, and so does
  /// what jitter they needed. Throws what add() throws.
  LogMarginalLikelihood lower_bound(const Tensor& x, const Tensor& y) const;
  /// Maximizes that bound over the hyperparameters as GaussianProcess::optimize() does, forgets
  /// what was seen and adds x and y. When it throws, all is as before.
  OptimizeResult optimize(const Tensor& x, const Tensor& y, const OptimizeOptions& options = {});

  /// Mean and variance of the latent function at x [m, d]; the prior before any rows.
  GaussianProcessPrediction predict(const Tensor& x) const;
  /// The mean over all of y [m, outputs] of -log N(y; mean, variance + noise). ShapeError when x
  /// and y do not fit.
  double negative_log_predictive_density(const Tensor& x, const Tensor& y) const;

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
