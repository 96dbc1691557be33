// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_taylor.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor random_tensor(const Shape& shape, double low, double high, std::uint64_t stream) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> view = tensor.as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) {
      const auto index = static_cast<std::uint64_t>(i * view.columns + j);
      view(i, j) = low + (high - low) * random_uniform({.seed = 3, .stream = stream}, index);
    }
  }
  return tensor;
}

// A right op, whose backward is then off by a factor.
template <const OpDef& kRight>
const OpDef& scaled_by(double factor) {
  static double by = 1;
  by = factor;
  static const OpDef def = [] {
    OpDef result = kRight;
    result.backward[1] = [](const OpContext& context) {
      kRight.backward[1](context);
      const MatrixView<double> g = context.in_gradient<double>(0);
      for (Index i = 0; i < g.rows; ++i) {
        for (Index j = 0; j < g.columns; ++j) g(i, j) *= by;
      }
    };
    return result;
  }();
  return def;
}

// Two hidden layers, a normalization and a softmax: about 1500 parameters.
class TaylorTest : public ::testing::Test {
 protected:
  Value network(const OpDef& activation) {
    const Value hidden = graph.apply(activation, {add_bias(matmul(x, w1), b1)});
    const Value normal = layer_norm(add_bias(matmul(hidden, w2), b2), gamma, beta);
    return softmax_cross_entropy(matmul(relu(normal), w3), labels);
  }
  Feed feed() {
    parameters = Parameters(graph, DType::kFloat64, 7);
    Feed feed;
    feed.inputs = {{x, examples.view()}, {labels, classes.view()}};
    feed.parameters = &parameters;
    return feed;
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 12});
  Value labels = graph.labels("labels");
  Value w1 = graph.parameter("w1", {12, 32}), b1 = graph.parameter("b1", {32}, uniform(0.5));
  Value w2 = graph.parameter("w2", {32, 24}), b2 = graph.parameter("b2", {24}, uniform(0.5));
  Value gamma = graph.parameter("gamma", {24}, uniform(1));
  Value beta = graph.parameter("beta", {24}, uniform(1));
  Value w3 = graph.parameter("w3", {24, 5});
  Parameters parameters;
  Tensor examples = random_tensor({9, 12}, -1, 1, 1);
  Tensor classes = [] {
    Tensor tensor(Shape{9, 1}, DType::kInt32);
    for (Index i = 0; i < 9; ++i)
      tensor.as<std::int32_t>()(i, 0) = static_cast<std::int32_t>(i % 5);
    return tensor;
  }();
};

TEST_F(TaylorTest, TheRemainderOfARightGradientIsOfOrderTwo) {
  const Value loss = network(kTanhOp);
  const TaylorReport report = check_taylor(graph, loss, feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.verdict(), Verdict::kAgree);
  ASSERT_EQ(report.directions.size(), 3U);
  for (const TaylorDirection& direction : report.directions) {
    EXPECT_NEAR(direction.order, 2, 0.1);
    EXPECT_NEAR(direction.order_of_change, 1, 0.1);
    EXPECT_NE(direction.slope, 0);
    EXPECT_EQ(direction.steps.size(), 27U);
    EXPECT_EQ(direction.steps[1].t, direction.steps[0].t / 2);
  }
}

TEST_F(TaylorTest, KinksOnTheWayDoNotMatter) {
  const TaylorReport report = check_taylor(graph, network(kReluOp), feed(), {.directions = 20});
  EXPECT_TRUE(report.ok()) << report.to_text();
}

TEST_F(TaylorTest, TheRemainderOfAWrongGradientIsOfOrderOne) {
  for (const double factor : {1.5, -1.0, 1.001, 1 + 1e-4}) {
    const Value loss = network(scaled_by<kTanhOp>(factor));
    const TaylorReport report = check_taylor(graph, loss, feed());
    EXPECT_EQ(report.verdict(), Verdict::kDisagree) << factor << '\n' << report.to_text();
    EXPECT_FALSE(report.ok());
    for (const TaylorDirection& direction : report.directions) {
      EXPECT_NEAR(direction.order, 1, 0.1) << factor;
    }
  }
}

TEST_F(TaylorTest, ALinearFunctionHasNoRemainder) {
  const Value sum = reduce_sum(matmul(x, w1), Axis::kAll);
  const TaylorReport report = check_taylor(graph, sum, feed(), {.with_respect_to = {w1}});
  EXPECT_TRUE(report.ok()) << report.to_text();
  for (const TaylorDirection& direction : report.directions) EXPECT_TRUE(direction.exact);
}

TEST_F(TaylorTest, OutputsOfSeveralElementsAreWeighted) {
  const Value hidden = tanh(add_bias(matmul(x, w1), b1));
  EXPECT_TRUE(check_taylor(graph, hidden, feed()).ok());
}

TEST_F(TaylorTest, AFlatFunctionIsUnresolved) {
  // With one class the loss is constant, and any gradient of order one would be rounding.
  const Value loss = reduce_sum(softmax(matmul(x, graph.parameter("one", {12, 1}))), Axis::kAll);
  const TaylorReport report = check_taylor(graph, loss, feed());
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << report.to_text();
  EXPECT_FALSE(report.ok());
}

TEST_F(TaylorTest, NothingToMoveFails) {
  const TaylorReport none = check_taylor(graph, network(kTanhOp), feed(), {.directions = 0});
  EXPECT_FALSE(none.ok());
  EXPECT_THAT(none.failures, ElementsAre(HasSubstr("nothing was compared")));
  const Value infinite = exp(scale(x, 1e4));
  EXPECT_THAT(check_taylor(graph, infinite, feed()).failures, ElementsAre(HasSubstr("not finite")));
  Graph other;
  EXPECT_THROW(check_taylor(other, infinite, feed()), ArgumentError);
  EXPECT_THROW(check_taylor(graph, infinite, feed(), {.with_respect_to = {w3}}), ArgumentError);
}

TEST_F(TaylorTest, TextShowsTheOrders) {
  const std::string text = check_taylor(graph, network(kTanhOp), feed()).to_text();
  EXPECT_THAT(text, HasSubstr("direction 1: slope "));
  EXPECT_THAT(text, HasSubstr("remainder of order 2.0"));
}

}  // namespace
}  // namespace chainrule
