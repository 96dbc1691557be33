// SPDX-License-Identifier: Apache-2.0
// Every activation x every loss in a random network, against the product of Jacobians of the notes
// (S1), written out in long double: delta W diag(g'(z)), outer products, and derivatives that are
// typed in here and not taken from any op.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>

#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"
#include "long_matrix.hpp"

namespace chainrule {
namespace {

using testing::diagonal;
using testing::from_tensor;
using testing::Matrix;
using testing::Real;

constexpr Index kRows = 6, kIn = 4, kHidden = 5, kOut = 3;
constexpr Real kSlope = 0.125L, kAlpha = 1.25L, kDelta = 0.5L, kShape = 1.5L, kDispersion = 0.75L,
               kSmoothing = 0.125L;

Real sigma(Real z) { return 1 / (1 + std::exp(-z)); }
Real normal_density(Real z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::acos(Real{-1})); }
Real normal_cdf(Real z) { return std::erfc(-z / std::sqrt(Real{2})) / 2; }
Real gelu_inner(Real z) { return std::sqrt(2 / std::acos(Real{-1})) * (z + 0.044715L * z * z * z); }
Real gelu_tanh_slope(Real z) {
  const Real t = std::tanh(gelu_inner(z));
  const Real inner_slope = std::sqrt(2 / std::acos(Real{-1})) * (1 + 3 * 0.044715L * z * z);
  return (1 + t) / 2 + z * (1 - t * t) * inner_slope / 2;
}

struct Activation {
  const char* name;
  Value (*build)(const Value&);
  Real (*value)(Real);
  Real (*slope)(Real);
};

const Activation kActivations[] = {
    {"identity", [](const Value& z) { return identity(z); }, [](Real z) { return z; },
     [](Real) { return Real{1}; }},
    {"relu", [](const Value& z) { return relu(z); }, [](Real z) { return z > 0 ? z : 0; },
     [](Real z) { return Real{z > 0 ? 1.0L : 0.0L}; }},
    {"leaky_relu", [](const Value& z) { return leaky_relu(z, double{kSlope}); },
     [](Real z) { return z > 0 ? z : kSlope * z; }, [](Real z) { return z > 0 ? 1 : kSlope; }},
    {"elu", [](const Value& z) { return elu(z, double{kAlpha}); },
     [](Real z) { return z > 0 ? z : kAlpha * std::expm1(z); },
     [](Real z) { return z > 0 ? 1 : kAlpha * std::exp(z); }},
    {"sigmoid", [](const Value& z) { return sigmoid(z); }, sigma,
     [](Real z) { return sigma(z) * sigma(-z); }},
    {"tanh", [](const Value& z) { return tanh(z); }, [](Real z) { return std::tanh(z); },
     [](Real z) { return 1 / (std::cosh(z) * std::cosh(z)); }},
    {"softplus", [](const Value& z) { return softplus(z); },
     [](Real z) { return std::log1p(std::exp(z)); }, sigma},
    {"silu", [](const Value& z) { return silu(z); }, [](Real z) { return z * sigma(z); },
     [](Real z) { return sigma(z) + z * sigma(z) * sigma(-z); }},
    {"gelu", [](const Value& z) { return gelu(z); }, [](Real z) { return z * normal_cdf(z); },
     [](Real z) { return normal_cdf(z) + z * normal_density(z); }},
    {"gelu_tanh", [](const Value& z) { return gelu_tanh(z); },
     [](Real z) { return z * (1 + std::tanh(gelu_inner(z))) / 2; }, gelu_tanh_slope},
    {"exp", [](const Value& z) { return exp(z); }, [](Real z) { return std::exp(z); },
     [](Real z) { return std::exp(z); }},
    {"log", [](const Value& z) { return log(z); }, [](Real z) { return std::log(z); },
     [](Real z) { return 1 / z; }},
};

enum class Targets { kReal, kUnit, kSigns, kCounts, kPositive, kLabels, kDistribution };

struct Loss {
  const char* name;
  Targets targets;
  Value (*build)(const Value& z, const Value& target, const Value& weights);
  /// dl/dz of the mean over the columns, for one row; targets as a row as well.
  Matrix (*derivative)(const Matrix& z, const Matrix& target);
};

// The derivative of a loss that is the mean over the columns of f(z, t), from f'.
template <Real (*kSlopeOf)(Real z, Real t)>
Matrix by_column(const Matrix& z, const Matrix& t) {
  Matrix result(1, z.columns());
  for (Index j = 0; j < z.columns(); ++j) {
    result(0, j) = kSlopeOf(z(0, j), t(0, j)) / static_cast<Real>(z.columns());
  }
  return result;
}

Real sign(Real x) { return Real{x > 0 ? 1.0L : 0.0L} - Real{x < 0 ? 1.0L : 0.0L}; }
Real squared_slope(Real z, Real t) { return 2 * (z - t); }
Real absolute_slope(Real z, Real t) { return sign(z - t); }
Real huber_slope(Real z, Real t) {
  return std::abs(z - t) <= kDelta ? z - t : kDelta * sign(z - t);
}
// From -t log s - (1 - t) log(1 - s) with ds/dz = s (1 - s).
Real binary_slope(Real z, Real t) {
  const Real s = sigma(z);
  return (-t / s + (1 - t) / (1 - s)) * s * (1 - s);
}
Real hinge_slope(Real z, Real t) { return 1 - t * z > 0 ? -t : 0; }
// From the densities: Poisson mu^t e^-mu, Gamma mu^-k e^(-k t / mu), negative binomial with
// variance mu + a mu^2, each differentiated by mu and then mu = e^z by z.
Real poisson_slope(Real z, Real t) {
  const Real mu = std::exp(z);
  return (1 - t / mu) * mu;
}
Real gamma_slope(Real z, Real t) {
  const Real mu = std::exp(z);
  return (kShape / mu - kShape * t / (mu * mu)) * mu;
}
Real negative_binomial_slope(Real z, Real t) {
  const Real mu = std::exp(z);
  return ((t + 1 / kDispersion) * kDispersion / (1 + kDispersion * mu) - t / mu) * mu;
}

// -sum_k p_k log s_k through the full Jacobian of softmax, ds_k/dz_j = s_k (1{j = k} - s_j).
Matrix cross_entropy_derivative(const Matrix& z, const Matrix& p) {
  Real total = 0;
  for (Index j = 0; j < z.columns(); ++j) total += std::exp(z(0, j));
  const Matrix s = z.map([&](Real x) { return std::exp(x) / total; });
  Matrix of_s(1, z.columns()), softmax_jacobian = diagonal(s);
  for (Index k = 0; k < z.columns(); ++k) {
    of_s(0, k) = -p(0, k) / s(0, k);
    for (Index j = 0; j < z.columns(); ++j) softmax_jacobian(k, j) -= s(0, k) * s(0, j);
  }
  return of_s * softmax_jacobian;
}

Matrix label_derivative(const Matrix& z, const Matrix& label) {
  Matrix p(1, z.columns());
  for (Index k = 0; k < z.columns(); ++k) {
    const bool hit = static_cast<Index>(label(0, 0)) == k;
    p(0, k) = (1 - kSmoothing) * (hit ? 1 : 0) + kSmoothing / static_cast<Real>(z.columns());
  }
  return cross_entropy_derivative(z, p);
}

const Loss kLosses[] = {
    {"mean_squared_error", Targets::kReal,
     [](const Value& z, const Value& t, const Value& w) {
       return mean_squared_error(z, t, {.weights = w});
     },
     by_column<squared_slope>},
    {"mean_absolute_error", Targets::kReal,
     [](const Value& z, const Value& t, const Value& w) {
       return mean_absolute_error(z, t, {.weights = w});
     },
     by_column<absolute_slope>},
    {"huber", Targets::kReal,
     [](const Value& z, const Value& t, const Value& w) {
       return huber(z, t, {.delta = double{kDelta}, .weights = w});
     },
     by_column<huber_slope>},
    {"binary_cross_entropy", Targets::kUnit,
     [](const Value& z, const Value& t, const Value& w) {
       return binary_cross_entropy(z, t, {.weights = w});
     },
     by_column<binary_slope>},
    {"hinge", Targets::kSigns,
     [](const Value& z, const Value& t, const Value& w) { return hinge(z, t, {.weights = w}); },
     by_column<hinge_slope>},
    {"poisson", Targets::kCounts,
     [](const Value& z, const Value& t, const Value& w) {
       return poisson_nll(z, t, {.weights = w});
     },
     by_column<poisson_slope>},
    {"gamma", Targets::kPositive,
     [](const Value& z, const Value& t, const Value& w) {
       return gamma_nll(z, t, {.shape = double{kShape}, .weights = w});
     },
     by_column<gamma_slope>},
    {"negative_binomial", Targets::kCounts,
     [](const Value& z, const Value& t, const Value& w) {
       return negative_binomial_nll(z, t, {.dispersion = double{kDispersion}, .weights = w});
     },
     by_column<negative_binomial_slope>},
    {"softmax_cross_entropy", Targets::kLabels,
     [](const Value& z, const Value& t, const Value& w) {
       return softmax_cross_entropy(z, t, {.label_smoothing = double{kSmoothing}, .weights = w});
     },
     label_derivative},
    {"softmax_cross_entropy_probabilities", Targets::kDistribution,
     [](const Value& z, const Value& t, const Value& w) {
       return softmax_cross_entropy(z, t, {.weights = w});
     },
     cross_entropy_derivative},
};

double target_number(Targets kind, double u) {
  switch (kind) {
    case Targets::kReal:
      return 4 * u - 2;
    case Targets::kSigns:
      return u < 0.5 ? -1 : 1;
    case Targets::kCounts:
      return std::floor(5 * u);
    case Targets::kLabels:
      return std::floor(u * static_cast<double>(kOut));
    case Targets::kPositive:
      return 0.25 + 2 * u;
    case Targets::kUnit:
    case Targets::kDistribution:
      break;
  }
  return u;
}

Tensor random_tensor(const Shape& shape, double low, double high, std::uint64_t stream) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> view = tensor.as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) {
      const auto index = static_cast<std::uint64_t>(i * view.columns + j);
      view(i, j) = low + (high - low) * random_uniform({.seed = 99, .stream = stream}, index);
    }
  }
  return tensor;
}

class MlpJacobian : public ::testing::TestWithParam<std::tuple<Activation, Loss>> {
 protected:
  MlpJacobian() {
    // log wants z > 0: then everything in front of it is positive.
    const bool positive = std::string(activation.name) == "log";
    const double low = positive ? 0.1 : -1;
    parameters = Parameters(graph, DType::kFloat64);
    std::uint64_t stream = 1;
    for (const Value& value : {w1, b1, w2, b2}) {
      const Tensor numbers = random_tensor(value.shape(), low, 1, stream++);
      copy_values(numbers.view(), parameters.mutable_view(value));
    }
    inputs = random_tensor({kRows, kIn}, low, 1, 11);
    weights = random_tensor({kRows, 1}, 0.5, 2, 12);
    const bool labels = loss.targets == Targets::kLabels;
    targets = random_tensor({kRows, labels ? 1 : kOut}, 0, 1, 13);
    const MatrixView<double> t = targets.as<double>();
    for (Index i = 0; i < t.rows; ++i) {
      for (Index j = 0; j < t.columns; ++j) t(i, j) = target_number(loss.targets, t(i, j));
    }
    bound_targets = targets.to(labels ? DType::kInt32 : DType::kFloat64);
  }

  Value target_input() {
    return loss.targets == Targets::kLabels ? graph.labels("t") : graph.input("t", {kBatch, kOut});
  }

  // The recursion of the notes, one example at a time: delta[l-1] = delta[l] W[l] diag(g'(z)).
  void derive() {
    const Matrix w_1 = from_tensor(parameters.view(w1)), w_2 = from_tensor(parameters.view(w2));
    Real total = 0;
    for (Index i = 0; i < kRows; ++i) total += weights.as<double>()(i, 0);
    for (Index i = 0; i < kRows; ++i) {
      const Matrix a0 = from_tensor(inputs.view()).row(i);
      const Matrix z_1 = a0 * w_1 + from_tensor(parameters.view(b1));
      const Matrix a_1 = z_1.map(activation.value), slopes = z_1.map(activation.slope);
      const Matrix z_2 = a_1 * w_2 + from_tensor(parameters.view(b2));
      const Real weight = weights.as<double>()(i, 0) / total;
      const Matrix delta2 =
          loss.derivative(z_2, from_tensor(targets.view()).row(i)).map([&](Real d) {
            return weight * d;
          });
      const Matrix delta1 = delta2 * w_2.transposed() * diagonal(slopes);
      of_w2 = of_w2 + a_1.transposed() * delta2;
      of_b2 = of_b2 + delta2;
      of_w1 = of_w1 + a0.transposed() * delta1;
      of_b1 = of_b1 + delta1;
      const Matrix row = delta1 * w_1.transposed();
      for (Index j = 0; j < kIn; ++j) of_x(i, j) = row(0, j);
      for (Index j = 0; j < kHidden; ++j) of_z1(i, j) = delta1(0, j);
    }
  }

  Activation activation = std::get<0>(GetParam());
  Loss loss = std::get<1>(GetParam());
  Graph graph;
  Value x = graph.input("x", {kBatch, kIn});
  Value w1 = graph.parameter("w1", {kIn, kHidden}), b1 = graph.parameter("b1", {kHidden});
  Value w2 = graph.parameter("w2", {kHidden, kOut}), b2 = graph.parameter("b2", {kOut});
  Value z1 = add_bias(matmul(x, w1), b1);
  Value z2 = add_bias(matmul(activation.build(z1), w2), b2);
  Value t = target_input();
  Value row_weights = graph.input("weights", {kBatch});
  Value objective = loss.build(z2, t, row_weights);
  Parameters parameters;
  Tensor inputs, weights, targets, bound_targets;
  Matrix of_w1{kIn, kHidden}, of_b1{1, kHidden}, of_w2{kHidden, kOut}, of_b2{1, kOut};
  Matrix of_x{kRows, kIn}, of_z1{kRows, kHidden};
};

TEST_P(MlpJacobian, GradientsAreTheProductOfJacobians) {
  const Plan plan = compile(
      graph, {.dtype = DType::kFloat64, .loss = objective, .gradients = {w1, b1, w2, b2, x, z1}});
  Workspace workspace(plan, kRows);
  Bindings bindings(plan);
  bindings.input(x, inputs).input(t, bound_targets).input(row_weights, weights);
  bindings.parameters(std::as_const(parameters));
  Executor().run(workspace, bindings);
  derive();
  const auto expect = [&](Value value, const Matrix& expected) {
    EXPECT_LT(distance(from_tensor(workspace.gradient(value)), expected), 2e-14)
        << value.node().name;
    EXPECT_GT(distance(expected, Matrix(expected.rows(), expected.columns())), 1e-4)
        << "a gradient of zero proves nothing: " << value.node().name;
  };
  expect(w2, of_w2);
  expect(b2, of_b2);
  expect(z1, of_z1);
  expect(w1, of_w1);
  expect(b1, of_b1);
  expect(x, of_x);
}

INSTANTIATE_TEST_SUITE_P(All, MlpJacobian,
                         ::testing::Combine(::testing::ValuesIn(kActivations),
                                            ::testing::ValuesIn(kLosses)),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + "_" +
                                  std::get<1>(info.param).name;
                         });

}  // namespace
}  // namespace chainrule
