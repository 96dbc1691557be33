// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/gaussian_process_classifier.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "chainrule/core/error.hpp"
#include "gp_posterior.hpp"
#include "laplace.hpp"

namespace chainrule {
namespace {

using internal::LaplacePosterior;

// Rows that are predicted at a time.
constexpr Index kClassifiedRows = 2048;

Tensor finite_inputs(const Tensor& x) {
  if (x.shape().rank() != 2) {
    throw ShapeError(fmt::format("fit: got x {}, expected a matrix [n, d]", to_string(x.shape())));
  }
  Tensor copy = x.to(DType::kFloat64);
  for (Index i = 0; i < copy.rows(); ++i) {
    for (Index j = 0; j < copy.columns(); ++j) {
      if (std::isfinite(element(copy, i, j))) continue;
      throw ArgumentError(
          fmt::format("fit: x has {} in row {}, column {}", element(copy, i, j), i, j));
    }
  }
  return copy;
}

// -1 and 1 for each latent function.
std::vector<std::vector<double>> latent_targets(std::span<const std::int32_t> labels,
                                                Index classes) {
  const bool binary = classes == 2;
  std::vector<std::vector<double>> all(static_cast<std::size_t>(binary ? 1 : classes));
  for (std::size_t c = 0; c < all.size(); ++c) {
    for (std::int32_t label : labels) {
      all[c].push_back(label == static_cast<std::int32_t>(binary ? 1 : c) ? 1 : -1);
    }
  }
  return all;
}

}  // namespace

struct GaussianProcessClassifier::State {
  State(CovarianceKernel kernel_, const GaussianProcessClassifierOptions& options_)
      : kernel(std::move(kernel_)), options(options_), executor(options_.threads) {}

  void expect_data(const char* who) const {
    if (!posteriors.empty()) return;
    throw ArgumentError(fmt::format("{}: fit() the Gaussian process classifier first", who));
  }
  std::vector<LaplacePosterior> condition(const CovarianceKernel& with) const {
    const Tensor k = with.gram(x, executor);
    std::vector<LaplacePosterior> result;
    for (const auto& target : targets) {
      result.emplace_back(k.as<double>(), target, options, executor);
    }
    return result;
  }
  LogMarginalLikelihood likelihood(const CovarianceKernel& with,
                                   const std::vector<LaplacePosterior>& given,
                                   bool with_gradient) const {
    LogMarginalLikelihood sum;
    for (const LaplacePosterior& posterior : given) posterior.add_likelihood(sum);
    if (!with_gradient) return sum;
    const Tensor k = with.gram(x, executor);
    Tensor weights({x.rows(), x.rows()}, DType::kFloat64);
    for (const LaplacePosterior& posterior : given) {
      posterior.add_gradient(k.as<double>(), weights.as<double>(), executor);
    }
    sum.gradient = with.contract(x, std::as_const(weights).as<double>(), executor);
    return sum;
  }

  CovarianceKernel kernel;
  GaussianProcessClassifierOptions options;
  Executor executor;
  Tensor x;
  Index classes = 0;
  std::vector<std::vector<double>> targets;
  std::vector<LaplacePosterior> posteriors;
};

GaussianProcessClassifier::GaussianProcessClassifier(
    CovarianceKernel kernel, const GaussianProcessClassifierOptions& options) {
  if (!(options.tolerance > 0) || options.max_iterations < 1) {
    throw ArgumentError(fmt::format(
        "GaussianProcessClassifier: got tolerance {} and {} iterations, expected > 0 and >= 1",
        options.tolerance, options.max_iterations));
  }
  state_ = std::make_unique<State>(std::move(kernel), options);
}
GaussianProcessClassifier::~GaussianProcessClassifier() = default;
GaussianProcessClassifier::GaussianProcessClassifier(GaussianProcessClassifier&&) noexcept =
    default;
GaussianProcessClassifier& GaussianProcessClassifier::operator=(
    GaussianProcessClassifier&&) noexcept = default;

const CovarianceKernel& GaussianProcessClassifier::kernel() const noexcept {
  return state_->kernel;
}
Index GaussianProcessClassifier::classes() const noexcept { return state_->classes; }

void GaussianProcessClassifier::fit(const Tensor& x, std::span<const std::int32_t> labels,
                                    Index classes) {
  Tensor inputs = finite_inputs(x);
  if (x.rows() < 1 || x.rows() != static_cast<Index>(labels.size())) {
    throw ShapeError(fmt::format("fit: got x {} and {} labels, expected as many, and >= 1",
                                 to_string(x.shape()), labels.size()));
  }
  if (classes < 2) throw ArgumentError(fmt::format("fit: got {} classes, expected >= 2", classes));
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] >= 0 && labels[i] < classes) continue;
    throw ArgumentError(
        fmt::format("fit: got label {} in row {} of {} classes", labels[i], i, classes));
  }
  auto next = std::make_unique<State>(state_->kernel, state_->options);
  next->x = std::move(inputs);
  next->classes = classes;
  next->targets = latent_targets(labels, classes);
  next->posteriors = next->condition(next->kernel);
  state_ = std::move(next);
}

LogMarginalLikelihood GaussianProcessClassifier::log_marginal_likelihood(bool with_gradient) const {
  state_->expect_data("log_marginal_likelihood");
  return state_->likelihood(state_->kernel, state_->posteriors, with_gradient);
}

OptimizeResult GaussianProcessClassifier::optimize(const OptimizeOptions& options) {
  State& state = *state_;
  state.expect_data("optimize");
  std::vector<double> theta = state.kernel.theta();
  const auto evaluate = [&](std::span<const double> at) {
    CovarianceKernel kernel = state.kernel;
    kernel.set_theta(at);
    return state.likelihood(kernel, state.condition(kernel), true);
  };
  const OptimizeResult result = internal::maximize(evaluate, theta, options);
  CovarianceKernel kernel = state.kernel;
  kernel.set_theta(theta);
  state.posteriors = state.condition(kernel);
  state.kernel = std::move(kernel);
  return result;
}

LatentPrediction GaussianProcessClassifier::predict_latent(const Tensor& x) const {
  const State& state = *state_;
  state.expect_data("predict");
  if (x.shape().rank() != 2 || x.columns() != state.x.columns()) {
    throw ShapeError(fmt::format("predict: got x {}, expected [m, {}]", to_string(x.shape()),
                                 state.x.columns()));
  }
  const auto functions = static_cast<Index>(state.posteriors.size());
  LatentPrediction result{.mean = Tensor({x.rows(), functions}, DType::kFloat64),
                          .variance = Tensor({x.rows(), functions}, DType::kFloat64)};
  const Tensor diagonal = state.kernel.diagonal(x);
  for (Index first = 0; first < x.rows(); first += kClassifiedRows) {
    const Index count = std::min(kClassifiedRows, x.rows() - first);
    Tensor part({count, x.columns()}, DType::kFloat64);
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < x.columns(); ++j) {
        part.as<double>()(i, j) = element(x, first + i, j);
      }
    }
    const Tensor across = state.kernel.gram(state.x, part, state.executor);
    for (Index c = 0; c < functions; ++c) {
      Tensor work = across;
      std::vector<double> mean(static_cast<std::size_t>(count)), variance;
      for (Index i = 0; i < count; ++i) variance.push_back(element(diagonal, first + i, 0));
      state.posteriors[static_cast<std::size_t>(c)].predict(work.as<double>(), mean.data(),
                                                            variance.data(), state.executor);
      for (Index i = 0; i < count; ++i) {
        result.mean.as<double>()(first + i, c) = mean[static_cast<std::size_t>(i)];
        result.variance.as<double>()(first + i, c) = variance[static_cast<std::size_t>(i)];
      }
    }
  }
  return result;
}

Tensor GaussianProcessClassifier::predict(const Tensor& x) const {
  const LatentPrediction latent = predict_latent(x);
  Tensor probabilities({x.rows(), state_->classes}, DType::kFloat64);
  const auto p = probabilities.as<double>();
  for (Index i = 0; i < p.rows; ++i) {
    if (p.columns == 2) {
      const double mean = element(latent.mean, i, 0), variance = element(latent.variance, i, 0);
      p(i, 0) = expected_logistic(-mean, variance);
      p(i, 1) = expected_logistic(mean, variance);
      continue;
    }
    double sum = 0;
    for (Index c = 0; c < p.columns; ++c) {
      p(i, c) = expected_logistic(element(latent.mean, i, c), element(latent.variance, i, c));
      sum += p(i, c);
    }
    for (Index c = 0; c < p.columns; ++c) p(i, c) /= sum;
  }
  return probabilities;
}

std::vector<std::int32_t> GaussianProcessClassifier::classify(const Tensor& x) const {
  const Tensor probabilities = predict(x);
  const MatrixView<const double> p = probabilities.as<double>();
  std::vector<std::int32_t> labels;
  for (Index i = 0; i < p.rows; ++i) {
    labels.push_back(
        static_cast<std::int32_t>(std::max_element(p.row(i), p.row(i) + p.columns) - p.row(i)));
  }
  return labels;
}

// The trapezoidal rule, whose error falls exponentially: the logistic function's poles are pi /
// deviation away from the real axis.
double expected_logistic(double mean, double variance) noexcept {
  constexpr double kFarthest = 9;  // deviations; what lies beyond is below 1e-18
  const double deviation = std::sqrt(variance);
  const double step = std::min(0.25, 0.5 / std::min(deviation, 1e4));
  double sum = 0, weights = 0;
  for (int i = 0; i * step <= kFarthest; ++i) {
    const double t = i * step, weight = std::exp(-t * t / 2) * (i == 0 ? 0.5 : 1);
    sum += weight * (1 / (1 + std::exp(-(mean + deviation * t))) +
                     1 / (1 + std::exp(-(mean - deviation * t))));
    weights += 2 * weight;
  }
  return sum / weights;
}

}  // namespace chainrule
