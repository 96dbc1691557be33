// SPDX-License-Identifier: Apache-2.0
// The formulas of the lecture notes, S1 and S2, against explicit products of Jacobians. The notes
// write z = W a with W [m, d]; the library z = a w with w [d, m], so w = W^T.
#include <gtest/gtest.h>

#include <cmath>

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

// x -> z1 = x w1 + b1 -> a1 = tanh -> z2 = a1 w2 + b2 -> y_hat = sigmoid(z2), one example.
class Notes : public ::testing::Test {
 protected:
  Notes() {
    const MatrixView<double> to = example.as<double>();
    for (Index j = 0; j < 3; ++j) to(0, j) = 0.7 - 0.6 * static_cast<double>(j);
    target.as<double>()(0, 0) = 1;
    feed.inputs = {{x, example.view()}, {y, target.view()}};
    feed.parameters = &parameters;
  }

  Matrix parameter(Value value) const { return from_tensor(parameters.view(value)); }
  Matrix input() const { return from_tensor(example.view()); }
  Matrix z1_value() const { return input() * parameter(w1) + parameter(b1); }
  Matrix a1_value() const {
    return z1_value().map([](Real z) { return std::tanh(z); });
  }
  Matrix z2_value() const { return a1_value() * parameter(w2) + parameter(b2); }
  Real prediction() const { return 1 / (1 + std::exp(-z2_value()(0, 0))); }
  Matrix tanh_slopes() const {
    return a1_value().map([](Real a) { return 1 - a * a; });
  }
  // Cross-entropy after a logistic output: dL/dz2 = a - y, a 1 x 1 matrix.
  Matrix delta2() const { return Matrix(1, 1, {prediction() - 1}); }
  // delta1 = delta2 W2 diag(g'(z1)); W2 is w2 transposed.
  Matrix delta1() const { return delta2() * parameter(w2).transposed() * diagonal(tanh_slopes()); }
  Matrix got(Value node) { return from_tensor(gradient(graph, loss, node, feed).view()); }

  Graph graph;
  Value x = graph.input("x", {kBatch, 3});
  Value y = graph.input("y", {kBatch, 1});
  Value w1 = graph.parameter("w1", {3, 4}), b1 = graph.parameter("b1", {4}, uniform(1));
  Value w2 = graph.parameter("w2", {4, 1}), b2 = graph.parameter("b2", {1}, uniform(1));
  Value z1 = add_bias(matmul(x, w1), b1);
  Value a1 = tanh(z1);
  Value z2 = add_bias(matmul(a1, w2), b2);
  Value y_hat = sigmoid(z2);
  Value loss = binary_cross_entropy(z2, y);
  Parameters parameters{graph, DType::kFloat64, 17};
  Tensor example{Shape{1, 3}, DType::kFloat64};
  Tensor target{Shape{1, 1}, DType::kFloat64};
  Feed feed;
};

TEST_F(Notes, S1WeightGradientIsAnOuterProduct) {
  // dL/dW[l] = delta[l]^T a[l-1]^T, so dL/dw[l] = a[l-1] delta[l].
  EXPECT_LT(distance(got(w2), a1_value().transposed() * delta2()), kTolerance);
  EXPECT_LT(distance(got(w1), input().transposed() * delta1()), kTolerance);
  for (Index i = 0; i < 4; ++i) {
    for (Index j = 0; j < 3; ++j) {
      const Real expected = delta1()(0, i) * input()(0, j);
      EXPECT_LT(std::abs(got(w1)(j, i) - expected), kTolerance);
    }
  }
}

TEST_F(Notes, S1JacobianOfAnActivationIsDiagonal) {
  const Matrix full = from_tensor(full_jacobian(graph, a1, z1, feed).view());
  EXPECT_LT(distance(full, diagonal(tanh_slopes())), kTolerance);
  const Matrix slopes = from_tensor(elementwise_derivative(graph, a1, feed).view());
  EXPECT_LT(distance(slopes, tanh_slopes()), kTolerance);
}

TEST_F(Notes, S1DeltaTravelsRightToLeft) {
  EXPECT_LT(distance(got(z2), delta2()), kTolerance);
  EXPECT_LT(distance(got(a1), delta2() * parameter(w2).transposed()), kTolerance);
  EXPECT_LT(distance(got(z1), delta1()), kTolerance);
  EXPECT_LT(distance(got(b1), delta1()), kTolerance);
  EXPECT_LT(distance(got(x), delta1() * parameter(w1).transposed()), kTolerance);
}

TEST_F(Notes, S1JacobianOfTheNetworkIsTheProduct) {
  const Real p = prediction();
  const Matrix slope(1, 1, {p * (1 - p)});
  const Matrix expected =
      slope * parameter(w2).transposed() * diagonal(tanh_slopes()) * parameter(w1).transposed();
  const Tensor per_row = jacobian(graph, y_hat, x, feed);
  EXPECT_EQ(per_row.shape(), Shape({1, 1, 3}));
  EXPECT_LT(distance(from_tensor(per_row.view()), expected), kTolerance);
  const Matrix hidden = from_tensor(jacobian(graph, a1, x, feed).view());
  const Matrix product = diagonal(tanh_slopes()) * parameter(w1).transposed();
  EXPECT_LT(distance(hidden, product), kTolerance);
}

TEST_F(Notes, S2LogisticRegressionGradients) {
  Graph g;
  const Value a = g.input("a", {kBatch, 3}), t = g.input("t", {kBatch, 1});
  const Value w = g.parameter("w", {3, 1}), b = g.parameter("b", {1}, uniform(1));
  const Value z = add_bias(matmul(a, w), b);
  const Value nll = binary_cross_entropy(z, t, {.reduction = Reduction::kSum});
  const Parameters theta(g, DType::kFloat64, 23);
  Tensor rows(Shape{5, 3}, DType::kFloat64), labels(Shape{5, 1}, DType::kFloat64);
  for (Index i = 0; i < 5; ++i) {
    labels.as<double>()(i, 0) = i % 2 == 0 ? 1 : 0;
    for (Index j = 0; j < 3; ++j) {
      rows.as<double>()(i, j) = 0.3 * static_cast<double>((7 * i + 5 * j) % 6) - 0.8;
    }
  }
  Feed data;
  data.inputs = {{a, rows.view()}, {t, labels.view()}};
  data.parameters = &theta;
  const Matrix w_value = from_tensor(theta.view(w)), x_value = from_tensor(rows.view());
  const Real bias = from_tensor(theta.view(b))(0, 0);
  Matrix of_w(3, 1), of_a(5, 3);
  for (Index i = 0; i < 5; ++i) {
    Real score = bias;
    for (Index j = 0; j < 3; ++j) score += x_value(i, j) * w_value(j, 0);
    // The gradient of the log likelihood; the loss is its negative.
    const Real residual = (i % 2 == 0 ? 1 : 0) - 1 / (1 + std::exp(-score));
    for (Index j = 0; j < 3; ++j) {
      of_w(j, 0) -= residual * x_value(i, j);
      of_a(i, j) = -residual * w_value(j, 0);
    }
  }
  EXPECT_LT(distance(from_tensor(gradient(g, nll, w, data).view()), of_w), kTolerance);
  EXPECT_LT(distance(from_tensor(gradient(g, nll, a, data).view()), of_a), kTolerance);
}

}  // namespace
}  // namespace chainrule
