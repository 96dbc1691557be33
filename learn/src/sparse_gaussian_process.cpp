// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/sparse_gaussian_process.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "design.hpp"

namespace chainrule {
namespace {

// Rows whose sums are taken at a time; the bits depend on it.
constexpr Index kPieceRows = 1024;

Tensor rows_copy(const Tensor& x, Index first, Index count) {
  Tensor copy({count, x.columns()}, DType::kFloat64);
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < x.columns(); ++j) copy.as<double>()(i, j) = element(x, first + i, j);
  }
  return copy;
}

void expect_noise(double noise) {
  if (noise > 0 && std::isfinite(noise)) return;
  throw ArgumentError(
      fmt::format("SparseGaussianProcess: got noise {}, expected a finite number > 0", noise));
}

}  // namespace

struct SparseGaussianProcess::State {
  // What the rows come to, V = L^-1 K(Z, X).
  struct Totals {
    Totals(Index m, Index outputs)
        : squares({m, m}, DType::kFloat64), products({m, outputs}, DType::kFloat64) {}

    Tensor squares;        ///< V V^T, lower
    Tensor products;       ///< V y
    double targets = 0;    ///< sum of y^2
    double variances = 0;  ///< sum of k(x, x)
    double explained = 0;  ///< trace of V V^T
    Index rows = 0;
  };

  // At one noise variance: B = I + V V^T / noise = M M^T and c = M^-1 V y / noise.
  struct Solved {
    Tensor factor;  ///< M
    Tensor c;
    double log_determinant = 0;
  };

  State(CovarianceKernel kernel_, const Tensor& inducing_, Index outputs,
        const SparseGaussianProcessOptions& options)
      : kernel(std::move(kernel_)),
        inducing(inducing_.to(DType::kFloat64)),
        noise(options.noise),
        executor(options.threads),
        factor({inducing_.rows(), inducing_.rows()}, DType::kFloat64),
        totals(inducing_.rows(), outputs),
        waiting_x({kPieceRows, inducing_.columns()}, DType::kFloat64),
        waiting_y({kPieceRows, outputs}, DType::kFloat64) {
    kernel.lower_gram(inducing, factor.as<double>(), executor);
    cholesky(factor.as<double>(), {.max_jitter = options.max_jitter}, executor);
  }

  void accumulate(const Tensor& x, const Tensor& y, Totals& into) const {
    Tensor v = kernel.gram(inducing, x, executor);
    const auto view = v.as<double>();
    solve_lower(factor.as<double>(), view, executor);
    syrk(1, MatrixView<const double>(view), 1, into.squares.as<double>(), Triangle::kLower,
         executor);
    gemm(1, MatrixView<const double>(view), y.as<double>(), 1, into.products.as<double>(),
         executor);
    const Tensor diagonal = kernel.diagonal(x);
    for (Index i = 0; i < x.rows(); ++i) {
      into.variances += element(diagonal, i, 0);
      for (Index j = 0; j < y.columns(); ++j) into.targets += std::pow(element(y, i, j), 2);
    }
    for (Index i = 0; i < view.rows; ++i) {
      for (Index j = 0; j < view.columns; ++j) into.explained += view(i, j) * view(i, j);
    }
    into.rows += x.rows();
  }

  /// Those that wait for their piece to be full included.
  Totals all() const {
    Totals result = totals;
    if (waiting > 0) {
      accumulate(rows_copy(waiting_x, 0, waiting), rows_copy(waiting_y, 0, waiting), result);
    }
    return result;
  }

  Solved solve(Totals sums) const {
    Solved solved{.factor = std::move(sums.squares), .c = std::move(sums.products)};
    const auto b = solved.factor.as<double>();
    for (Index i = 0; i < b.rows; ++i) {
      for (Index j = 0; j <= i; ++j) b(i, j) /= noise;
      b(i, i) += 1;
    }
    solved.log_determinant = cholesky(b, {}, executor).log_determinant;
    const auto c = solved.c.as<double>();
    for (Index i = 0; i < c.rows; ++i) {
      for (Index j = 0; j < c.columns; ++j) c(i, j) /= noise;
    }
    solve_lower(MatrixView<const double>(b), c, executor);
    return solved;
  }

  CovarianceKernel kernel;
  Tensor inducing;
  double noise;
  Executor executor;
  Tensor factor;  ///< L L^T = K(Z, Z)
  Totals totals;
  Tensor waiting_x;
  Tensor waiting_y;
  Index waiting = 0;
};

SparseGaussianProcess::SparseGaussianProcess(CovarianceKernel kernel, const Tensor& inducing,
                                             Index outputs,
                                             const SparseGaussianProcessOptions& options) {
  expect_noise(options.noise);
  if (inducing.shape().rank() != 2 || inducing.rows() < 1 || outputs < 1) {
    throw ArgumentError(fmt::format(
        "SparseGaussianProcess: got inducing points {} and {} outputs, expected [m, d], m >= 1, "
        "and >= 1",
        to_string(inducing.shape()), outputs));
  }
  state_ = std::make_unique<State>(std::move(kernel), inducing, outputs, options);
}
SparseGaussianProcess::~SparseGaussianProcess() = default;
SparseGaussianProcess::SparseGaussianProcess(SparseGaussianProcess&&) noexcept = default;
SparseGaussianProcess& SparseGaussianProcess::operator=(SparseGaussianProcess&&) noexcept = default;

const CovarianceKernel& SparseGaussianProcess::kernel() const noexcept { return state_->kernel; }
const Tensor& SparseGaussianProcess::inducing() const noexcept { return state_->inducing; }
Index SparseGaussianProcess::rows() const noexcept { return state_->totals.rows + state_->waiting; }
double SparseGaussianProcess::noise() const noexcept { return state_->noise; }

void SparseGaussianProcess::set_noise(double noise) {
  expect_noise(noise);
  state_->noise = noise;
}

void SparseGaussianProcess::add(const Tensor& x, const Tensor& y) {
  State& state = *state_;
  const Index outputs = state.waiting_y.columns();
  if (x.shape().rank() != 2 || y.shape().rank() != 2 || x.rows() != y.rows() ||
      x.columns() != state.inducing.columns() || y.columns() != outputs) {
    throw ShapeError(fmt::format("add: got x {} and y {}, expected [n, {}] and [n, {}]",
                                 to_string(x.shape()), to_string(y.shape()),
                                 state.inducing.columns(), outputs));
  }
  internal::expect_finite_rows(x, "x");
  internal::expect_finite_rows(y, "y");
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      state.waiting_x.as<double>()(state.waiting, j) = element(x, i, j);
    }
    for (Index j = 0; j < outputs; ++j) {
      state.waiting_y.as<double>()(state.waiting, j) = element(y, i, j);
    }
    if (++state.waiting < kPieceRows) continue;
    state.accumulate(state.waiting_x, state.waiting_y, state.totals);
    state.waiting = 0;
  }
}

double SparseGaussianProcess::lower_bound() const {
  const State& state = *state_;
  const State::Totals sums = state.all();
  const State::Solved solved = state.solve(sums);
  const auto n = static_cast<double>(sums.rows), noise = state.noise;
  const auto outputs = static_cast<double>(solved.c.columns());
  double fit = -sums.targets / noise;
  for (Index i = 0; i < solved.c.rows(); ++i) {
    for (Index j = 0; j < solved.c.columns(); ++j) fit += std::pow(element(solved.c, i, j), 2);
  }
  const double a_column = n * std::log(2 * std::numbers::pi * noise) + solved.log_determinant +
                          (sums.variances - sums.explained) / noise;
  return 0.5 * (fit - outputs * a_column);
}

GaussianProcessPrediction SparseGaussianProcess::predict(const Tensor& x) const {
  const State& state = *state_;
  if (x.shape().rank() != 2 || x.columns() != state.inducing.columns()) {
    throw ShapeError(fmt::format("predict: got x {}, expected [m, {}]", to_string(x.shape()),
                                 state.inducing.columns()));
  }
  const State::Solved solved = state.solve(state.all());
  GaussianProcessPrediction result{.mean = Tensor({x.rows(), solved.c.columns()}, DType::kFloat64),
                                   .variance = state.kernel.diagonal(x)};
  double* variance = result.variance.as<double>().data;
  // What the columns of v explain, or fail to.
  const auto add_squares = [&](MatrixView<const double> v, double sign) {
    for (Index i = 0; i < v.rows; ++i) {
      for (Index j = 0; j < v.columns; ++j) variance[j] += sign * v(i, j) * v(i, j);
    }
  };
  for (Index first = 0; first < x.rows(); first += kPieceRows) {
    const Index count = std::min(kPieceRows, x.rows() - first);
    Tensor v = state.kernel.gram(state.inducing, rows_copy(x, first, count), state.executor);
    const auto view = v.as<double>();
    solve_lower(state.factor.as<double>(), view, state.executor);
    add_squares(view, -1);
    solve_lower(solved.factor.as<double>(), view, state.executor);
    add_squares(view, 1);
    const auto mean = result.mean.as<double>();
    gemm(1, transpose(view), solved.c.as<double>(), 0,
         MatrixView<double>{mean.row(first), count, mean.columns, mean.ld}, state.executor);
    for (Index j = 0; j < count; ++j) variance[j] = std::max(variance[j], 0.0);
    variance += count;
  }
  return result;
}

Tensor greedy_inducing_points(const CovarianceKernel& kernel, const Tensor& x, Index count) {
  if (x.shape().rank() != 2 || x.rows() < 1 || count < 1) {
    throw ArgumentError(fmt::format(
        "greedy_inducing_points: got x {} and count {}, expected [n, d], n >= 1, and >= 1",
        to_string(x.shape()), count));
  }
  const Index n = x.rows();
  const Tensor diagonal = kernel.diagonal(x);
  std::vector<double> left(diagonal.as<double>().data, diagonal.as<double>().data + n);
  const double enough = 1e-12 * *std::ranges::max_element(left);
  std::vector<std::vector<double>> columns;  // of the pivoted factor
  std::vector<Index> chosen;
  while (static_cast<Index>(chosen.size()) < std::min(count, n)) {
    const auto pivot = std::ranges::max_element(left);
    if (!(*pivot > enough)) break;
    const auto at = static_cast<std::size_t>(pivot - left.begin());
    const Tensor k = kernel.gram(x, rows_copy(x, static_cast<Index>(at), 1));
    std::vector<double> column(left.size());
    for (std::size_t i = 0; i < column.size(); ++i)
      column[i] = element(k, static_cast<Index>(i), 0);
    for (const auto& other : columns) {
      for (std::size_t i = 0; i < column.size(); ++i) column[i] -= other[at] * other[i];
    }
    const double root = std::sqrt(*pivot);
    for (std::size_t i = 0; i < column.size(); ++i) {
      column[i] /= root;
      left[i] -= column[i] * column[i];
    }
    left[at] = 0;  // and not what rounding left of it
    chosen.push_back(static_cast<Index>(at));
    columns.push_back(std::move(column));
  }
  Tensor points({static_cast<Index>(chosen.size()), x.columns()}, DType::kFloat64);
  for (Index i = 0; i < points.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      points.as<double>()(i, j) = element(x, chosen[static_cast<std::size_t>(i)], j);
    }
  }
  return points;
}

}  // namespace chainrule
