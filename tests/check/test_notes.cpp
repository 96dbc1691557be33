// SPDX-License-Identifier: Apache-2.0
// The formulas of the lecture notes, S1 and S2, one test each, against explicit products of
// Jacobians in long double. The notes write z = W a + b with W [m, d] and column vectors; the
// library z = a w + b with w [d, m] and rows, so w = W^T.
#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "long_matrix.hpp"

namespace chainrule {
namespace {

using testing::diagonal;
using testing::from_tensor;
using testing::Matrix;
using testing::Real;

constexpr double kTolerance = 1e-13;

Matrix elementwise_product(const Matrix& a, const Matrix& b) {
  Matrix result = a;
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.columns(); ++j) result(i, j) *= b(i, j);
  }
  return result;
}

Real logistic(Real z) { return 1 / (1 + std::exp(-z)); }

// One example through three layers: a0 = x, z[l] = W[l] a[l-1] + b[l], a[l] = tanh(z[l]) for l = 1
// and 2, a3 = y_hat = logistic(z3), L = the cross-entropy of y_hat and y.
class NotesS1 : public ::testing::Test {
 protected:
  NotesS1() {
    const MatrixView<double> to = example.as<double>();
    for (Index j = 0; j < 3; ++j) to(0, j) = 0.7 - 0.6 * static_cast<double>(j);
    target.as<double>()(0, 0) = 1;
    feed.inputs = {{x, example.view()}, {y, target.view()}};
    feed.parameters = &parameters;
  }

  // The notes' W[l] and b[l], and a[l] and z[l] as rows.
  Matrix weight(std::size_t l) const { return from_tensor(parameters.view(w[l - 1])).transposed(); }
  Matrix bias(std::size_t l) const { return from_tensor(parameters.view(b[l - 1])); }
  Matrix activation(std::size_t l) const {
    if (l == 0) return from_tensor(example.view());
    return pre_activation(l).map([l](Real u) { return l == 3 ? logistic(u) : std::tanh(u); });
  }
  Matrix pre_activation(std::size_t l) const {
    return activation(l - 1) * weight(l).transposed() + bias(l);
  }
  // g'(z[l]) as a row.
  Matrix slopes(std::size_t l) const {
    return activation(l).map([l](Real a) { return l == 3 ? a * (1 - a) : 1 - a * a; });
  }
  // dL/da[3] of L = -y log a - (1 - y) log(1 - a), with y = 1.
  Matrix loss_by_output() const { return Matrix(1, 1, {-1 / activation(3)(0, 0)}); }
  // delta[l] = dL/dz[l], every Jacobian of the chain written out.
  Matrix delta(std::size_t l) const {
    Matrix result = loss_by_output() * diagonal(slopes(3));
    for (std::size_t k = 3; k > l; --k) result = result * weight(k) * diagonal(slopes(k - 1));
    return result;
  }

  Matrix got(Value node) { return from_tensor(gradient(graph, loss, node, feed).view()); }
  // By backward; forward mode gives the same.
  Matrix full(Value output, Value input) {
    const auto by = [&](JacobianMode mode) {
      return from_tensor(full_jacobian(graph, output, input, feed, mode).view());
    };
    const Matrix result = by(JacobianMode::kReverse);
    EXPECT_LT(distance(by(JacobianMode::kForward), result), kTolerance);
    return result;
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 3});
  Value y = graph.input("y", {kBatch, 1});
  std::array<Value, 3> w{graph.parameter("w1", {3, 4}), graph.parameter("w2", {4, 5}),
                         graph.parameter("w3", {5, 1})};
  std::array<Value, 3> b{graph.parameter("b1", {4}, uniform(1)),
                         graph.parameter("b2", {5}, uniform(1)),
                         graph.parameter("b3", {1}, uniform(1))};
  Value z1 = add_bias(matmul(x, w[0]), b[0]), a1 = tanh(z1);
  Value z2 = add_bias(matmul(a1, w[1]), b[1]), a2 = tanh(z2);
  Value z3 = add_bias(matmul(a2, w[2]), b[2]), a3 = sigmoid(z3);
  Value loss = binary_cross_entropy(z3, y);
  Parameters parameters{graph, DType::kFloat64, 17};
  Tensor example{Shape{1, 3}, DType::kFloat64};
  Tensor target{Shape{1, 1}, DType::kFloat64};
  Feed feed;
};

TEST_F(NotesS1, DiagonalJacobianOfAnActivation) {
  // da[l]/dz[l] = diag(g'(z[l])).
  EXPECT_LT(distance(full(a1, z1), diagonal(slopes(1))), kTolerance);
  EXPECT_LT(distance(full(a2, z2), diagonal(slopes(2))), kTolerance);
  EXPECT_LT(distance(full(a3, z3), diagonal(slopes(3))), kTolerance);
  // Multiplying by it is an elementwise product.
  const Matrix by_a2 = got(a2), by_z2 = got(z2);
  EXPECT_LT(distance(by_z2, by_a2 * diagonal(slopes(2))), kTolerance);
  EXPECT_LT(distance(by_z2, elementwise_product(by_a2, slopes(2))), kTolerance);
  EXPECT_LT(distance(from_tensor(elementwise_derivative(graph, a2, feed).view()), slopes(2)),
            kTolerance);
}

TEST_F(NotesS1, JacobianByOneWeightIsAColumn) {
  // dz[l]/dw_ij[l] is a_j[l-1] at position i and zero elsewhere.
  const Matrix jacobian = full(z2, w[1]);  // [5, 4 x 5], w(j, i) at column 5 j + i
  const Matrix a = activation(1);
  for (Index k = 0; k < 5; ++k) {
    for (Index i = 0; i < 5; ++i) {
      for (Index j = 0; j < 4; ++j) {
        const Real expected = k == i ? a(0, j) : 0;
        EXPECT_LT(std::abs(jacobian(k, 5 * j + i) - expected), kTolerance);
      }
    }
  }
}

TEST_F(NotesS1, ChainOfJacobiansFromTheLossToOneWeight) {
  // dL/dw_ij[1] = dL/da[3] . da[3]/dz[3] . dz[3]/da[2] . ... . da[1]/dz[1] . dz[1]/dw_ij[1].
  const Matrix row = loss_by_output() * diagonal(slopes(3)) * weight(3) * diagonal(slopes(2)) *
                     weight(2) * diagonal(slopes(1));
  const Matrix found = got(w[0]);
  for (Index i = 0; i < 4; ++i) {
    for (Index j = 0; j < 3; ++j) {
      Matrix column(4, 1);
      column(i, 0) = activation(0)(0, j);
      EXPECT_LT(std::abs(found(j, i) - (row * column)(0, 0)), kTolerance);
    }
  }
}

TEST_F(NotesS1, WeightGradientIsAnOuterProduct) {
  // dL/dW[l] = (dL/dz[l])^T (a[l-1])^T.
  for (std::size_t l = 1; l <= 3; ++l) {
    const Matrix outer = delta(l).transposed() * activation(l - 1);
    EXPECT_LT(distance(got(w[l - 1]).transposed(), outer), kTolerance) << l;
    EXPECT_LT(distance(got(b[l - 1]), delta(l)), kTolerance) << l;
  }
}

TEST_F(NotesS1, WorkedCaseOfTwoWeightLayers) {
  // X = (a[3] - y) W[3] (elementwise *) g'(z[2]),  dL/dW[2] = X^T a[1]^T.
  const Matrix residual(1, 1, {activation(3)(0, 0) - 1});
  const Matrix x_row = elementwise_product(residual * weight(3), slopes(2));
  EXPECT_LT(distance(got(w[1]).transposed(), x_row.transposed() * activation(1)), kTolerance);
  // The logistic output and the cross-entropy together leave a[3] - y.
  EXPECT_LT(distance(got(z3), residual), kTolerance);
}

TEST_F(NotesS1, DeltaRecursion) {
  // delta[l-1] = delta[l] W[l] diag(g'(z[l-1])), right to left; and on to the input.
  EXPECT_LT(distance(got(z3), delta(3)), kTolerance);
  const Matrix found3 = got(z3), found2 = got(z2), found1 = got(z1);
  EXPECT_LT(distance(found2, found3 * weight(3) * diagonal(slopes(2))), kTolerance);
  EXPECT_LT(distance(found1, found2 * weight(2) * diagonal(slopes(1))), kTolerance);
  EXPECT_LT(distance(got(x), found1 * weight(1)), kTolerance);
  EXPECT_LT(distance(got(a2), delta(3) * weight(3)), kTolerance);
}

TEST_F(NotesS1, FullJacobianOfTheNetworkByItsInput) {
  // df/dx in R^{m x n}, of two outputs of the network.
  const Matrix hidden = diagonal(slopes(2)) * weight(2) * diagonal(slopes(1)) * weight(1);
  EXPECT_LT(distance(full(a2, x), hidden), kTolerance);
  EXPECT_LT(distance(full(a3, x), diagonal(slopes(3)) * weight(3) * hidden), kTolerance);
  const Tensor per_row = jacobian(graph, a2, x, feed, JacobianMode::kReverse);
  EXPECT_EQ(per_row.shape(), Shape({1, 5, 3}));
  EXPECT_LT(distance(from_tensor(per_row.view()), hidden), kTolerance);
}

TEST_F(NotesS1, DifferencesAgree) {
  const GradientReport report =
      check_gradients(graph, loss, feed, {.with_respect_to = {x, w[0], w[1], w[2]}});
  EXPECT_TRUE(report.ok()) << report.to_text();
}

// Logistic regression h(x) = logistic(w x + b) on five examples; the loss is the negative log
// likelihood, so every sign of the notes turns.
class NotesS2 : public ::testing::Test {
 protected:
  NotesS2() {
    for (Index i = 0; i < 5; ++i) {
      labels.as<double>()(i, 0) = i % 2 == 0 ? 1 : 0;
      for (Index j = 0; j < 3; ++j) {
        rows.as<double>()(i, j) = 0.3 * static_cast<double>((7 * i + 5 * j) % 6) - 0.8;
      }
    }
    feed.inputs = {{x, rows.view()}, {t, labels.view()}};
    feed.parameters = &parameters;
  }

  // [y(i) - h(x(i))] of every example, from their last layer's input.
  std::array<Real, 5> residuals(const Matrix& input, Value weights, Value bias) const {
    const Matrix scores = input * from_tensor(parameters.view(weights));
    std::array<Real, 5> result{};
    for (Index i = 0; i < 5; ++i) {
      const Real h = logistic(scores(i, 0) + from_tensor(parameters.view(bias))(0, 0));
      result[static_cast<std::size_t>(i)] = (i % 2 == 0 ? 1 : 0) - h;
    }
    return result;
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 3}), t = graph.input("t", {kBatch, 1});
  Value w = graph.parameter("w", {3, 1}), b = graph.parameter("b", {1}, uniform(1));
  Value nll = binary_cross_entropy(add_bias(matmul(x, w), b), t, {.reduction = Reduction::kSum});
  // And on top of a hidden layer, where the last layer's input is a.
  Value v = graph.parameter("v", {3, 4}), a = tanh(matmul(x, v));
  Value w_last = graph.parameter("w_last", {4, 1}), b_last = graph.parameter("b_last", {1});
  Value deep =
      binary_cross_entropy(add_bias(matmul(a, w_last), b_last), t, {.reduction = Reduction::kSum});
  Parameters parameters{graph, DType::kFloat64, 23};
  Tensor rows{Shape{5, 3}, DType::kFloat64}, labels{Shape{5, 1}, DType::kFloat64};
  Feed feed;
};

TEST_F(NotesS2, GradientByTheWeights) {
  // The sum over i of [y(i) - h(x(i))] x(i).
  const Matrix input = from_tensor(rows.view());
  const std::array<Real, 5> residual = residuals(input, w, b);
  Matrix expected(3, 1);
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 3; ++j) {
      expected(j, 0) -= residual[static_cast<std::size_t>(i)] * input(i, j);
    }
  }
  EXPECT_LT(distance(from_tensor(gradient(graph, nll, w, feed).view()), expected), kTolerance);
}

TEST_F(NotesS2, GradientByTheInput) {
  // [y(i) - h(x(i))] w, one row for each example.
  const std::array<Real, 5> residual = residuals(from_tensor(rows.view()), w, b);
  const Matrix weights = from_tensor(parameters.view(w));
  Matrix expected(5, 3);
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 3; ++j) {
      expected(i, j) = -residual[static_cast<std::size_t>(i)] * weights(j, 0);
    }
  }
  EXPECT_LT(distance(from_tensor(gradient(graph, nll, x, feed).view()), expected), kTolerance);
}

TEST_F(NotesS2, GradientByTheInputOfTheLastLayer) {
  // (y(i) - a[l]) w[l] of a network, and from there on to the layer below.
  const Matrix hidden =
      (from_tensor(rows.view()) * from_tensor(parameters.view(v))).map([](Real z) {
        return std::tanh(z);
      });
  const std::array<Real, 5> residual = residuals(hidden, w_last, b_last);
  const Matrix weights = from_tensor(parameters.view(w_last));
  Matrix of_a(5, 4), of_v(3, 4);
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 4; ++j) {
      of_a(i, j) = -residual[static_cast<std::size_t>(i)] * weights(j, 0);
      const Real slope = 1 - hidden(i, j) * hidden(i, j);
      for (Index k = 0; k < 3; ++k) {
        of_v(k, j) += of_a(i, j) * slope * from_tensor(rows.view())(i, k);
      }
    }
  }
  EXPECT_LT(distance(from_tensor(gradient(graph, deep, a, feed).view()), of_a), kTolerance);
  EXPECT_LT(distance(from_tensor(gradient(graph, deep, v, feed).view()), of_v), kTolerance);
}

}  // namespace
}  // namespace chainrule
