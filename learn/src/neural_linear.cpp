// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/neural_linear.hpp"

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

using internal::design_columns;
using internal::design_matrix;
using internal::kDesignRows;

constexpr const char* kName = "NeuralLinearModel";

void check(const NeuralLinearOptions& options, Index outputs) {
  internal::expect_positive(kName, "prior_precision", options.prior_precision);
  internal::expect_positive(kName, "noise", options.noise);
  if (outputs >= 1) return;
  throw ArgumentError(fmt::format("{}: got {} outputs, expected >= 1", kName, outputs));
}

NeuralLinearSums empty_sums(Index m, Index k) {
  return {.gram = Tensor({m, m}, DType::kFloat64),
          .products = Tensor({m, k}, DType::kFloat64),
          .features = Tensor({m, 1}, DType::kFloat64),
          .targets = Tensor({3, k}, DType::kFloat64)};
}

}  // namespace

struct NeuralLinearModel::State {
  // The data with targets as the regression sees them, centered or not.
  struct Targets {
    Tensor products;              ///< Phi^T y
    std::vector<double> squares;  ///< sum of y^2, of each column
    std::vector<double> means;    ///< what was subtracted
  };

  // At one alpha and noise: A = alpha I + Phi^T Phi / noise = L L^T and the mean.
  struct Solved {
    Tensor factor;
    Tensor mean;
    double log_determinant = 0;
  };

  State(Model base_, NeuralLinearSums sums_, const NeuralLinearOptions& options_)
      : base(std::move(base_)),
        options(options_),
        executor(options_.threads),
        sums(std::move(sums_)) {}

  Index outputs() const { return base.outputs(); }

  Targets targets() const {
    Targets result{.products = sums.products,
                   .squares = std::vector<double>(static_cast<std::size_t>(outputs())),
                   .means = std::vector<double>(static_cast<std::size_t>(outputs()))};
    const auto products = result.products.as<double>();
    const auto n = static_cast<double>(sums.rows);
    for (Index j = 0; j < outputs(); ++j) {
      const auto at = static_cast<std::size_t>(j);
      result.squares[at] = element(sums.targets, 2, j);
      if (!options.center_targets || sums.rows == 0) continue;
      const double mean = element(sums.targets, 1, j) / n;  // of y - shift
      result.means[at] = element(sums.targets, 0, j) + mean;
      result.squares[at] -= n * mean * mean;
      for (Index i = 0; i < products.rows; ++i)
        products(i, j) -= mean * element(sums.features, i, 0);
    }
    return result;
  }

  Solved solve(const Tensor& products, double alpha, double noise) const {
    Solved solved{.factor = sums.gram, .mean = products};
    const auto a = solved.factor.as<double>();
    for (Index i = 0; i < a.rows; ++i) {
      for (Index j = 0; j <= i; ++j) a(i, j) /= noise;
      a(i, i) += alpha;
    }
    solved.log_determinant = cholesky(a, {}, executor).log_determinant;
    const auto mean = solved.mean.as<double>();
    for (Index i = 0; i < mean.rows; ++i) {
      for (Index j = 0; j < mean.columns; ++j) mean(i, j) /= noise;
    }
    solve_cholesky(MatrixView<const double>(a), mean, executor);
    return solved;
  }

  LogMarginalLikelihood likelihood(const Targets& data, double alpha, double noise,
                                   bool with_gradient) const;

  Model base;  ///< float64; the weights of its last layer count for nothing
  NeuralLinearOptions options;
  Executor executor;
  NeuralLinearSums sums;
};

LogMarginalLikelihood NeuralLinearModel::State::likelihood(const Targets& data, double alpha,
                                                           double noise, bool with_gradient) const {
  const Solved solved = solve(data.products, alpha, noise);
  const auto n = static_cast<double>(sums.rows), k = static_cast<double>(outputs());
  const auto m = static_cast<double>(sums.gram.rows());
  double fit = 0, weights = 0;  // 2 E(m) of eq. 3.82, and |mean|^2
  for (Index j = 0; j < outputs(); ++j) {
    fit += data.squares[static_cast<std::size_t>(j)] / noise;
    for (Index i = 0; i < solved.mean.rows(); ++i) {
      const double w = element(solved.mean, i, j);
      fit -= w * element(data.products, i, j) / noise;
      weights += w * w;
    }
  }
  LogMarginalLikelihood result;
  result.data_fit = -0.5 * fit;
  result.complexity =
      -0.5 * k * (solved.log_determinant - m * std::log(alpha) + n * std::log(noise));
  result.constant = -0.5 * k * n * std::log(2 * std::numbers::pi);
  result.value = result.data_fit + result.complexity + result.constant;
  if (!with_gradient) return result;
  Tensor inverse(sums.gram.shape(), DType::kFloat64);
  invert_cholesky(solved.factor.as<double>(), inverse.as<double>(), executor);
  double trace = 0;
  for (Index i = 0; i < inverse.rows(); ++i) trace += element(inverse, i, i);
  const double determined = m - alpha * trace;     // gamma of eq. 3.91
  const double residuals = fit - alpha * weights;  // over the noise
  result.gradient = {0.5 * (k * determined - alpha * weights),
                     0.5 * (residuals - k * (n - determined))};
  return result;
}

NeuralLinearModel::NeuralLinearModel(const Model& model, Index outputs,
                                     const NeuralLinearOptions& options) {
  check(options, outputs);
  Model base =
      model.to(DType::kFloat64).with_head(outputs, Gaussian{}, options.bias, options.layer);
  const Index m = design_columns(base);
  state_ = std::make_unique<State>(std::move(base), empty_sums(m, outputs), options);
}

NeuralLinearModel::NeuralLinearModel(const Model& model, NeuralLinearSums sums,
                                     const NeuralLinearOptions& options) {
  check(options, model.outputs());
  if (!std::holds_alternative<Linear>(model.layers().back())) {
    throw ArgumentError(fmt::format("{}: the model ends in '{}', expected a Linear layer", kName,
                                    name_of(model.layers().back())));
  }
  Model base = model.to(DType::kFloat64);
  const Index m = design_columns(base), k = base.outputs();
  if (sums.gram.shape() != Shape{m, m} || sums.products.shape() != Shape{m, k} ||
      sums.features.shape() != Shape{m, 1} || sums.targets.shape() != Shape{3, k} ||
      sums.rows < 0) {
    throw ShapeError(fmt::format(
        "{}: got sums {}, {}, {} and {} of {} rows, expected [{}, {}], [{}, {}], [{}, 1] and [3, "
        "{}]",
        kName, to_string(sums.gram.shape()), to_string(sums.products.shape()),
        to_string(sums.features.shape()), to_string(sums.targets.shape()), sums.rows, m, m, m, k, m,
        k));
  }
  state_ = std::make_unique<State>(std::move(base), std::move(sums), options);
}

NeuralLinearModel::~NeuralLinearModel() = default;
NeuralLinearModel::NeuralLinearModel(NeuralLinearModel&&) noexcept = default;
NeuralLinearModel& NeuralLinearModel::operator=(NeuralLinearModel&&) noexcept = default;

Index NeuralLinearModel::features() const noexcept { return state_->sums.gram.rows(); }
Index NeuralLinearModel::outputs() const noexcept { return state_->outputs(); }
Index NeuralLinearModel::rows() const noexcept { return state_->sums.rows; }
const NeuralLinearSums& NeuralLinearModel::sums() const noexcept { return state_->sums; }
const NeuralLinearOptions& NeuralLinearModel::options() const noexcept { return state_->options; }
double NeuralLinearModel::prior_precision() const noexcept {
  return state_->options.prior_precision;
}
double NeuralLinearModel::noise() const noexcept { return state_->options.noise; }
Schema& NeuralLinearModel::schema() noexcept { return state_->base.schema(); }

void NeuralLinearModel::set_hyperparameters(double prior_precision, double noise) {
  internal::expect_positive("set_hyperparameters", "prior_precision", prior_precision);
  internal::expect_positive("set_hyperparameters", "noise", noise);
  state_->options.prior_precision = prior_precision;
  state_->options.noise = noise;
}

void NeuralLinearModel::add(const Tensor& x, const Tensor& y) {
  State& state = *state_;
  if (x.shape().rank() != 2 || y.shape().rank() != 2 || x.rows() != y.rows() ||
      x.columns() != state.base.inputs() || y.columns() != outputs()) {
    throw ShapeError(fmt::format("add: got x {} and y {}, expected [n, {}] and [n, {}]",
                                 to_string(x.shape()), to_string(y.shape()), state.base.inputs(),
                                 outputs()));
  }
  internal::expect_finite_rows(x, "x");
  internal::expect_finite_rows(y, "y");
  const auto targets = state.sums.targets.as<double>();
  if (state.sums.rows == 0 && state.options.center_targets && y.rows() > 0) {
    // Squares of differences to a target lose no digits to a large mean.
    for (Index j = 0; j < outputs(); ++j) targets(0, j) = element(y, 0, j);
  }
  for (Index first = 0; first < x.rows(); first += kDesignRows) {
    const Index count = std::min(kDesignRows, x.rows() - first);
    const Tensor design = design_matrix(state.base, x, first, count);
    Tensor shifted({count, outputs()}, DType::kFloat64);
    for (Index i = 0; i < count; ++i) {
      for (Index j = 0; j < outputs(); ++j) {
        const double t = element(y, first + i, j) - targets(0, j);
        shifted.as<double>()(i, j) = t;
        targets(1, j) += t;
        targets(2, j) += t * t;
      }
      for (Index j = 0; j < features(); ++j) {
        state.sums.features.as<double>()(j, 0) += element(design, i, j);
      }
    }
    const MatrixView<const double> phi = design.as<double>();
    syrk(1, transpose(phi), 1, state.sums.gram.as<double>(), Triangle::kLower, state.executor);
    gemm(1, transpose(phi), shifted.as<double>(), 1, state.sums.products.as<double>(),
         state.executor);
  }
  state.sums.rows += x.rows();
}

Tensor NeuralLinearModel::mean() const {
  return state_->solve(state_->targets().products, prior_precision(), noise()).mean;
}

Tensor NeuralLinearModel::covariance() const {
  const State::Solved solved =
      state_->solve(state_->targets().products, prior_precision(), noise());
  Tensor inverse(solved.factor.shape(), DType::kFloat64);
  invert_cholesky(solved.factor.as<double>(), inverse.as<double>(), state_->executor);
  return inverse;
}

LogMarginalLikelihood NeuralLinearModel::log_marginal_likelihood(bool with_gradient) const {
  return state_->likelihood(state_->targets(), prior_precision(), noise(), with_gradient);
}

OptimizeResult NeuralLinearModel::optimize(const OptimizeOptions& options) {
  if (rows() == 0) throw ArgumentError("optimize: add() rows first");
  const State::Targets data = state_->targets();
  std::vector<double> theta{std::log(prior_precision()), std::log(noise())};
  const auto evaluate = [&](std::span<const double> at) {
    return state_->likelihood(data, std::exp(at[0]), std::exp(at[1]), true);
  };
  const OptimizeResult result = internal::maximize(evaluate, theta, options);
  if (std::isfinite(result.log_marginal_likelihood)) {
    set_hyperparameters(std::exp(theta[0]), std::exp(theta[1]));
  }
  return result;
}

GaussianProcessPrediction NeuralLinearModel::predict(const Tensor& x) const {
  const State& state = *state_;
  internal::expect_columns("predict", x.columns(), state.base.inputs());
  const State::Targets data = state.targets();
  const State::Solved solved = state.solve(data.products, prior_precision(), noise());
  GaussianProcessPrediction result{.mean = Tensor({x.rows(), outputs()}, DType::kFloat64),
                                   .variance = Tensor({x.rows(), 1}, DType::kFloat64)};
  const auto mean = result.mean.as<double>();
  const auto variance = result.variance.as<double>();
  for (Index first = 0; first < x.rows(); first += kDesignRows) {
    const Index count = std::min(kDesignRows, x.rows() - first);
    const Tensor design = design_matrix(state.base, x, first, count);
    gemm(1, design.as<double>(), solved.mean.as<double>(), 0,
         MatrixView<double>{mean.row(first), count, mean.columns, mean.ld}, state.executor);
    Tensor v = internal::transposed_copy(design.as<double>());
    const auto columns = v.as<double>();
    solve_lower(solved.factor.as<double>(), columns, state.executor);
    for (Index i = 0; i < columns.rows; ++i) {
      for (Index j = 0; j < count; ++j) variance(first + j, 0) += columns(i, j) * columns(i, j);
    }
    for (Index i = first; i < first + count; ++i) {
      for (Index j = 0; j < mean.columns; ++j) {
        mean(i, j) += data.means[static_cast<std::size_t>(j)];
      }
    }
  }
  return result;
}

double NeuralLinearModel::negative_log_predictive_density(const Tensor& x, const Tensor& y) const {
  return chainrule::negative_log_predictive_density(predict(x), noise(), y);
}

Model NeuralLinearModel::model() const {
  const State::Targets data = state_->targets();
  const Tensor weights = state_->solve(data.products, prior_precision(), noise()).mean;
  const auto& head = std::get<Linear>(state_->base.layers().back());
  const bool shifted = options().center_targets && !head.bias;
  Model result = shifted ? state_->base.with_head(outputs(), Gaussian{}) : state_->base.clone();
  result.schema() = state_->base.schema();
  const std::string name = std::to_string(result.layers().size() - 1);
  const auto to = result.parameters().mutable_view(name + ".weight").as<double>();
  for (Index i = 0; i < to.rows; ++i) {
    for (Index j = 0; j < to.columns; ++j) to(i, j) = element(weights, i, j);
  }
  if (!head.bias && !shifted) return result;
  const auto bias = result.parameters().mutable_view(name + ".bias").as<double>();
  for (Index j = 0; j < bias.columns; ++j) {
    bias(0, j) = (head.bias ? element(weights, weights.rows() - 1, j) : 0) +
                 data.means[static_cast<std::size_t>(j)];
  }
  return result;
}

}  // namespace chainrule
