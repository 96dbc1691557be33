// SPDX-License-Identifier: Apache-2.0
#include "sparse_posterior.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "chainrule/runtime/parallel_linear_algebra.hpp"

namespace chainrule::internal {
namespace {

double sum_of_squares(MatrixView<const double> a) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.columns; ++j) sum += a(i, j) * a(i, j);
  }
  return sum;
}

double trace(MatrixView<const double> a) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) sum += a(i, i);
  return sum;
}

template <class Use>
void for_each_piece(const Tensor& x, const Tensor& y, Use&& use) {
  for (Index first = 0; first < x.rows(); first += kSparsePieceRows) {
    const Index count = std::min(kSparsePieceRows, x.rows() - first);
    use(rows_copy(x, first, count), rows_copy(y, first, count));
  }
}

// With k columns of targets, b = B^-1 V y / noise and H = k (I - B^-1) - b b^T, the bound F has
//   dF/dV = (H V + b y^T) / noise,
// and as it depends on K(Z, Z) through V^T V alone,
//   dF/dK(Z, x) = L^-T dF/dV,    dF/dK(Z, Z) = -1/2 L^-T (dF/dV V^T) L^-1,
// where dF/dV V^T = k (B - 2 I + B^-1) + b b^T.
struct BoundDerivatives {
  BoundDerivatives(const InducingFactor& inducing, const SparseGaussianProcessSums& sums,
                   const SparsePosterior& posterior, double noise, const Executor& executor)
      : of_projection(sums.squares), of_targets(posterior.c), of_prior(sums.squares) {
    const auto columns = static_cast<double>(posterior.c.columns());
    const auto h = of_projection.as<double>(), b = of_targets.as<double>(),
               prior = of_prior.as<double>();
    const MatrixView<const double> m = posterior.factor.as<double>(), l = inducing.factor();
    solve_lower(transpose(m), b, executor);
    invert_cholesky(m, h, executor);
    inverse_trace = trace(h);
    weight_squares = sum_of_squares(b);
    for (Index i = 0; i < h.rows; ++i) {
      for (Index j = 0; j <= i; ++j) {
        prior(i, j) = columns * (prior(i, j) / noise + h(i, j));
        h(i, j) *= -columns / noise;
      }
      prior(i, i) -= columns;  // of B - 2 I, where I is in B
      h(i, i) += columns / noise;
    }
    syrk(1, std::as_const(of_targets).as<double>(), 1, prior, Triangle::kBoth, executor);
    syrk(-1 / noise, std::as_const(of_targets).as<double>(), 1, h, Triangle::kBoth, executor);
    for (Index i = 0; i < b.rows; ++i) {
      for (Index j = 0; j < b.columns; ++j) b(i, j) /= noise;
    }
    solve_lower(transpose(l), h, executor);
    solve_lower(transpose(l), b, executor);
    // Twice from the left, as what is between is symmetric.
    solve_lower(transpose(l), prior, executor);
    for (Index i = 0; i < prior.rows; ++i) {
      for (Index j = 0; j < i; ++j) std::swap(prior(i, j), prior(j, i));
    }
    solve_lower(transpose(l), prior, executor);
    for (Index i = 0; i < prior.rows; ++i) {
      for (Index j = 0; j < prior.columns; ++j) prior(i, j) *= -0.5;
    }
  }

  Tensor of_projection;       ///< L^-T H / noise: dF/dK(Z, x) = of_projection V + of_targets y^T
  Tensor of_targets;          ///< L^-T b / noise
  Tensor of_prior;            ///< dF/dK(Z, Z)
  double inverse_trace = 0;   ///< of B^-1
  double weight_squares = 0;  ///< |b|^2
};

// dF / dlog(noise).
double noise_derivative(const SparseGaussianProcessSums& sums, const SparsePosterior& posterior,
                        const BoundDerivatives& derivatives, double noise) {
  const MatrixView<const double> c = posterior.c.as<double>();
  const auto columns = static_cast<double>(c.columns), rows = static_cast<double>(sums.rows);
  const double unexplained = sums.variances - trace(sums.squares.as<double>());
  return 0.5 * (columns * (static_cast<double>(c.rows) - derivatives.inverse_trace - rows +
                           unexplained / noise) +
                sums.targets / noise - sum_of_squares(c) - derivatives.weight_squares);
}

}  // namespace

Tensor rows_copy(const Tensor& x, Index first, Index count) {
  Tensor copy({count, x.columns()}, DType::kFloat64);
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < x.columns(); ++j) copy.as<double>()(i, j) = element(x, first + i, j);
  }
  return copy;
}

SparseGaussianProcessSums empty_sums(Index inducing, Index outputs) {
  return {.squares = Tensor({inducing, inducing}, DType::kFloat64),
          .products = Tensor({inducing, outputs}, DType::kFloat64)};
}

InducingFactor::InducingFactor(CovarianceKernel kernel, const Tensor& points, double max_jitter,
                               const Executor& executor)
    : kernel_(std::move(kernel)),
      points_(&points),
      factor_({points.rows(), points.rows()}, DType::kFloat64) {
  kernel_.lower_gram(points, factor_.as<double>(), executor);
  cholesky(factor_.as<double>(), {.max_jitter = max_jitter}, executor);
}

Tensor InducingFactor::project(const Tensor& x, const Executor& executor) const {
  Tensor v = kernel_.gram(*points_, x, executor);
  solve_lower(factor(), v.as<double>(), executor);
  return v;
}

void InducingFactor::add(const Tensor& x, const Tensor& y, SparseGaussianProcessSums& sums,
                         const Executor& executor) const {
  const Tensor v = project(x, executor);
  const MatrixView<const double> view = v.as<double>();
  syrk(1, view, 1, sums.squares.as<double>(), Triangle::kLower, executor);
  gemm(1, view, y.as<double>(), 1, sums.products.as<double>(), executor);
  const Tensor diagonal = kernel_.diagonal(x);
  for (Index i = 0; i < x.rows(); ++i) sums.variances += element(diagonal, i, 0);
  sums.targets += sum_of_squares(y.as<double>());
  sums.rows += x.rows();
}

SparsePosterior::SparsePosterior(SparseGaussianProcessSums sums, double noise,
                                 const Executor& executor)
    : factor(std::move(sums.squares)), c(std::move(sums.products)) {
  const auto b = factor.as<double>(), solved = c.as<double>();
  const double unexplained = sums.variances - trace(b);
  for (Index i = 0; i < b.rows; ++i) {
    for (Index j = 0; j <= i; ++j) b(i, j) /= noise;
    b(i, i) += 1;
    for (Index j = 0; j < solved.columns; ++j) solved(i, j) /= noise;
  }
  const double log_determinant = cholesky(b, {}, executor).log_determinant;
  solve_lower(MatrixView<const double>(b), solved, executor);
  const auto columns = static_cast<double>(solved.columns), rows = static_cast<double>(sums.rows);
  bound.data_fit = 0.5 * (sum_of_squares(solved) - sums.targets / noise);
  bound.complexity =
      -0.5 * columns * (log_determinant + rows * std::log(noise) + unexplained / noise);
  bound.constant = -0.5 * columns * rows * std::log(2 * std::numbers::pi);
  bound.value = bound.data_fit + bound.complexity + bound.constant;
}

LogMarginalLikelihood sparse_likelihood(const InducingFactor& inducing, double noise,
                                        const Tensor& x, const Tensor& y,
                                        const Executor& executor) {
  SparseGaussianProcessSums sums = empty_sums(inducing.points().rows(), y.columns());
  for_each_piece(x, y, [&](const Tensor& piece_x, const Tensor& piece_y) {
    inducing.add(piece_x, piece_y, sums, executor);
  });
  const SparsePosterior posterior(sums, noise, executor);
  const BoundDerivatives derivatives(inducing, sums, posterior, noise, executor);
  const CovarianceKernel& kernel = inducing.kernel();
  LogMarginalLikelihood result = posterior.bound;
  result.gradient = kernel.contract(inducing.points(), derivatives.of_prior.as<double>(), executor);
  const auto add = [&](double factor, const std::vector<double>& part) {
    for (std::size_t h = 0; h < part.size(); ++h) result.gradient[h] += factor * part[h];
  };
  const double diagonal_weight = -0.5 * static_cast<double>(y.columns()) / noise;
  for_each_piece(x, y, [&](const Tensor& piece_x, const Tensor& piece_y) {
    const Tensor v = inducing.project(piece_x, executor);
    Tensor weights({v.rows(), v.columns()}, DType::kFloat64);
    const auto w = weights.as<double>();
    gemm(1, derivatives.of_projection.as<double>(), v.as<double>(), 0, w, executor);
    gemm(1, derivatives.of_targets.as<double>(), transpose(piece_y.as<double>()), 1, w, executor);
    add(1, kernel.contract(inducing.points(), piece_x, w, executor));
    add(diagonal_weight, kernel.contract_diagonal(piece_x));
  });
  result.gradient.push_back(noise_derivative(sums, posterior, derivatives, noise));
  return result;
}

}  // namespace chainrule::internal
