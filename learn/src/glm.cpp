// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/glm.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/linear_algebra.hpp"
#include "glm_columns.hpp"
#include "glm_problem.hpp"
#include "glm_statistics.hpp"

namespace chainrule {
namespace {

using internal::GlmColumns;
using internal::GlmProblem;
using internal::Information;

constexpr double kLargestStart = 30;  // of |bias|, where the best one may be infinite
constexpr double kVanishing = 1e-6;   // of what the objective can still fall by, and ...
constexpr double kStillMoving = 0.1;  // ... of how far that moves a linear predictor

const Linear& check(const Model& model, const Dataset& data, const GlmOptions& options) {
  const Likelihood& likelihood = model.likelihood();
  const auto* head = std::get_if<Linear>(&model.layers().back());
  const bool known = !std::holds_alternative<Laplace>(likelihood) &&
                     !std::holds_alternative<HuberLoss>(likelihood) &&
                     !std::holds_alternative<HingeLoss>(likelihood);
  if (head == nullptr || !known) {
    throw ArgumentError(
        fmt::format("fit_glm: got {} layers, the last '{}', and likelihood '{}', expected a Linear "
                    "layer at the end and softmax, binary, mse, poisson, gamma or "
                    "negative-binomial",
                    model.layers().size(), name_of(model.layers().back()), name_of(likelihood)));
  }
  if (!(options.l2 >= 0) || !std::isfinite(options.l2) || !(options.tolerance >= 0) ||
      options.max_iterations < 0 || data.rows() < 1) {
    throw ArgumentError(
        fmt::format("fit_glm: got l2 {}, tolerance {}, {} iterations and {} rows, expected a "
                    "finite l2 >= 0, >= 0, >= 0 and >= 1",
                    options.l2, options.tolerance, options.max_iterations, data.rows()));
  }
  return *head;
}

void check_finite(const Tensor& tensor, const char* what) {
  if (tensor.shape().rank() == 0) return;
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) {
      if (std::isfinite(element(tensor, i, j))) continue;
      throw ArgumentError(
          fmt::format("fit_glm: {}, row {}, column {} is {}, expected a finite "
                      "number",
                      what, i + 1, j + 1, element(tensor, i, j)));
    }
  }
}

// Features and targets in float64.
Dataset prepare(const Model& model, const Dataset& data) {
  Dataset ready = model.prepare_view(data);
  if (model.layers().size() > 1) ready.x = model.features(data.x);
  check_finite(ready.x, "features");
  check_finite(ready.y, "target");
  check_finite(ready.offset, "offset");
  if (!(internal::total_weight(ready, 0, ready.rows()) > 0)) {
    throw ArgumentError("fit_glm: the sample weights are all 0");
  }
  return ready;
}

std::string name_of_feature(const Model& model, const Dataset& data, Index j) {
  const auto& names =
      data.feature_names.empty() ? model.schema().feature_names : data.feature_names;
  const auto at = static_cast<std::size_t>(j);
  if (model.layers().size() > 1 || at >= names.size()) return fmt::format("feature {} (from 0)", j);
  return fmt::format("feature '{}'", names[at]);
}

void expect_independent(const Model& model, const Dataset& data, const Dataset& scaled, bool bias) {
  const auto found = internal::first_dependent_column(scaled.x, scaled.weights);
  if (!found) return;
  throw ArgumentError(fmt::format(
      "fit_glm: {} is constant or a linear combination of {}the features before it in the {} rows "
      "that count; leave it out, or give an l2 > 0",
      name_of_feature(model, data, *found), bias ? "the bias and " : "", scaled.x.rows()));
}

// The bias alone, with the features scaled.
std::vector<double> start(const Likelihood& likelihood, const std::vector<double>& null_bias,
                          std::size_t size, bool bias) {
  std::vector<double> theta(size);
  if (!bias) return theta;
  const std::size_t first = size - null_bias.size();
  for (std::size_t k = 0; k < null_bias.size(); ++k) {
    const bool mean = std::holds_alternative<Gaussian>(likelihood);
    theta[first + k] = mean ? null_bias[k] : std::max(null_bias[k], -kLargestStart);
    if (std::holds_alternative<Bernoulli>(likelihood)) {
      theta[first + k] = std::min(theta[first + k], kLargestStart);
    }
  }
  return theta;
}

// Whether the objective is at its minimum, or has none; see GlmFit.
void judge(const GlmProblem& problem, double limit, const GlmOptions& options, GlmFit& fit) {
  fit.max_gradient = problem.max_gradient();
  if (!std::isfinite(fit.objective)) return;
  fit.converged = fit.max_gradient <= limit;
  if (!options.covariance) return;
  const auto step = problem.newton_step();
  double decrease = 0;
  for (std::size_t i = 0; step && i < step->size(); ++i) {
    decrease -= (*step)[i] * problem.gradient()[i] / 2;
  }
  fit.no_maximum =
      !step || (decrease <= kVanishing && problem.largest_change(*step) > kStillMoving);
  const double negligible = options.tolerance * std::max(1.0, std::abs(fit.objective));
  fit.converged = !fit.no_maximum && (fit.converged || decrease <= negligible);
}

Tensor covariance(const GlmProblem& problem, const GlmColumns& columns,
                  const std::vector<double>& factor) {
  Tensor information = problem.hessian(Information::kExpected);
  const Index size = information.rows();
  const Index outputs = problem.outputs();
  Tensor result({size, size}, DType::kFloat64);
  const auto c = result.as<double>();
  for (Index i = 0; i < size; ++i) c(i, i) = 1;
  solve_positive_definite(information.as<double>(), c);
  // Equal numbers for all classes are no part of it: P C P, P subtracts means.
  for (Index i = 0; i < size; ++i)
    problem.center_free_rows({c.row(i), size / outputs, outputs, outputs});
  for (Index i = 0; i < size; ++i) {
    for (Index j = 0; j < i; ++j) std::swap(c(i, j), c(j, i));
  }
  for (Index i = 0; i < size; ++i)
    problem.center_free_rows({c.row(i), size / outputs, outputs, outputs});
  for (Index i = 0; i < size; ++i) {
    for (Index j = 0; j < size; ++j) {
      c(i, j) *= std::sqrt(factor[static_cast<std::size_t>(i % outputs)] *
                           factor[static_cast<std::size_t>(j % outputs)]);
    }
  }
  columns.covariance_to_raw(c, outputs);
  return result;
}

// Log-likelihood, deviances, dispersion and AIC.
void add_statistics(const Model& head, const Dataset& ready, const Tensor& eta,
                    const std::vector<double>& null_bias, bool bias, GlmFit& fit) {
  const Likelihood& likelihood = head.likelihood();
  const Index outputs = head.outputs();
  const bool categorical = std::holds_alternative<Categorical>(likelihood);
  Tensor null_eta({ready.rows(), outputs}, DType::kFloat64);
  for (Index i = 0; i < ready.rows(); ++i) {
    const double offset = ready.offset.shape().rank() == 0 ? 0 : element(ready.offset, i, 0);
    for (Index k = 0; k < outputs; ++k) {
      null_eta.as<double>()(i, k) = offset + (bias ? null_bias[static_cast<std::size_t>(k)] : 0);
    }
  }
  const Index rows = head.inputs() + (bias ? 1 : 0);
  const double left = internal::total_weight(ready, 0, ready.rows()) - static_cast<double>(rows);
  const bool free = internal::has_free_dispersion(likelihood);
  for (Index k = 0; k < outputs; ++k) {
    fit.dispersion.push_back(1);
    if (free) {
      const double statistic = internal::pearson_statistic(likelihood, ready, eta.as<double>(), k);
      fit.dispersion.back() =
          left > 0 ? statistic / left : std::numeric_limits<double>::quiet_NaN();
    }
    if (categorical && k > 0) continue;
    fit.deviance += internal::deviance(likelihood, ready, eta.as<double>(), k);
    fit.null_deviance += internal::deviance(likelihood, ready, null_eta.as<double>(), k);
  }
  fit.log_likelihood = internal::log_likelihood(likelihood, ready, eta.as<double>());
  fit.parameters = rows * (categorical ? outputs - 1 : outputs) + (free ? outputs : 0);
  fit.aic = 2 * (static_cast<double>(fit.parameters) - fit.log_likelihood);
}

void add_coefficients(const Model& head, const GlmProblem& problem, const GlmColumns& columns,
                      const std::vector<double>& theta, GlmFit& fit) {
  const Index outputs = head.outputs();
  const auto size = static_cast<Index>(theta.size());
  fit.coefficients = Tensor({size / outputs, outputs}, DType::kFloat64);
  const auto coefficients = fit.coefficients.as<double>();
  for (Index j = 0; j < coefficients.rows; ++j) {
    for (Index k = 0; k < outputs; ++k) {
      coefficients(j, k) = theta[static_cast<std::size_t>(j * outputs + k)];
    }
  }
  columns.to_raw(coefficients);
  problem.center_free_rows(coefficients);
}

void add_standard_errors(const Model& head, const GlmProblem& problem, const GlmColumns& columns,
                         GlmFit& fit) {
  std::vector<double> factor = fit.dispersion;
  if (const auto* gamma = std::get_if<Gamma>(&head.likelihood())) {
    for (double& f : factor) f *= gamma->shape;
  }
  fit.covariance = covariance(problem, columns, factor);
  fit.standard_errors = Tensor(fit.coefficients.shape(), DType::kFloat64);
  const auto to = fit.standard_errors.as<double>();
  for (Index j = 0; j < to.rows; ++j) {
    for (Index k = 0; k < to.columns; ++k) {
      const Index at = j * to.columns + k;
      to(j, k) = std::sqrt(element(fit.covariance, at, at));
    }
  }
}

// The last layer of `model` gets them, rounded to its dtype.
void assign(Model& model, const Tensor& coefficients, bool bias) {
  const std::string head = std::to_string(model.layers().size() - 1);
  const auto from = coefficients.as<double>();
  const Index features = from.rows - (bias ? 1 : 0);
  copy_values(ConstTensorView(from.data, DType::kFloat64, features, from.columns, from.ld),
              model.parameters().mutable_view(head + ".weight"));
  if (!bias) return;
  copy_values(ConstTensorView(from.row(features), DType::kFloat64, 1, from.columns, from.ld),
              model.parameters().mutable_view(head + ".bias"));
}

}  // namespace

GlmFit fit_glm(Model& model, const Dataset& data, const GlmOptions& options) {
  const Linear& last = check(model, data, options);
  const Dataset ready = prepare(model.to(DType::kFloat64), data);
  Model head({Linear{.in = last.in, .out = last.out, .bias = last.bias}}, model.likelihood(),
             DType::kFloat64);

  const GlmColumns columns(ready.x, ready.weights, last.bias && !options.penalize_bias);
  Dataset scaled = ready;
  scaled.x = columns.apply(ready.x);
  if (options.l2 == 0) expect_independent(model, data, scaled, last.bias);
  std::vector<double> penalty;
  for (Index j = 0; j < last.in; ++j) {
    penalty.push_back(options.l2 / (columns.scale(j) * columns.scale(j)));
  }
  if (last.bias) penalty.push_back(options.penalize_bias ? options.l2 : 0);

  GlmProblem problem(head, scaled, std::move(penalty));
  const std::vector<double> null_bias =
      internal::null_bias(head.likelihood(), ready, head.outputs());
  std::vector<double> theta = start(head.likelihood(), null_bias, problem.size(), last.bias);
  const double limit = options.tolerance * std::max(1.0, problem.total_weight());
  const auto minimize =
      options.solver == GlmSolver::kNewton ? internal::minimize_newton : internal::minimize_lbfgs;
  GlmFit fit;
  fit.iterations = minimize(problem, theta, limit, options.max_iterations);
  fit.objective = problem.evaluate(theta);
  judge(problem, limit, options, fit);
  add_coefficients(head, problem, columns, theta, fit);
  add_statistics(head, ready, problem.linear_predictor(), null_bias, last.bias, fit);
  if (options.covariance && !fit.no_maximum && std::isfinite(fit.objective)) {
    add_standard_errors(head, problem, columns, fit);
  }
  assign(model, fit.coefficients, last.bias);
  return fit;
}

}  // namespace chainrule
