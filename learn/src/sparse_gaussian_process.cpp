// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/sparse_gaussian_process.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "design.hpp"
#include "gp_posterior.hpp"
#include "sparse_posterior.hpp"

namespace chainrule {
namespace {

using internal::InducingFactor;
using internal::kSparsePieceRows;
using internal::rows_copy;
using internal::SparsePosterior;

void expect_noise(double noise) {
  if (noise > 0 && std::isfinite(noise)) return;
  throw ArgumentError(
      fmt::format("SparseGaussianProcess: got noise {}, expected a finite number > 0", noise));
}

void expect_means(const std::vector<double>& means, Index outputs) {
  if (!means.empty() && static_cast<Index>(means.size()) != outputs) {
    throw ArgumentError(fmt::format("SparseGaussianProcess: got {} means, expected {} or none",
                                    means.size(), outputs));
  }
  for (const double mean : means) {
    if (std::isfinite(mean)) continue;
    throw ArgumentError(
        fmt::format("SparseGaussianProcess: got a mean of {}, expected a finite number", mean));
  }
}

}  // namespace

struct SparseGaussianProcess::State {
  State(CovarianceKernel kernel, const Tensor& points, SparseGaussianProcessSums sums,
        const SparseGaussianProcessOptions& options_)
      : options(options_),
        executor(options_.threads),
        inducing(points.to(DType::kFloat64)),
        factor(std::move(kernel), inducing, options.max_jitter, executor),
        totals(std::move(sums)),
        waiting_x({kSparsePieceRows, points.columns()}, DType::kFloat64),
        waiting_y({kSparsePieceRows, totals.products.columns()}, DType::kFloat64) {}

  Index outputs() const { return totals.products.columns(); }
  double mean(Index column) const {
    return options.means.empty() ? 0 : options.means[static_cast<std::size_t>(column)];
  }

  void expect_rows(const char* who, const Tensor& x, const Tensor& y) const {
    if (x.shape().rank() != 2 || y.shape().rank() != 2 || x.rows() != y.rows() ||
        x.columns() != inducing.columns() || y.columns() != outputs()) {
      throw ShapeError(fmt::format("{}: got x {} and y {}, expected [n, {}] and [n, {}]", who,
                                   to_string(x.shape()), to_string(y.shape()), inducing.columns(),
                                   outputs()));
    }
    internal::expect_finite_rows(x, "x");
    internal::expect_finite_rows(y, "y");
  }

  Tensor centered(const Tensor& y) const {
    Tensor copy = rows_copy(y, 0, y.rows());
    const auto to = copy.as<double>();
    for (Index i = 0; i < to.rows; ++i) {
      for (Index j = 0; j < to.columns; ++j) to(i, j) -= mean(j);
    }
    return copy;
  }

  /// Those that wait for their piece to be full included.
  SparseGaussianProcessSums all() const {
    SparseGaussianProcessSums result = totals;
    if (waiting > 0) {
      factor.add(rows_copy(waiting_x, 0, waiting), rows_copy(waiting_y, 0, waiting), result,
                 executor);
    }
    return result;
  }

  /// At other hyperparameters, the noise last.
  LogMarginalLikelihood bound_at(std::span<const double> theta, const Tensor& x,
                                 const Tensor& y) const {
    CovarianceKernel kernel = factor.kernel();
    kernel.set_theta(theta.first(theta.size() - 1));
    const InducingFactor there(std::move(kernel), inducing, options.max_jitter, executor);
    return internal::sparse_likelihood(there, std::exp(theta.back()), x, y, executor);
  }

  SparseGaussianProcessOptions options;
  Executor executor;
  Tensor inducing;
  InducingFactor factor;
  SparseGaussianProcessSums totals;
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
  expect_means(options.means, outputs);
  state_ = std::make_unique<State>(std::move(kernel), inducing,
                                   internal::empty_sums(inducing.rows(), outputs), options);
}

SparseGaussianProcess::SparseGaussianProcess(CovarianceKernel kernel, const Tensor& inducing,
                                             SparseGaussianProcessSums sums,
                                             const SparseGaussianProcessOptions& options)
    : SparseGaussianProcess(std::move(kernel), inducing,
                            sums.products.shape().rank() == 2 ? sums.products.columns() : Index{1},
                            options) {
  const Index m = inducing.rows(), k = outputs();
  const auto fits = [](const Tensor& tensor, const Shape& shape) {
    return tensor.shape() == shape && tensor.dtype() == DType::kFloat64;
  };
  if (!fits(sums.squares, {m, m}) || !fits(sums.products, {m, k}) || sums.rows < 0) {
    throw ShapeError(fmt::format(
        "SparseGaussianProcess: got sums {} and {} of {} rows, expected float64 [{}, {}] and "
        "[{}, {}] of >= 0",
        to_string(sums.squares.shape()), to_string(sums.products.shape()), sums.rows, m, m, m, k));
  }
  state_->totals = std::move(sums);
}

SparseGaussianProcess::~SparseGaussianProcess() = default;
SparseGaussianProcess::SparseGaussianProcess(SparseGaussianProcess&&) noexcept = default;
SparseGaussianProcess& SparseGaussianProcess::operator=(SparseGaussianProcess&&) noexcept = default;

const CovarianceKernel& SparseGaussianProcess::kernel() const noexcept {
  return state_->factor.kernel();
}
const Tensor& SparseGaussianProcess::inducing() const noexcept { return state_->inducing; }
Index SparseGaussianProcess::outputs() const noexcept { return state_->outputs(); }
Index SparseGaussianProcess::rows() const noexcept { return state_->totals.rows + state_->waiting; }
SparseGaussianProcessSums SparseGaussianProcess::sums() const { return state_->all(); }
double SparseGaussianProcess::noise() const noexcept { return state_->options.noise; }
const SparseGaussianProcessOptions& SparseGaussianProcess::options() const noexcept {
  return state_->options;
}

void SparseGaussianProcess::set_noise(double noise) {
  expect_noise(noise);
  state_->options.noise = noise;
}

std::vector<Hyperparameter> SparseGaussianProcess::hyperparameters() const {
  std::vector<Hyperparameter> all = kernel().hyperparameters();
  all.push_back({.name = "noise", .value = noise()});
  return all;
}

void SparseGaussianProcess::add(const Tensor& x, const Tensor& y) {
  State& state = *state_;
  state.expect_rows("add", x, y);
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      state.waiting_x.as<double>()(state.waiting, j) = element(x, i, j);
    }
    for (Index j = 0; j < y.columns(); ++j) {
      state.waiting_y.as<double>()(state.waiting, j) = element(y, i, j) - state.mean(j);
    }
    if (++state.waiting < kSparsePieceRows) continue;
    state.factor.add(state.waiting_x, state.waiting_y, state.totals, state.executor);
    state.waiting = 0;
  }
}

double SparseGaussianProcess::lower_bound() const {
  return SparsePosterior(state_->all(), noise(), state_->executor).bound.value;
}

LogMarginalLikelihood SparseGaussianProcess::lower_bound(const Tensor& x, const Tensor& y) const {
  state_->expect_rows("lower_bound", x, y);
  return internal::sparse_likelihood(state_->factor, noise(), x, state_->centered(y),
                                     state_->executor);
}

OptimizeResult SparseGaussianProcess::optimize(const Tensor& x, const Tensor& y,
                                               const OptimizeOptions& options) {
  state_->expect_rows("optimize", x, y);
  const Tensor centered = state_->centered(y);
  std::vector<double> theta = kernel().theta();
  theta.push_back(std::log(noise()));
  const OptimizeResult result = internal::maximize(
      [&](std::span<const double> at) { return state_->bound_at(at, x, centered); }, theta,
      options);
  CovarianceKernel best = kernel();
  best.set_theta(std::span(theta).first(theta.size() - 1));
  SparseGaussianProcessOptions at_best = state_->options;
  if (theta.back() != std::log(at_best.noise)) at_best.noise = std::exp(theta.back());
  SparseGaussianProcess next(std::move(best), inducing(), outputs(), at_best);
  next.add(x, y);
  *this = std::move(next);
  return result;
}

GaussianProcessPrediction SparseGaussianProcess::predict(const Tensor& x) const {
  const State& state = *state_;
  if (x.shape().rank() != 2 || x.columns() != state.inducing.columns()) {
    throw ShapeError(fmt::format("predict: got x {}, expected [m, {}]", to_string(x.shape()),
                                 state.inducing.columns()));
  }
  const SparsePosterior posterior(state.all(), noise(), state.executor);
  GaussianProcessPrediction result{.mean = Tensor({x.rows(), outputs()}, DType::kFloat64),
                                   .variance = kernel().diagonal(x)};
  double* variance = result.variance.as<double>().data;
  // What the columns of v explain, or fail to.
  const auto add_squares = [&](MatrixView<const double> v, double sign) {
    for (Index i = 0; i < v.rows; ++i) {
      for (Index j = 0; j < v.columns; ++j) variance[j] += sign * v(i, j) * v(i, j);
    }
  };
  for (Index first = 0; first < x.rows(); first += kSparsePieceRows) {
    const Index count = std::min(kSparsePieceRows, x.rows() - first);
    Tensor v = state.factor.project(rows_copy(x, first, count), state.executor);
    const auto view = v.as<double>();
    add_squares(view, -1);
    solve_lower(posterior.factor.as<double>(), view, state.executor);
    add_squares(view, 1);
    const auto mean = result.mean.as<double>();
    const MatrixView<double> part{mean.row(first), count, mean.columns, mean.ld};
    gemm(1, transpose(view), posterior.c.as<double>(), 0, part, state.executor);
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < part.columns; ++j) part(i, j) += state.mean(j);
      variance[i] = std::max(variance[i], 0.0);
    }
    variance += count;
  }
  return result;
}

double SparseGaussianProcess::negative_log_predictive_density(const Tensor& x,
                                                              const Tensor& y) const {
  return chainrule::negative_log_predictive_density(predict(x), noise(), y);
}

}  // namespace chainrule
