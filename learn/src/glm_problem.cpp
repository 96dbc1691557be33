// SPDX-License-Identifier: Apache-2.0
#include "glm_problem.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/linear_algebra.hpp"
#include "overloaded.hpp"

namespace chainrule::internal {
namespace {

// What turns the graph's loss, a mean over the columns, into a negative log-likelihood.
double loss_scale(const Model& model) {
  const auto outputs = static_cast<double>(model.outputs());
  if (std::holds_alternative<Gaussian>(model.likelihood())) return outputs / 2;
  return has_log_link(model.likelihood()) ? outputs : 1;
}

Plan compile_problem(const Model& model, Extras extras, const std::vector<Value>& gradients) {
  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.loss = model.network().loss(extras);
  options.gradients = gradients;
  options.outputs = {model.network().prediction(extras.offset), model.network().logits()};
  return compile(model.network().graph(), options);
}

Value parameter(const Model& model, std::size_t entry) {
  return {model.network().x().graph(), model.parameters().layout().entries[entry].node};
}

Tensor with_ones(const Tensor& x) {
  Tensor result({x.rows(), x.columns() + 1}, DType::kFloat64);
  TensorView left = result.view();
  left.columns = x.columns();
  copy_values(x, left);
  for (Index i = 0; i < x.rows(); ++i) result.as<double>()(i, x.columns()) = 1;
  return result;
}

// Second derivative by the linear predictor of a likelihood whose outputs do not mix, at mean mu
// and target t.
double curvature_at(const Likelihood& likelihood, double mu, double t, Information information) {
  if (information == Information::kExpected) t = mu;
  return std::visit(Overloaded{[&](const Bernoulli&) { return mu * (1 - mu); },
                               [&](const Poisson&) { return mu; },
                               [&](const Gamma& l) { return l.shape * (t / mu); },
                               [&](const NegativeBinomial& l) {
                                 const double a = l.dispersion;
                                 return mu / (1 + a * mu) * ((1 + a * t) / (1 + a * mu));
                               },
                               [&](const auto&) { return 1.0; }},
                    likelihood);
}

}  // namespace

GlmProblem::GlmProblem(Model& model, const Dataset& data, std::vector<double> penalty)
    : model_(model),
      data_(data),
      penalty_(std::move(penalty)),
      total_weight_(internal::total_weight(data, 0, data.x.rows())),
      loss_scale_(loss_scale(model)),
      has_bias_(std::get<Linear>(model.layers()[0]).bias),
      weight_(parameter(model, 0)),
      bias_(has_bias_ ? parameter(model, 1) : Value()),
      prediction_(model.network().prediction(extras_of(data).offset)),
      plan_(compile_problem(model, extras_of(data),
                            has_bias_ ? std::vector{weight_, bias_} : std::vector{weight_})),
      workspace_(executor_.make_workspace(plan_, data.x.rows())),
      bindings_(plan_),
      design_(has_bias_ ? with_ones(data.x) : data.x),
      gradient_(static_cast<std::size_t>(design_.columns() * model.outputs())) {
  BatchSource(model.network(), data, extras_of(data), true).bind_all(bindings_);
}

bool GlmProblem::is_free(Index row) const noexcept {
  return std::holds_alternative<Categorical>(model_.likelihood()) &&
         penalty_[static_cast<std::size_t>(row)] == 0;
}

void GlmProblem::center_free_rows(MatrixView<double> coefficients) const {
  for (Index j = 0; j < coefficients.rows; ++j) {
    if (!is_free(j)) continue;
    double* const row = coefficients.row(j);
    double sum = 0;
    for (Index k = 0; k < outputs(); ++k) sum += row[k];
    for (Index k = 0; k < outputs(); ++k) row[k] -= sum / static_cast<double>(outputs());
  }
}

double GlmProblem::weight(Index row) const {
  return data_.weights.shape().rank() == 0 ? 1 : element(data_.weights, row, 0);
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
  const double scale = total_weight_ * loss_scale_;
  double penalty = 0;
  std::size_t at = 0;
  for (const Value value : {weight_, bias_}) {
    if (!value) continue;
    const auto part = workspace_.gradient(value).as<double>();
    for (Index i = 0; i < part.rows; ++i) {
      const double strength = penalty_[at / static_cast<std::size_t>(outputs())];
      for (Index j = 0; j < part.columns; ++j, ++at) {
        gradient_[at] = scale * part(i, j) + strength * theta[at];
        penalty += strength * theta[at] * theta[at];
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
double GlmProblem::curvature(Index row, Index k, Index l, Information information) const {
  const auto mean = workspace_.output(prediction_).as<double>();
  if (std::holds_alternative<Categorical>(model_.likelihood())) {
    return mean(row, k) * ((k == l ? 1 : 0) - mean(row, l));
  }
  const double target = data_.y.shape().rank() == 0 ? 0 : element(data_.y, row, k);
  return curvature_at(model_.likelihood(), mean(row, k), target, information);
}

Tensor GlmProblem::hessian(Information information) const {
  const auto x = design_.as<double>();
  const Index width = x.columns;
  Tensor scaled({x.rows, width}, DType::kFloat64);
  Tensor block({width, width}, DType::kFloat64);
  const auto size = static_cast<Index>(gradient_.size());
  Tensor result({size, size}, DType::kFloat64);
  const auto h = result.as<double>();
  const bool coupled = std::holds_alternative<Categorical>(model_.likelihood());
  for (Index k = 0; k < outputs(); ++k) {
    for (Index l = coupled ? 0 : k; l <= k; ++l) {
      for (Index i = 0; i < x.rows; ++i) {
        const double w = weight(i);
        const double factor = w == 0 ? 0 : w * curvature(i, k, l, information);
        for (Index j = 0; j < width; ++j) scaled.as<double>()(i, j) = factor * x(i, j);
      }
      multiply_transposed(x, scaled.as<double>(), block.as<double>());
      for (Index i = 0; i < width; ++i) {
        for (Index j = 0; j < width; ++j) {
          const double value = block.as<double>()(i, j);
          h(i * outputs() + k, j * outputs() + l) = value;
          h(j * outputs() + l, i * outputs() + k) = value;
        }
      }
    }
  }
  for (Index i = 0; i < size; ++i) h(i, i) += penalty_[static_cast<std::size_t>(i / outputs())];
  for (Index row = 0; row < width; ++row) {
    if (!is_free(row)) continue;
    // The gradient has no part in equal numbers, so a Newton step stays the one of least norm.
    const Index first = row * outputs();
    double largest = 0;
    for (Index i = first; i < first + outputs(); ++i) largest = std::max(largest, h(i, i));
    for (Index i = first; i < first + outputs(); ++i) {
      for (Index j = first; j < first + outputs(); ++j) h(i, j) += largest;
    }
  }
  return result;
}

std::optional<std::vector<double>> GlmProblem::newton_step() const {
  Tensor h = hessian(Information::kExact);
  std::vector<double> step(size());
  std::ranges::transform(gradient_, step.begin(), [](double g) { return -g; });
  try {
    solve_positive_definite(h.as<double>(), {step.data(), static_cast<Index>(step.size()), 1, 1});
  } catch (const Error&) {
    return std::nullopt;
  }
  const bool finite = std::ranges::all_of(step, [](double s) { return std::isfinite(s); });
  return finite ? std::optional(std::move(step)) : std::nullopt;
}

Tensor GlmProblem::linear_predictor() const {
  Tensor eta({data_.x.rows(), outputs()}, DType::kFloat64);
  copy_values(workspace_.output(model_.network().logits()), eta.view());
  if (data_.offset.shape().rank() == 0) return eta;
  for (Index i = 0; i < eta.rows(); ++i) eta.as<double>()(i, 0) += element(data_.offset, i, 0);
  return eta;
}

double GlmProblem::largest_change(const std::vector<double>& step) const {
  const auto x = design_.as<double>();
  double largest = 0;
  for (Index i = 0; i < x.rows; ++i) {
    if (weight(i) == 0) continue;
    for (Index k = 0; k < outputs(); ++k) {
      double change = 0;
      for (Index j = 0; j < x.columns; ++j) {
        change += x(i, j) * step[static_cast<std::size_t>(j * outputs() + k)];
      }
      largest = std::max(largest, std::abs(change));
    }
  }
  return largest;
}

}  // namespace chainrule::internal
