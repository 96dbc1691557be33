// SPDX-License-Identifier: Apache-2.0
#include "shallow_network.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/linear_algebra.hpp"

namespace chainrule::internal {
namespace {

// Smaller pivots are noise of the larger ones.
constexpr double kPivotTolerance = 1e-14;

// Row j becomes g(w_j . x + b_j) at all samples.
void fill_units(const ShallowNetwork& network, const Tensor& x, MatrixView<double> rows) {
  const auto points = x.as<double>();
  for (Index j = 0; j < rows.rows; ++j) {
    double* const z = rows.row(j);
    std::fill_n(z, rows.columns, network.biases[static_cast<std::size_t>(j)]);
    for (Index k = 0; k < network.inputs; ++k) {
      const double weight = network.weights[static_cast<std::size_t>(j * network.inputs + k)];
      for (Index i = 0; i < rows.columns; ++i) z[i] += weight * points(i, k);
    }
  }
  const auto kind = network.relu ? UnaryKernel::kRelu : UnaryKernel::kTanh;
  default_kernels().f64.unary[static_cast<std::size_t>(kind)](rows, rows, nullptr);
}

void copy_into(TensorView view, std::span<const double> values) {
  const auto to = view.as<double>();
  for (Index i = 0; i < to.rows; ++i) {
    std::copy_n(values.data() + i * to.columns, to.columns, to.row(i));
  }
}

// The exponent of the largest value: squares of scaled values neither overflow nor vanish.
int exponent_of(std::span<const double> values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest > 0 ? std::ilogb(largest) : 0;
}

void scale_output(ShallowNetwork& network, int exponent) {
  for (double& c : network.coefficients) c = std::ldexp(c, exponent);
  network.constant = std::ldexp(network.constant, exponent);
}

struct Residual {
  std::vector<double> values;
  double norm = 0;
  double largest = 0;
};

Residual residual_of(const ShallowNetwork& network, const SampleSet& samples,
                     MatrixView<const double> units) {
  Residual result;
  result.values.assign(samples.y.size(), network.constant);
  for (Index j = 0; j < units.rows; ++j) {
    const double c = network.coefficients[static_cast<std::size_t>(j)];
    for (Index i = 0; i < units.columns; ++i) {
      result.values[static_cast<std::size_t>(i)] += c * units(j, i);
    }
  }
  for (std::size_t i = 0; i < result.values.size(); ++i) {
    result.values[i] -= samples.y[i];
    result.norm = std::hypot(result.norm, result.values[i]);
    result.largest = std::max(result.largest, std::abs(result.values[i]));
  }
  return result;
}

// The damped problem of Levenberg and Marquardt: parameters of each unit are its bias at the centre
// of the domain and its weights; columns are scaled, so that damping has no units.
class Refinement {
 public:
  Refinement(ShallowNetwork& network, const SampleSet& samples, const Domain& domain)
      : best_(network), samples_(samples) {
    for (const Interval& side : domain) center_.push_back(side.low / 2 + side.high / 2);
    solve(best_);
  }

  double largest_error() const noexcept { return residual_.largest; }

  // Tries one step and returns the share of the residual's norm that it took off; 0: not taken.
  double step() {
    ShallowNetwork trial = best_;
    move(trial);
    const Tensor units = units_;
    const Residual before = residual_;
    solve(trial);
    if (residual_.norm < before.norm) {
      best_ = std::move(trial);
      damping_ = std::max(damping_ / 5, 1e-12);
      return 1 - residual_.norm / before.norm;
    }
    units_ = units;
    residual_ = before;
    damping_ *= 4;
    return 0;
  }
  bool stuck() const noexcept { return damping_ > 1e6; }

 private:
  void solve(ShallowNetwork& network) {
    fit_output_layer(network, samples_);
    units_ = Tensor({network.units(), samples_.size()}, DType::kFloat64);
    fill_units(network, samples_.x, units_.as<double>());
    residual_ = residual_of(network, samples_, units_.as<double>());
  }

  // Columns: c_j, the constant, then of each unit the bias and the weights.
  void move(ShallowNetwork& network) const {
    const Index m = network.units(), d = network.inputs, n = samples_.size();
    const Index unknowns = m + 1 + m * (d + 1);
    Tensor jacobian({unknowns, n + unknowns}, DType::kFloat64);
    Tensor right({1, n + unknowns}, DType::kFloat64);
    const auto columns = jacobian.as<double>();
    const auto units = std::as_const(units_).as<double>();
    const auto x = samples_.x.as<double>();
    for (Index j = 0; j < m; ++j) {
      const double c = network.coefficients[static_cast<std::size_t>(j)];
      double* const bias = columns.row(m + 1 + j * (d + 1));
      for (Index i = 0; i < n; ++i) {
        const double t = units(j, i);
        columns(j, i) = t;
        bias[i] = c * (1 - t * t);
      }
      for (Index k = 0; k < d; ++k) {
        double* const weight = columns.row(m + 2 + j * (d + 1) + k);
        const double center = center_[static_cast<std::size_t>(k)];
        for (Index i = 0; i < n; ++i) weight[i] = bias[i] * (x(i, k) - center);
      }
    }
    std::fill_n(columns.row(m), n, 1.0);
    for (Index i = 0; i < n; ++i) {
      right.as<double>()(0, i) = -residual_.values[static_cast<std::size_t>(i)];
    }
    damp(columns, n);
    solve_least_squares(columns, right.as<double>(), kPivotTolerance);
    apply(network, right.as<double>().row(0) + m + 1);
  }

  void damp(MatrixView<double> columns, Index n) const {
    for (Index j = 0; j < columns.rows; ++j) {
      double square = 0;
      for (Index i = 0; i < n; ++i) square += columns(j, i) * columns(j, i);
      columns(j, n + j) = std::max(damping_ * std::sqrt(square), 1e-300);
    }
  }

  void apply(ShallowNetwork& network, const double* change) const {
    for (std::size_t j = 0; j < network.biases.size(); ++j) {
      network.biases[j] += *change++;
      for (std::size_t k = 0; k < center_.size(); ++k) {
        network.weights[j * center_.size() + k] += *change;
        network.biases[j] -= *change++ * center_[k];
      }
    }
  }

  ShallowNetwork& best_;
  const SampleSet& samples_;
  std::vector<double> center_;
  Tensor units_;
  Residual residual_;
  double damping_ = 1e-3;
};

}  // namespace

Model to_model(const ShallowNetwork& network) {
  const Index m = network.units();
  const Layer activation = network.relu ? Layer(Relu{}) : Layer(Tanh{});
  Model model({Linear{network.inputs, m}, activation, Linear{m, 1}}, Gaussian{}, DType::kFloat64);
  Parameters& parameters = model.parameters();
  const auto weight = parameters.mutable_view(0).as<double>();
  for (Index j = 0; j < m; ++j) {
    for (Index k = 0; k < network.inputs; ++k) {
      weight(k, j) = network.weights[static_cast<std::size_t>(j * network.inputs + k)];
    }
  }
  copy_into(parameters.mutable_view(1), network.biases);
  copy_into(parameters.mutable_view(2), network.coefficients);
  copy_into(parameters.mutable_view(3), {&network.constant, 1});
  return model;
}

double rounding_floor(const ShallowNetwork& network) {
  double sum = std::abs(network.constant);
  for (const double c : network.coefficients) sum += std::abs(c);
  return sum * std::numeric_limits<double>::epsilon();
}

NetworkEvaluator::NetworkEvaluator(const ShallowNetwork& network) : predictor_(to_model(network)) {}

std::vector<double> NetworkEvaluator::operator()(const Tensor& x) {
  const Tensor y = predictor_.predict(x);
  std::vector<double> values(static_cast<std::size_t>(x.rows()));
  for (Index i = 0; i < x.rows(); ++i) {
    values[static_cast<std::size_t>(i)] = y.as<double>()(i, 0);
  }
  return values;
}

double sup_error(const ShallowNetwork& network, const SampleSet& samples) {
  const std::vector<double> values = NetworkEvaluator(network)(samples.x);
  double largest = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double error = std::abs(values[i] - samples.y[i]);
    if (!std::isfinite(error)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, error);
  }
  return largest;
}

void fit_output_layer(ShallowNetwork& network, const SampleSet& samples) {
  const Index m = network.units();
  Tensor columns({m + 1, samples.size()}, DType::kFloat64);
  auto units = columns.as<double>();
  std::fill_n(units.row(m), units.columns, 1.0);
  units.rows = m;
  fill_units(network, samples.x, units);
  Tensor right = Tensor::from<double>({1, samples.size()}, samples.y);
  const int exponent = exponent_of(samples.y);
  double* const y = right.as<double>().row(0);
  for (Index i = 0; i < samples.size(); ++i) y[i] = std::ldexp(y[i], -exponent);
  solve_least_squares(columns.as<double>(), right.as<double>(), kPivotTolerance);
  const double* const solution = right.as<double>().row(0);
  network.coefficients.assign(solution, solution + m);
  network.constant = solution[m];
  scale_output(network, exponent);
}

void refine_hidden_layer(ShallowNetwork& network, const SampleSet& samples, const Domain& domain,
                         double goal, int steps) {
  const int exponent = exponent_of(samples.y);
  SampleSet scaled = samples;
  for (double& y : scaled.y) y = std::ldexp(y, -exponent);
  Refinement refinement(network, scaled, domain);
  int idle = 0;
  for (int i = 0; i < steps && refinement.largest_error() > std::ldexp(goal, -exponent); ++i) {
    const double gain = refinement.step();
    if (gain >= 1e-3) idle = 0;
    if (gain > 0 && gain < 1e-3) ++idle;
    if (idle > 8 || refinement.stuck()) break;
  }
  scale_output(network, exponent);
}

Tensor column_of(std::span<const double> points) {
  return Tensor::from<double>({static_cast<Index>(points.size()), 1}, points);
}

double evaluate_at(const ScalarFunction& f, std::span<const double> point) {
  const double value = f(point);
  if (std::isfinite(value)) return value;
  // The sign of what is no number would say nothing.
  throw ArgumentError(
      fmt::format("approximate: the function is {} at ({}), expected a finite number",
                  std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value,
                  fmt::join(point, ", ")));
}

std::vector<double> evaluate_function(const ScalarFunction& f, const Tensor& x) {
  const auto points = x.as<double>();
  std::vector<double> values(static_cast<std::size_t>(x.rows()));
  for (Index i = 0; i < x.rows(); ++i) {
    values[static_cast<std::size_t>(i)] =
        evaluate_at(f, {points.row(i), static_cast<std::size_t>(x.columns())});
  }
  return values;
}

}  // namespace chainrule::internal
