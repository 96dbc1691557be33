// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/last_layer_laplace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "design.hpp"
#include "gp_posterior.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

using internal::design_matrix;
using internal::kDesignRows;

constexpr const char* kWho = "LastLayerLaplace";

Model checked(const Model& model, const LastLayerLaplaceOptions& options) {
  internal::expect_positive(kWho, "prior_precision", options.prior_precision);
  const Likelihood& likelihood = model.likelihood();
  if (!std::holds_alternative<Linear>(model.layers().back()) ||
      (!std::holds_alternative<Bernoulli>(likelihood) &&
       !std::holds_alternative<Categorical>(likelihood))) {
    throw ArgumentError(fmt::format(
        "{}: got a model that ends in '{}' with likelihood '{}', expected a Linear layer and "
        "binary or softmax",
        kWho, name_of(model.layers().back()), name_of(likelihood)));
  }
  return model.to(DType::kFloat64);
}

MatrixView<double> block(MatrixView<double> a, Index row, Index column, Index size) {
  return {a.row(row * size) + column * size, size, size, a.ld};
}

// W and b as a matrix [m, outputs].
Tensor last_weights(const Model& model) {
  const std::string name = std::to_string(model.layers().size() - 1);
  const auto& head = std::get<Linear>(model.layers().back());
  Tensor result({internal::design_columns(model), head.out}, DType::kFloat64);
  TensorView top = result.view();
  top.rows = head.in;
  copy_values(model.parameters().view(name + ".weight"), top);
  if (head.bias) {
    const ConstTensorView bias = model.parameters().view(name + ".bias");
    for (Index k = 0; k < head.out; ++k) result.as<double>()(head.in, k) = element(bias, 0, k);
  }
  return result;
}

double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }

double softened(double mean, double variance) {
  return mean / std::sqrt(1 + std::numbers::pi / 8 * variance);
}

// Logits become probabilities; returns the log of that of `label`.
double to_probabilities(std::span<double> z, std::int32_t label) {
  if (z.size() == 1) {
    const double signed_logit = label == 1 ? z[0] : -z[0];
    z[0] = sigmoid_of(z[0]);
    return std::min(signed_logit, 0.0) - std::log1p(std::exp(-std::abs(signed_logit)));
  }
  const double largest = *std::ranges::max_element(z);
  const double at_label = z[static_cast<std::size_t>(label)] - largest;
  double sum = 0;
  for (double& value : z) sum += value = std::exp(value - largest);
  for (double& value : z) value /= sum;
  return at_label - std::log(sum);
}

}  // namespace

struct LastLayerLaplace::State {
  State(Model model_, LastLayerLaplaceSums sums_, const LastLayerLaplaceOptions& options)
      : model(std::move(model_)),
        weights(last_weights(model)),
        alpha(options.prior_precision),
        executor(options.threads),
        sums(std::move(sums_)) {}

  Index classes() const { return weights.columns(); }
  Index columns() const { return weights.rows(); }
  Index size() const { return classes() * columns(); }

  /// L L^T = alpha I + H.
  Tensor factor(double prior_precision, double* log_determinant = nullptr) const {
    Tensor result = sums.information;
    const auto a = result.as<double>();
    for (Index i = 0; i < a.rows; ++i) a(i, i) += prior_precision;
    const CholeskyResult found = cholesky(a, {}, executor);
    if (log_determinant != nullptr) *log_determinant = found.log_determinant;
    return result;
  }

  Tensor covariance(double prior_precision) const {
    const Tensor l = factor(prior_precision);
    Tensor inverse(l.shape(), DType::kFloat64);
    invert_cholesky(l.as<double>(), inverse.as<double>(), executor);
    return inverse;
  }

  void add_information(const Tensor& design, const Tensor& probabilities, const Dataset& data,
                       Index first);
  LogMarginalLikelihood likelihood(double prior_precision, bool with_gradient) const;

  Model model;
  Tensor weights;  ///< [m, classes]
  double alpha;
  Executor executor;
  LastLayerLaplaceSums sums;
};

// Block (k, l) of H gains Phi^T diag(w p_k (delta_kl - p_l)) Phi.
void LastLayerLaplace::State::add_information(const Tensor& design, const Tensor& probabilities,
                                              const Dataset& data, Index first) {
  const auto phi = design.as<double>();
  const auto p = probabilities.as<double>();
  Tensor scaled(design.shape(), DType::kFloat64);
  const auto to = scaled.as<double>();
  for (Index k = 0; k < classes(); ++k) {
    for (Index l = 0; l <= k; ++l) {
      for (Index i = 0; i < phi.rows; ++i) {
        const double w = data.weights.shape().rank() == 0 ? 1 : element(data.weights, first + i, 0);
        const double factor = w * p(i, k) * ((k == l ? 1 : 0) - p(i, l));
        for (Index j = 0; j < phi.columns; ++j) to(i, j) = factor * phi(i, j);
      }
      gemm(1, transpose(phi), MatrixView<const double>(to), 1,
           block(sums.information.as<double>(), k, l, columns()), executor);
    }
  }
}

LogMarginalLikelihood LastLayerLaplace::State::likelihood(double prior_precision,
                                                          bool with_gradient) const {
  LogMarginalLikelihood result{.data_fit = sums.log_likelihood};
  double log_determinant = 0, squares = 0;
  const Tensor l = factor(prior_precision, &log_determinant);
  for (Index i = 0; i < weights.rows(); ++i) {
    for (Index k = 0; k < weights.columns(); ++k) squares += std::pow(element(weights, i, k), 2);
  }
  const auto count = static_cast<double>(size());
  result.complexity =
      0.5 * (count * std::log(prior_precision) - prior_precision * squares - log_determinant);
  result.value = result.data_fit + result.complexity;
  if (!with_gradient) return result;
  Tensor inverse(l.shape(), DType::kFloat64);
  invert_cholesky(l.as<double>(), inverse.as<double>(), executor);
  double trace = 0;
  for (Index i = 0; i < inverse.rows(); ++i) trace += element(inverse, i, i);
  result.gradient = {0.5 * (count - prior_precision * (squares + trace))};
  return result;
}

LastLayerLaplace::LastLayerLaplace(const Model& model, const LastLayerLaplaceOptions& options) {
  state_ = std::make_unique<State>(checked(model, options), LastLayerLaplaceSums{}, options);
  state_->sums.information = Tensor({state_->size(), state_->size()}, DType::kFloat64);
}

LastLayerLaplace::LastLayerLaplace(const Model& model, LastLayerLaplaceSums sums,
                                   const LastLayerLaplaceOptions& options) {
  state_ = std::make_unique<State>(checked(model, options), std::move(sums), options);
  const Shape expected{state_->size(), state_->size()};
  if (state_->sums.information.shape() != expected || state_->sums.rows < 0) {
    throw ShapeError(fmt::format("{}: got an information {} of {} rows, expected {}", kWho,
                                 to_string(state_->sums.information.shape()), state_->sums.rows,
                                 to_string(expected)));
  }
}

LastLayerLaplace::~LastLayerLaplace() = default;
LastLayerLaplace::LastLayerLaplace(LastLayerLaplace&&) noexcept = default;
LastLayerLaplace& LastLayerLaplace::operator=(LastLayerLaplace&&) noexcept = default;

Index LastLayerLaplace::weights() const noexcept { return state_->size(); }
Index LastLayerLaplace::rows() const noexcept { return state_->sums.rows; }
const LastLayerLaplaceSums& LastLayerLaplace::sums() const noexcept { return state_->sums; }
const Model& LastLayerLaplace::model() const noexcept { return state_->model; }
double LastLayerLaplace::prior_precision() const noexcept { return state_->alpha; }

void LastLayerLaplace::set_prior_precision(double prior_precision) {
  internal::expect_positive("set_prior_precision", "prior_precision", prior_precision);
  state_->alpha = prior_precision;
}

void LastLayerLaplace::add(const Dataset& data) {
  State& state = *state_;
  const Dataset ready = state.model.prepare_view(data);
  for (Index first = 0; first < data.rows(); first += kDesignRows) {
    const Index count = std::min(kDesignRows, data.rows() - first);
    const Tensor design = design_matrix(state.model, data.x, first, count);
    Tensor probabilities({count, state.classes()}, DType::kFloat64);
    const auto p = probabilities.as<double>();
    gemm(1, design.as<double>(), state.weights.as<double>(), 0, p, state.executor);
    for (Index i = 0; i < count; ++i) {
      const std::int32_t label = ready.labels[static_cast<std::size_t>(first + i)];
      const double w = ready.weights.shape().rank() == 0 ? 1 : element(ready.weights, first + i, 0);
      const double log_p = to_probabilities({p.row(i), static_cast<std::size_t>(p.columns)}, label);
      if (w != 0) state.sums.log_likelihood += w * log_p;
    }
    state.add_information(design, probabilities, ready, first);
  }
  state.sums.rows += data.rows();
}

Tensor LastLayerLaplace::covariance() const { return state_->covariance(state_->alpha); }

LogMarginalLikelihood LastLayerLaplace::log_marginal_likelihood(bool with_gradient) const {
  return state_->likelihood(state_->alpha, with_gradient);
}

OptimizeResult LastLayerLaplace::optimize(const OptimizeOptions& options) {
  if (rows() == 0) throw ArgumentError("optimize: add() rows first");
  std::vector<double> theta{std::log(state_->alpha)};
  const auto evaluate = [&](std::span<const double> at) {
    return state_->likelihood(std::exp(at[0]), true);
  };
  const OptimizeResult result = internal::maximize(evaluate, theta, options);
  if (std::isfinite(result.log_marginal_likelihood)) set_prior_precision(std::exp(theta[0]));
  return result;
}

LastLayerLaplacePrediction LastLayerLaplace::predict(const Tensor& x) const {
  const State& state = *state_;
  internal::expect_columns("predict", x.columns(), state.model.inputs());
  const Index classes = state.classes(), m = state.columns();
  const Shape shape{x.rows(), classes};
  LastLayerLaplacePrediction result{.probability = Tensor(shape, DType::kFloat64),
                                    .logit_mean = Tensor(shape, DType::kFloat64),
                                    .logit_variance = Tensor(shape, DType::kFloat64)};
  Tensor covariance = state.covariance(state.alpha);
  for (Index first = 0; first < x.rows(); first += kDesignRows) {
    const Index count = std::min(kDesignRows, x.rows() - first);
    const Tensor design = design_matrix(state.model, x, first, count);
    const auto phi = design.as<double>();
    Tensor z({count, classes}, DType::kFloat64), product({count, m}, DType::kFloat64);
    gemm(1, phi, state.weights.as<double>(), 0, z.as<double>(), state.executor);
    // Covariances of the logits z_k and z_l, row by row: [count, classes * classes].
    Tensor logits({count, classes * classes}, DType::kFloat64);
    const auto s = logits.as<double>();
    for (Index k = 0; k < classes; ++k) {
      for (Index l = 0; l <= k; ++l) {
        gemm(1, phi, MatrixView<const double>(block(covariance.as<double>(), k, l, m)), 0,
             product.as<double>(), state.executor);
        for (Index i = 0; i < count; ++i) {
          double sum = 0;
          for (Index j = 0; j < m; ++j) sum += phi(i, j) * product.as<double>()(i, j);
          s(i, k * classes + l) = s(i, l * classes + k) = sum;
        }
      }
    }
    for (Index i = 0; i < count; ++i) {
      const double* const mean = z.as<double>().row(i);
      double* const p = result.probability.as<double>().row(first + i);
      double total = 0;
      for (Index k = 0; k < classes; ++k) {
        result.logit_mean.as<double>()(first + i, k) = mean[k];
        const double variance = std::max(s(i, k * (classes + 1)), 0.0);
        result.logit_variance.as<double>()(first + i, k) = variance;
        if (classes == 1) {
          p[k] = sigmoid_of(softened(mean[k], variance));
          continue;
        }
        double against = 0;
        for (Index l = 0; l < classes; ++l) {
          const double pair =
              s(i, k * (classes + 1)) + s(i, l * (classes + 1)) - 2 * s(i, k * classes + l);
          against += std::exp(softened(mean[l] - mean[k], std::max(pair, 0.0)));
        }
        total += p[k] = 1 / against;
      }
      for (Index k = 0; classes > 1 && k < classes; ++k) p[k] /= total;
    }
  }
  return result;
}

}  // namespace chainrule
