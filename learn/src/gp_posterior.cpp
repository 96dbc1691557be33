// SPDX-License-Identifier: Apache-2.0
#include "gp_posterior.hpp"

#include <cmath>
#include <numbers>
#include <utility>

#include "chainrule/runtime/parallel_linear_algebra.hpp"

namespace chainrule::internal {
namespace {

// The lower triangle of 1/2 (sum over columns of alpha alpha^T - k (K + noise I)^-1), which is
// d log p / d K.
Tensor likelihood_weights(const Tensor& factor, const Tensor& alpha, const Executor& executor) {
  Tensor weights({factor.rows(), factor.rows()}, DType::kFloat64);
  invert_cholesky(factor.as<double>(), weights.as<double>(), executor);
  const double columns = static_cast<double>(alpha.columns());
  syrk(0.5, alpha.as<double>(), -0.5 * columns, weights.as<double>(), Triangle::kLower, executor);
  return weights;
}

}  // namespace

GpPosterior::GpPosterior(const CovarianceKernel& kernel, double noise, double max_jitter,
                         const Tensor& x, const Tensor& centered_y, const Executor& executor)
    : factor({x.rows(), x.rows()}, DType::kFloat64), alpha(centered_y) {
  const auto k = factor.as<double>();
  kernel.lower_gram(x, k, executor);
  for (Index i = 0; i < k.rows; ++i) k(i, i) += noise;
  const CholeskyResult result = cholesky(k, {.max_jitter = max_jitter}, executor);
  jitter = result.jitter;
  log_determinant = result.log_determinant;
  solve_cholesky(std::as_const(factor).as<double>(), alpha.as<double>(), executor);
}

LogMarginalLikelihood GpPosterior::likelihood(const CovarianceKernel& kernel, double noise,
                                              const Tensor& x, const Tensor& centered_y,
                                              bool with_gradient, const Executor& executor) const {
  const MatrixView<const double> y = centered_y.as<double>(), a = alpha.as<double>();
  const auto columns = static_cast<double>(y.columns);
  LogMarginalLikelihood result;
  for (Index i = 0; i < y.rows; ++i) {
    for (Index j = 0; j < y.columns; ++j) result.data_fit -= 0.5 * y(i, j) * a(i, j);
  }
  result.complexity = -0.5 * columns * log_determinant;
  result.constant = -0.5 * columns * static_cast<double>(y.rows) * std::log(2 * std::numbers::pi);
  result.value = result.data_fit + result.complexity + result.constant;
  if (with_gradient) {
    const Tensor weights = likelihood_weights(factor, alpha, executor);
    const MatrixView<const double> w = weights.as<double>();
    result.gradient = kernel.contract(x, w, executor);
    double trace = 0;
    for (Index i = 0; i < w.rows; ++i) trace += w(i, i);
    result.gradient.push_back(noise * trace);
  }
  return result;
}

}  // namespace chainrule::internal
