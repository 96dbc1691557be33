// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/gaussian_process.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "gp_posterior.hpp"

namespace chainrule {
namespace {

using internal::GpPosterior;

// Rows that are predicted at a time: K(x, x*) of all of them need not fit into memory.
constexpr Index kPredictedRows = 2048;

Tensor finite_matrix(const Tensor& tensor, const char* what) {
  if (tensor.shape().rank() != 2) {
    throw ShapeError(fmt::format("gaussian process: got {} {}, expected a matrix", what,
                                 to_string(tensor.shape())));
  }
  Tensor copy = tensor.to(DType::kFloat64);
  for (Index i = 0; i < copy.rows(); ++i) {
    for (Index j = 0; j < copy.columns(); ++j) {
      if (std::isfinite(element(copy, i, j))) continue;
      throw ArgumentError(fmt::format("gaussian process: {} has {} in row {}, column {}", what,
                                      element(copy, i, j), i, j));
    }
  }
  return copy;
}

std::vector<double> column_means(const Tensor& y) {
  std::vector<double> means(static_cast<std::size_t>(y.columns()));
  for (Index i = 0; i < y.rows(); ++i) {
    for (std::size_t j = 0; j < means.size(); ++j) means[j] += element(y, i, static_cast<Index>(j));
  }
  for (double& mean : means) mean /= static_cast<double>(y.rows());
  return means;
}

Tensor row_window(const Tensor& x, Index first, Index count) {
  auto* const data = static_cast<std::byte*>(const_cast<void*>(x.data()));
  return Tensor::view(data + first * x.ld() * size_of(x.dtype()), {count, x.columns()}, x.dtype(),
                      x.ld());
}

// k(x, x) minus the squares of L^-1 k(X, x), a column each, which `across` [n, m] becomes.
void subtract_explained(MatrixView<const double> factor, MatrixView<double> across,
                        double* variance, const Executor& executor) {
  solve_lower(factor, across, executor);
  for (Index i = 0; i < across.rows; ++i) {
    for (Index j = 0; j < across.columns; ++j) variance[j] -= across(i, j) * across(i, j);
  }
  for (Index j = 0; j < across.columns; ++j) variance[j] = std::max(variance[j], 0.0);
}

}  // namespace

struct GaussianProcess::State {
  State(CovarianceKernel kernel_, const GaussianProcessOptions& options_)
      : kernel(std::move(kernel_)),
        options(options_),
        noise(options_.noise),
        executor(options_.threads) {}

  void expect_data(const char* who) const {
    if (posterior) return;
    throw ArgumentError(fmt::format("{}: fit() the Gaussian process first", who));
  }
  GpPosterior condition(const CovarianceKernel& with, double variance) const {
    return GpPosterior(with, variance, options.max_jitter, x, centered, executor);
  }
  // predict() and predict_mean().
  GaussianProcessPrediction predict(const char* who, const Tensor& at, bool with_variance) const;

  CovarianceKernel kernel;
  GaussianProcessOptions options;
  double noise;
  Executor executor;
  Tensor x;
  Tensor y;
  Tensor centered;  ///< y minus the means
  std::vector<double> means;
  std::optional<GpPosterior> posterior;
};

GaussianProcess::GaussianProcess(CovarianceKernel kernel, const GaussianProcessOptions& options) {
  if (!(options.noise > 0) || !std::isfinite(options.noise) || !(options.max_jitter >= 0) ||
      !std::isfinite(options.max_jitter)) {
    throw ArgumentError(fmt::format(
        "GaussianProcess: got noise {} and max_jitter {}, expected finite numbers > 0 and >= 0",
        options.noise, options.max_jitter));
  }
  state_ = std::make_unique<State>(std::move(kernel), options);
}
GaussianProcess::~GaussianProcess() = default;
GaussianProcess::GaussianProcess(GaussianProcess&&) noexcept = default;
GaussianProcess& GaussianProcess::operator=(GaussianProcess&&) noexcept = default;

const CovarianceKernel& GaussianProcess::kernel() const noexcept { return state_->kernel; }
double GaussianProcess::noise() const noexcept { return state_->noise; }
const GaussianProcessOptions& GaussianProcess::options() const noexcept { return state_->options; }
const Tensor& GaussianProcess::x() const noexcept { return state_->x; }
const Tensor& GaussianProcess::y() const noexcept { return state_->y; }

const Tensor& GaussianProcess::alpha() const noexcept {
  static const Tensor none;
  return state_->posterior ? state_->posterior->alpha : none;
}

double GaussianProcess::jitter() const noexcept {
  return state_->posterior ? state_->posterior->jitter : 0;
}

std::vector<Hyperparameter> GaussianProcess::hyperparameters() const {
  std::vector<Hyperparameter> all = state_->kernel.hyperparameters();
  all.push_back({.name = "noise", .value = state_->noise});
  return all;
}

std::vector<double> GaussianProcess::theta() const {
  std::vector<double> theta = state_->kernel.theta();
  theta.push_back(std::log(state_->noise));
  return theta;
}

void GaussianProcess::set_theta(std::span<const double> theta) {
  State& state = *state_;
  const std::size_t expected = state.kernel.theta().size() + 1;
  if (theta.size() != expected) {
    throw ArgumentError(fmt::format("set_theta: got {} coordinates for {} hyperparameters",
                                    theta.size(), expected));
  }
  CovarianceKernel kernel = state.kernel;
  kernel.set_theta(theta.first(expected - 1));
  const bool same = theta.back() == std::log(state.noise);
  const double noise = same ? state.noise : std::exp(theta.back());
  if (!(noise > 0) || !std::isfinite(noise)) {
    throw ArgumentError(
        fmt::format("set_theta: got noise {}, expected a finite number > 0", noise));
  }
  if (state.posterior) state.posterior = state.condition(kernel, noise);
  state.kernel = std::move(kernel);
  state.noise = noise;
}

void GaussianProcess::fit(const Tensor& x, const Tensor& y) {
  State next(state_->kernel, state_->options);
  next.noise = state_->noise;
  next.executor = std::move(state_->executor);
  try {
    next.x = finite_matrix(x, "x");
    next.y = finite_matrix(y, "y");
    if (x.rows() < 1 || x.rows() != y.rows() || y.columns() < 1) {
      throw ShapeError(fmt::format("fit: got x {} and y {}, expected [n, d] and [n, k], n >= 1",
                                   to_string(x.shape()), to_string(y.shape())));
    }
    next.means = next.options.center_targets
                     ? column_means(next.y)
                     : std::vector<double>(static_cast<std::size_t>(y.columns()));
    next.centered = next.y;
    const auto centered = next.centered.as<double>();
    for (Index i = 0; i < centered.rows; ++i) {
      for (Index j = 0; j < centered.columns; ++j) {
        centered(i, j) -= next.means[static_cast<std::size_t>(j)];
      }
    }
    next.posterior = next.condition(next.kernel, next.noise);
  } catch (...) {
    state_->executor = std::move(next.executor);
    throw;
  }
  *state_ = std::move(next);
}

LogMarginalLikelihood GaussianProcess::log_marginal_likelihood(bool with_gradient) const {
  const State& state = *state_;
  state.expect_data("log_marginal_likelihood");
  return state.posterior->likelihood(state.kernel, state.noise, state.x, state.centered,
                                     with_gradient, state.executor);
}

OptimizeResult GaussianProcess::optimize(const OptimizeOptions& options) {
  State& state = *state_;
  state.expect_data("optimize");
  std::vector<double> theta = this->theta();
  const auto evaluate = [&](std::span<const double> at) {
    CovarianceKernel kernel = state.kernel;
    kernel.set_theta(at.first(at.size() - 1));
    const double noise = std::exp(at.back());
    return state.condition(kernel, noise)
        .likelihood(kernel, noise, state.x, state.centered, true, state.executor);
  };
  state.posterior.reset();  // room for those of other hyperparameters
  OptimizeResult result;
  try {
    result = internal::maximize(evaluate, theta, options);
  } catch (...) {
    state.posterior = state.condition(state.kernel, state.noise);
    throw;
  }
  state.kernel.set_theta(std::span(theta).first(theta.size() - 1));
  if (theta.back() != std::log(state.noise)) state.noise = std::exp(theta.back());
  state.posterior = state.condition(state.kernel, state.noise);
  return result;
}

GaussianProcessPrediction GaussianProcess::State::predict(const char* who, const Tensor& at,
                                                          bool with_variance) const {
  expect_data(who);
  if (at.shape().rank() != 2 || at.columns() != x.columns()) {
    throw ShapeError(
        fmt::format("{}: got x {}, expected [m, {}]", who, to_string(at.shape()), x.columns()));
  }
  GaussianProcessPrediction result{.mean = Tensor({at.rows(), y.columns()}, DType::kFloat64)};
  if (with_variance) result.variance = kernel.diagonal(at);
  const MatrixView<const double> alpha = posterior->alpha.as<double>();
  for (Index first = 0; first < at.rows(); first += kPredictedRows) {
    const Index count = std::min(kPredictedRows, at.rows() - first);
    Tensor across = kernel.gram(x, row_window(at, first, count), executor);
    const auto k = across.as<double>();
    const auto mean = result.mean.as<double>();
    const MatrixView<double> part{mean.row(first), count, mean.columns, mean.ld};
    gemm(1, transpose(k), alpha, 0, part, executor);
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < part.columns; ++j) part(i, j) += means[static_cast<std::size_t>(j)];
    }
    if (with_variance) {
      subtract_explained(posterior->factor.as<double>(), k,
                         result.variance.as<double>().data + first, executor);
    }
  }
  return result;
}

GaussianProcessPrediction GaussianProcess::predict(const Tensor& x) const {
  return state_->predict("predict", x, true);
}

Tensor GaussianProcess::predict_mean(const Tensor& x) const {
  return state_->predict("predict_mean", x, false).mean;
}

std::vector<std::int32_t> GaussianProcess::classify(const Tensor& x) const {
  const Tensor mean = state_->predict("classify", x, false).mean;
  const MatrixView<const double> m = mean.as<double>();
  std::vector<std::int32_t> labels;
  for (Index i = 0; i < m.rows; ++i) {
    const double* const largest = std::max_element(m.row(i), m.row(i) + m.columns);
    labels.push_back(static_cast<std::int32_t>(largest - m.row(i)));
  }
  return labels;
}

double GaussianProcess::negative_log_predictive_density(const Tensor& x, const Tensor& y) const {
  return chainrule::negative_log_predictive_density(
      state_->predict("negative_log_predictive_density", x, true), state_->noise, y);
}

double negative_log_predictive_density(const GaussianProcessPrediction& at, double noise,
                                       const Tensor& y) {
  if (y.shape() != at.mean.shape()) {
    throw ShapeError(fmt::format("negative_log_predictive_density: got y {}, expected {}",
                                 to_string(y.shape()), to_string(at.mean.shape())));
  }
  double sum = 0;
  for (Index i = 0; i < y.rows(); ++i) {
    const double variance = element(at.variance, i, 0) + noise;
    for (Index j = 0; j < y.columns(); ++j) {
      const double error = element(y, i, j) - element(at.mean, i, j);
      sum += 0.5 * (std::log(2 * std::numbers::pi * variance) + error * error / variance);
    }
  }
  return sum / static_cast<double>(y.rows() * y.columns());
}

Tensor one_hot_targets(std::span<const std::int32_t> labels, Index classes, double on, double off) {
  Tensor y({static_cast<Index>(labels.size()), classes}, DType::kFloat64);
  const auto view = y.as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    const std::int32_t label = labels[static_cast<std::size_t>(i)];
    if (label < 0 || label >= classes) {
      throw ArgumentError(
          fmt::format("one_hot_targets: got label {} in row {} of {} classes", label, i, classes));
    }
    std::fill_n(view.row(i), classes, off);
    view(i, label) = on;
  }
  return y;
}

}  // namespace chainrule
