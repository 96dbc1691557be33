// SPDX-License-Identifier: Apache-2.0
// Second derivatives against differences of the gradient.
#include "chainrule/check/check_hessian.hpp"

#include <gmock/gmock.h>

#include "chainrule/check/check_case.hpp"
#include "chainrule/check/random_feed.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

void multiply(MatrixView<double> view, double factor) {
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) view(i, j) *= factor;
  }
}

/// tanh(x w + b) v against t.
struct Network {
  Graph graph;
  Value x = graph.input("x", {kBatch, 3}), t = graph.input("t", {kBatch, 2});
  Value w = graph.parameter("w", {3, 4}), b = graph.parameter("b", {4}, uniform(1));
  Value v = graph.parameter("v", {4, 2});
  Value y = matmul(tanh(add_bias(matmul(x, w), b)), v);
};

TEST(CheckHessian, ComparesEveryEntryOfASmallOne) {
  Network n;
  const Value loss = mean_squared_error(n.y, n.t);
  const RandomFeed random(loss);
  const GradientReport report =
      check_hessian(n.graph, loss, random.feed(), {.with_respect_to = {n.w, n.b}});
  EXPECT_TRUE(report.ok()) << report.to_text();
  ASSERT_EQ(report.values.size(), 2U);
  EXPECT_EQ(report.values[0].elements, 12);
  EXPECT_EQ(report.values[0].jacobian, 16 * 12);
  EXPECT_EQ(report.values[1].jacobian, 16 * 4);
  EXPECT_EQ(report.values[0].forward_mode.comparisons(), 0);
}

TEST(CheckHessian, RefusesOptionsThatMakeNoSense) {
  Network n;
  const Value loss = mean_squared_error(n.y, n.t);
  const RandomFeed random(loss);
  EXPECT_THROW(check_hessian(n.graph, loss, random.feed(), {.first_step = 0}), ArgumentError);
  EXPECT_THROW(check_hessian(n.graph, loss, random.feed(), {.float32_factor = -1}), ArgumentError);
  EXPECT_THROW(check_hessian(n.graph, {}, random.feed()), ArgumentError);
}

TEST(CheckHessian, SamplesALargeOne) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 40}), w = graph.parameter("w", {40, 30});
  const Value loss = reduce_mean(silu(matmul(x, w)), Axis::kAll);
  const RandomFeed random(loss, {.rows = 8});
  const GradientReport report = check_hessian(graph, loss, random.feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.values.at(1).elements, 48);
  EXPECT_EQ(report.values.at(1).directions, 6);
}

TEST(CheckHessian, RefusesOpsWithoutSecondDerivativesByName) {
  Network n;
  const Value loss = reduce_mean(
      layer_norm(n.y, n.graph.parameter("gamma", {2}, constant(1)), n.graph.parameter("beta", {2})),
      Axis::kAll);
  const RandomFeed random(loss);
  try {
    check_hessian(n.graph, loss, random.feed());
    FAIL() << "expected UnsupportedError";
  } catch (const UnsupportedError& error) {
    EXPECT_THAT(error.what(), HasSubstr("layer_norm"));
  }
}

TEST(CheckHessian, RefusesWhatIsNoScalarAndFloat32) {
  Network n;
  const Value loss = mean_squared_error(n.y, n.t);
  const RandomFeed random(loss);
  EXPECT_THROW(check_hessian(n.graph, n.y, random.feed()), ShapeError);
  EXPECT_THROW(check_hessian(n.graph, loss, random.feed(), {.dtype = DType::kFloat32}),
               ArgumentError);
  EXPECT_THROW(check_hessian(n.graph, loss, random.feed(), {.waive_unresolved = {"z"}}),
               ArgumentError);
}

TEST(CheckHessian, SecondDerivativesThatAreAllZeroMustBeDeclared) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value loss = reduce_sum(scale(x, 3), Axis::kAll);
  const RandomFeed random(loss);
  EXPECT_THAT(check_hessian(graph, loss, random.feed()).failures,
              ElementsAre(HasSubstr("second derivative of x [5, 3]: is zero everywhere")));
  EXPECT_TRUE(check_hessian(graph, loss, random.feed(), {.zero_gradients = {x}}).ok());
}

// Their gradients are right, and only the second order is not.
void expect_second_order_fails(const OpCase& row, const std::string& name) {
  const CaseReport report = check_case(row, {"", 4, 3}, DType::kFloat64);
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.gradients.verdict(), Verdict::kAgree) << report.gradients.to_text();
  EXPECT_EQ(report.second_order.verdict(), Verdict::kDisagree);
  EXPECT_THAT(report.gradients.failures, Each(HasSubstr("second derivative of ")));
  EXPECT_THAT(report.gradients.failures, Contains(HasSubstr("second derivative of " + name)));
  EXPECT_THAT(report.gradients.failures, Each(HasSubstr("forward over reverse gives")));
  EXPECT_TRUE(check_case(row, {"", 4, 3}, DType::kFloat32).ok()) << "float64 alone has it";
}

TEST(SecondOrderOfCases, AWrongBackwardJvpIsCaught) {
  static const OpDef wrong = [] {
    OpDef op = kTanhOp;
    op.backward_jvp[1] = [](const OpContext& context) {
      kTanhOp.backward_jvp[1](context);
      multiply(context.in_gradient_tangent<double>(0), 1 + 1e-6);
    };
    return op;
  }();
  expect_second_order_fails(
      {.op = &wrong,
       .variant = {},
       .build = [](CaseBuilder& b) { return b.graph().apply(wrong, {b.batch("x")}); }},
      "x");
}

TEST(SecondOrderOfCases, AMissingTermOfBackwardJvpIsCaught) {
  // dx = dy f'(x) where dY alone moves.
  static const OpDef wrong = [] {
    OpDef op = kSigmoidOp;
    op.backward_jvp[1] = [](const OpContext& context) {
      OpContext moved = context;
      moved.output_gradient = context.tangents->output_gradient;
      moved.input_gradients = context.tangents->input_gradients;
      kSigmoidOp.backward[1](moved);
    };
    return op;
  }();
  expect_second_order_fails(
      {.op = &wrong,
       .variant = {},
       .build = [](CaseBuilder& b) { return b.graph().apply(wrong, {b.batch("x")}); }},
      "x");
}

TEST(SecondOrderOfCases, AWrongWeightGradientJvpIsCaught) {
  static const OpDef wrong = [] {
    OpDef op = kMatmulOp;
    op.weight_gradient_jvp[1] = [](const OpContext& context, Index first, Index count) {
      kMatmulOp.weight_gradient_jvp[1](context, first, count);
      multiply(context.in_gradient_tangent<double>(1), 1.001);
    };
    return op;
  }();
  expect_second_order_fails(
      {.op = &wrong,
       .variant = {},
       .build =
           [](CaseBuilder& b) {
             return b.graph().apply(wrong, {b.batch("x"), b.parameter("w", {b.columns(), 2})});
           }},
      "w");
}

TEST(SecondOrderOfCases, OpsWithoutItAndKinksAreLeftOut) {
  for (const std::string_view op : {"softmax", "batch_norm"}) {
    for (const CaseReport& report : check_op(op, DType::kFloat64)) {
      EXPECT_THAT(report.properties, Not(Contains("second order")));
      EXPECT_TRUE(report.second_order.values.empty());
    }
  }
  for (const CaseReport& report : check_op("relu", DType::kFloat64)) {
    EXPECT_EQ(report.second_order.values.empty(), report.name == "relu (at the kink)");
  }
}

}  // namespace
}  // namespace chainrule
