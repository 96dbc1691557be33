// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/glm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/linear_algebra.hpp"
#include "glm_problem.hpp"

namespace chainrule {
namespace {

using internal::GlmProblem;

void check(const Model& model, const Dataset& data, const GlmOptions& options) {
  const Likelihood& likelihood = model.likelihood();
  const bool known = std::holds_alternative<Bernoulli>(likelihood) ||
                     std::holds_alternative<Categorical>(likelihood) ||
                     std::holds_alternative<Gaussian>(likelihood) ||
                     std::holds_alternative<Poisson>(likelihood);
  if (model.layers().size() != 1 || !known) {
    throw ArgumentError(
        fmt::format("fit_glm: got {} layers and likelihood '{}', expected one Linear layer and "
                    "binary, softmax, mse or poisson",
                    model.layers().size(), name_of(likelihood)));
  }
  if (!(options.c > 0) || !std::isfinite(options.c) || !(options.tolerance >= 0) ||
      options.max_iterations < 0 || data.rows() < 1) {
    throw ArgumentError(
        fmt::format("fit_glm: got c {}, tolerance {}, {} iterations and {} rows, expected a finite "
                    "c > 0, >= 0, >= 0 and >= 1",
                    options.c, options.tolerance, options.max_iterations, data.rows()));
  }
}

// What turns the graph's loss, a mean over the columns, into a negative log-likelihood.
double loss_scale(const Model& model) {
  const auto outputs = static_cast<double>(model.outputs());
  if (std::holds_alternative<Gaussian>(model.likelihood())) return outputs / 2;
  if (std::holds_alternative<Poisson>(model.likelihood())) return outputs;
  return 1;
}

Plan compile_problem(const Model& model, Extras extras, const std::vector<Value>& gradients) {
  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.loss = model.network().loss(extras);
  options.gradients = gradients;
  options.outputs = {model.network().prediction(extras.offset)};
  return compile(model.network().graph(), options);
}

Value parameter(const Model& model, std::size_t entry) {
  return {model.network().x().graph(), model.parameters().layout().entries[entry].node};
}

// [x, 1].
Tensor with_ones(const Tensor& x) {
  Tensor result({x.rows(), x.columns() + 1}, DType::kFloat64);
  TensorView left = result.view();
  left.columns = x.columns();
  copy_values(x, left);
  for (Index i = 0; i < x.rows(); ++i) result.as<double>()(i, x.columns()) = 1;
  return result;
}

// Subtracts what a constant added to all biases leaves free.
void center_biases(const GlmProblem& problem, std::vector<double>& theta) {
  const std::size_t first = problem.weight_count();
  double sum = 0;
  for (std::size_t i = first; i < theta.size(); ++i) sum += theta[i];
  const double mean = sum / static_cast<double>(theta.size() - first);
  for (std::size_t i = first; i < theta.size(); ++i) theta[i] -= mean;
}

}  // namespace

namespace internal {

GlmProblem::GlmProblem(Model& model, const Dataset& data, double c)
    : model_(model),
      data_(data),
      c_(c),
      total_weight_(internal::total_weight(data, 0, data.x.rows())),
      loss_scale_(loss_scale(model)),
      has_bias_(std::get<Linear>(model.layers()[0]).bias),
      weight_count_(static_cast<std::size_t>(model.inputs() * model.outputs())),
      weight_(parameter(model, 0)),
      bias_(has_bias_ ? parameter(model, 1) : Value()),
      prediction_(model.network().prediction(extras_of(data).offset)),
      plan_(compile_problem(model, extras_of(data),
                            has_bias_ ? std::vector{weight_, bias_} : std::vector{weight_})),
      workspace_(executor_.make_workspace(plan_, data.x.rows())),
      bindings_(plan_),
      gradient_(weight_count_ + static_cast<std::size_t>(has_bias_ ? model.outputs() : 0)) {
  BatchSource(model.network(), data, extras_of(data), true).bind_all(bindings_);
}

bool GlmProblem::biases_are_free() const noexcept {
  return has_bias_ && std::holds_alternative<Categorical>(model_.likelihood());
}

void GlmProblem::set_parameters(const std::vector<double>& theta) {
  const double* from = theta.data();
  for (Index i = 0; i < model_.parameters().size(); ++i) {
    const auto to = model_.parameters().mutable_view(i).as<double>();
    for (Index j = 0; j < to.rows; ++j, from += to.columns) {
      std::copy_n(from, to.columns, to.row(j));
    }
  }
}

double GlmProblem::evaluate(const std::vector<double>& theta) {
  set_parameters(theta);
  executor_.run(workspace_, bindings_.parameters(std::as_const(model_).parameters()));
  const double scale = c_ * total_weight_ * loss_scale_;
  double penalty = 0;
  for (std::size_t i = 0; i < weight_count_; ++i) penalty += theta[i] * theta[i];

  std::size_t at = 0;
  for (const Value value : {weight_, bias_}) {
    if (!value) continue;
    const auto part = workspace_.gradient(value).as<double>();
    for (Index i = 0; i < part.rows; ++i) {
      for (Index j = 0; j < part.columns; ++j, ++at) {
        gradient_[at] = scale * part(i, j) + (at < weight_count_ ? theta[at] : 0);
      }
    }
  }
  return scale * workspace_.loss() + penalty / 2;
}

double GlmProblem::max_gradient() const noexcept {
  double largest = 0;
  for (const double g : gradient_) {
    if (!(std::abs(g) <= largest)) largest = std::abs(g);  // NaN stays
  }
  return largest;
}

// d^2 l / dz_k dz_l of a row.
double GlmProblem::curvature(Index row, Index k, Index l) const {
  const auto mean = workspace_.output(prediction_).as<double>();
  if (std::holds_alternative<Categorical>(model_.likelihood())) {
    return mean(row, k) * ((k == l ? 1 : 0) - mean(row, l));
  }
  if (k != l) return 0;
  if (std::holds_alternative<Bernoulli>(model_.likelihood())) {
    return mean(row, 0) * (1 - mean(row, 0));
  }
  return std::holds_alternative<Poisson>(model_.likelihood()) ? mean(row, k) : 1;
}

Tensor GlmProblem::hessian() const {
  const Tensor x = has_bias_ ? with_ones(data_.x) : data_.x;
  const Index rows = x.rows();
  const Index width = x.columns();
  Tensor scaled({rows, width}, DType::kFloat64);
  Tensor block({width, width}, DType::kFloat64);
  const auto size = static_cast<Index>(gradient_.size());
  Tensor result({size, size}, DType::kFloat64);
  const auto h = result.as<double>();
  const bool coupled = std::holds_alternative<Categorical>(model_.likelihood());
  for (Index k = 0; k < outputs(); ++k) {
    for (Index l = coupled ? 0 : k; l <= k; ++l) {
      for (Index i = 0; i < rows; ++i) {
        const double weight = data_.weights.shape().rank() == 0 ? 1 : element(data_.weights, i, 0);
        const double factor = c_ * weight * curvature(i, k, l);
        for (Index j = 0; j < width; ++j) {
          scaled.as<double>()(i, j) = factor * x.as<double>()(i, j);
        }
      }
      multiply_transposed(x.as<double>(), scaled.as<double>(), block.as<double>());
      for (Index i = 0; i < width; ++i) {
        for (Index j = 0; j < width; ++j) {
          const double value = block.as<double>()(i, j);
          h(i * outputs() + k, j * outputs() + l) = value;
          h(j * outputs() + l, i * outputs() + k) = value;
        }
      }
    }
  }
  for (Index i = 0; i < static_cast<Index>(weight_count_); ++i) h(i, i) += 1;
  return result;
}

}  // namespace internal

GlmFit fit_glm(Model& model, const Dataset& data, const GlmOptions& options) {
  check(model, data, options);
  Model work = model.to(DType::kFloat64);
  const Dataset ready = work.prepare_view(data);
  GlmProblem problem(work, ready, options.c);
  const double limit = options.tolerance * std::max(1.0, options.c * problem.total_weight());

  std::vector<double> theta(problem.size());
  const auto minimize =
      options.solver == GlmSolver::kNewton ? internal::minimize_newton : internal::minimize_lbfgs;
  GlmFit fit;
  fit.iterations = minimize(problem, theta, limit, options.max_iterations);
  if (problem.biases_are_free()) center_biases(problem, theta);
  fit.objective = problem.evaluate(theta);
  fit.max_gradient = problem.max_gradient();
  fit.converged = std::isfinite(fit.objective) && fit.max_gradient <= limit;
  model.parameters().assign(work.parameters());
  return fit;
}

}  // namespace chainrule
