// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_function.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {

/// A covariance kernel k(x, z) with its hyperparameters: a value that adds, multiplies and scales.
///
///     CovarianceKernel kernel = scaled(rbf_kernel(3), 1) + linear_kernel();
///
/// Inputs are matrices [n, d] of float64 or float32, one point a row; all is computed in float64.
/// ShapeError when the columns do not fit together or to the kernel. Results have the same bits for
/// any executor.
class CHAINRULE_API CovarianceKernel {
 public:
  explicit CovarianceKernel(std::unique_ptr<CovarianceFunction> function);
  ~CovarianceKernel();
  CovarianceKernel(const CovarianceKernel& other);
  CovarianceKernel& operator=(const CovarianceKernel& other);
  CovarianceKernel(CovarianceKernel&&) noexcept;
  CovarianceKernel& operator=(CovarianceKernel&&) noexcept;

  /// A formula, as "variance * rbf + linear".
  std::string name() const;
  const CovarianceFunction& function() const noexcept { return *function_; }

  /// Of the parts, in their order; where a name comes again it gets a number: "length_scale",
  /// "length_scale#2".
  std::vector<Hyperparameter> hyperparameters() const;
  /// ArgumentError for an unknown name (it lists the known), a value that is not finite, or not
  /// > 0 where it has to be.
  double hyperparameter(std::string_view name) const;
  void set_hyperparameter(std::string_view name, double value);
  /// The coordinates that gradients are taken in: logarithms of what is positive. ArgumentError
  /// when `theta` has another length or gives a value that is 0 or not finite.
  std::vector<double> theta() const;
  void set_theta(std::span<const double> theta);

  /// K(i, j) = k(x_i, z_j), [x.rows, z.rows].
  Tensor gram(const Tensor& x, const Tensor& z, const Executor& executor = Executor()) const;
  /// K(i, j) = k(x_i, x_j), symmetric.
  Tensor gram(const Tensor& x, const Executor& executor = Executor()) const;
  /// The lower triangle of gram(x) into k [n, n]; the rest keeps its values.
  void lower_gram(const Tensor& x, MatrixView<double> k, const Executor& executor) const;
  /// k(x_i, x_i), [n, 1].
  Tensor diagonal(const Tensor& x) const;
  /// sum_ij weights(i, j) dK(i, j) / dtheta_h for each h and symmetric weights [n, n], of which
  /// only the lower triangle is read; K = gram(x). Needs memory for some rows of K, not for all.
  std::vector<double> contract(const Tensor& x, MatrixView<const double> weights,
                               const Executor& executor = Executor()) const;
  /// The same for K = gram(x, z) and weights [x.rows, z.rows].
  std::vector<double> contract(const Tensor& x, const Tensor& z, MatrixView<const double> weights,
                               const Executor& executor = Executor()) const;
  /// sum_i dk(x_i, x_i) / dtheta_h for each h.
  std::vector<double> contract_diagonal(const Tensor& x) const;

 private:
  std::unique_ptr<CovarianceFunction> function_;
};

// Stationary kernels of r = |x - z| / length_scale (Rasmussen & Williams, Gaussian Processes for
// Machine Learning, 2006, 4.2.1). Length scales > 0; those that take several want as many as the
// inputs have columns, r^2 = sum_k (x_k - z_k)^2 / length_scale_k^2. Hyperparameters:
// length_scale, or length_scale_0, length_scale_1, ... Distances are sums of differences, or for
// many columns products that are computed again from differences where digits were lost.

/// exp(-r^2 / 2).
CHAINRULE_API CovarianceKernel rbf_kernel(double length_scale = 1);
CHAINRULE_API CovarianceKernel ard_rbf_kernel(std::vector<double> length_scales);
/// (1 + sqrt(3) r) exp(-sqrt(3) r).
CHAINRULE_API CovarianceKernel matern32_kernel(double length_scale = 1);
CHAINRULE_API CovarianceKernel ard_matern32_kernel(std::vector<double> length_scales);
/// (1 + sqrt(5) r + 5/3 r^2) exp(-sqrt(5) r).
CHAINRULE_API CovarianceKernel matern52_kernel(double length_scale = 1);
CHAINRULE_API CovarianceKernel ard_matern52_kernel(std::vector<double> length_scales);

// Kernels of dot products.

/// `value` > 0 everywhere: a bias of unknown size. Hyperparameter: constant.
CHAINRULE_API CovarianceKernel constant_kernel(double value = 1);
/// x . z.
CHAINRULE_API CovarianceKernel linear_kernel();
/// (x . z + offset)^degree, degree >= 1, offset >= 0. Hyperparameter: offset, unless it is 0.
CHAINRULE_API CovarianceKernel polynomial_kernel(int degree, double offset = 1);
/// The arc-cosine kernel of order 0 or 1 (Cho & Saul, Kernel Methods for Deep Learning, 2009, eq. 3
/// to 6) of s(x, z) = bias_variance + weight_variance x . z, angle t = arccos(s(x, z) / sqrt(s(x,
/// x) s(z, z))): 1 - t / pi, or sqrt(s(x, x) s(z, z)) (sin t + (pi - t) cos t) / pi. It is the
/// covariance of 2 step(w . x + b) step(w . z + b), or of 2 relu relu, for normal w and b of these
/// variances. Nearly parallel points keep their digits. Where s(x, x) = 0 the angle is pi / 2.
/// weight_variance > 0, bias_variance >= 0. Hyperparameters: weight_variance, and bias_variance
/// unless it is 0.
CHAINRULE_API CovarianceKernel arc_cosine_kernel(int order, double weight_variance = 1,
                                                 double bias_variance = 0);

/// phi(x) . phi(z), phi what the model's last Linear layer reads, or the output of layer `layer`
/// (from 0). No hyperparameters of its own. It shares the model's parameters: train the model and
/// the kernel changes; pass model.clone() if it shall not. Takes raw inputs, as Model::features()
/// does. ArgumentError for a layer that is not there.
CHAINRULE_API CovarianceKernel learned_kernel(const Model& model,
                                              std::optional<std::size_t> layer = std::nullopt);

/// variance k(x, z), variance > 0. Hyperparameter: variance, before those of k.
CHAINRULE_API CovarianceKernel scaled(const CovarianceKernel& kernel, double variance);
CHAINRULE_API CovarianceKernel operator+(const CovarianceKernel& a, const CovarianceKernel& b);
CHAINRULE_API CovarianceKernel operator*(const CovarianceKernel& a, const CovarianceKernel& b);

/// A kernel without hyperparameters, given as functions of matrices x [n, d] and z [m, d]; where x
/// is compared with itself, z's rows are x's own or begin where they begin. They are called for
/// some rows of x at a time, by several threads at once.
struct KernelFunctions {
  std::string name;
  /// k(i, j) = k(x_i, z_j) for all of k [n, m]
  std::function<void(MatrixView<const double> x, MatrixView<const double> z, MatrixView<double> k)>
      gram{};
  /// k(x_i, x_i) of all rows
  std::function<void(MatrixView<const double> x, std::span<double> k)> diagonal{};
  /// `gram` wants all rows at once, on the calling thread: it has threads of its own
  bool whole_matrices = false;
  /// what parse_kernel() makes the same kernel of, if it can
  std::string formula{};
};

/// ArgumentError when one of the functions is missing.
CHAINRULE_API CovarianceKernel function_kernel(KernelFunctions functions);

}  // namespace chainrule
