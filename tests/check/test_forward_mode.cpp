// SPDX-License-Identifier: Apache-2.0
// Backward against forward mode: neither needs a step size, and jvp() and backward() are written
// independently of each other. Right ops pass, and a mistake in either is found.
#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/check/check_case.hpp"
#include "chainrule/check/failure_text.hpp"
#include "chainrule/check/random_feed.hpp"
#include "chainrule/ops/ops.hpp"
#include "checked_cases.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Multiplies what jvp or backward of tanh gives; in float32, a part in a million is rounding.
template <class T>
constexpr double kWrongFactor = sizeof(T) == sizeof(float) ? 1 + 1e-3 : 1 + 1e-6;

template <class T>
void multiply(MatrixView<T> view) {
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) view(i, j) *= static_cast<T>(kWrongFactor<T>);
  }
}

template <class T>
void wrong_jvp(const OpContext& context) {
  kTanhOp.jvp[dtype_index(kDTypeOf<T>)](context);
  multiply(context.out_tangent<T>());
}

template <class T>
void wrong_backward(const OpContext& context) {
  kTanhOp.backward[dtype_index(kDTypeOf<T>)](context);
  multiply(context.in_gradient<T>(0));
}

OpDef tanh_with_wrong_jvp() {
  OpDef op = kTanhOp;
  op.jvp = {&wrong_jvp<float>, &wrong_jvp<double>};
  return op;
}

OpDef tanh_with_wrong_backward() {
  OpDef op = kTanhOp;
  op.backward = {&wrong_backward<float>, &wrong_backward<double>};
  return op;
}

OpCase case_of(const OpDef& op) {
  return {.op = &op, .variant = {}, .build = [&op](CaseBuilder& b) {
            return b.graph().apply(op, {b.batch("x")});
          }};
}

TEST(ForwardMode, ComparesProductsAndWholeJacobiansOfEveryCase) {
  for (const OpCase& row : op_cases()) {
    double largest = 0;
    for (const CaseSize& size : testing::checked_sizes()) {
      SCOPED_TRACE(row.name() + ", " + std::string(size.name));
      const CaseInstance instance(row, size, DType::kFloat64);
      GradientCheckOptions options;
      options.zero_gradients = instance.zero_gradients();
      options.max_elements = options.directions = 0;
      options.samples = 1;  // of differences, which test_check_op.cpp looks at
      const GradientReport report =
          check_gradients(instance.graph(), instance.output(), instance.feed(), options);
      EXPECT_THAT(report.without_forward_mode, IsEmpty());
      const Index outputs = instance.output().shape().with_batch(size.rows).elements();
      for (const ValueCheck& value : report.values) {
        const ForwardCheck& forward = value.forward_mode;
        const Index entries = outputs * value.shape.elements();
        EXPECT_EQ(forward.products, 4);
        EXPECT_EQ(forward.jacobian, entries <= options.max_jacobian ? entries : 0);
        EXPECT_EQ(forward.disagree, 0) << report.to_text();
        EXPECT_EQ(forward.unresolved, 0);
        EXPECT_LE(forward.worst.error, forward.worst.tolerance);
        largest = std::max(largest, std::abs(forward.worst.forward));
      }
    }
    EXPECT_GT(largest, 0) << row.name() << ": zeros prove nothing";
  }
}

TEST(ForwardMode, AWrongJvpIsCaught) {
  const OpDef wrong = tanh_with_wrong_jvp();
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const CaseReport report = check_case(case_of(wrong), {"", 5, 6}, dtype);
    const ValueCheck& value = report.gradients.values.at(0);
    EXPECT_FALSE(report.ok());
    EXPECT_EQ(report.gradients.verdict(), Verdict::kDisagree);
    EXPECT_EQ(value.verdict, Verdict::kAgree);
    EXPECT_EQ(value.overall_verdict(), Verdict::kDisagree);
    // In float32 the Jacobian is that of float64, which is as wrong.
    EXPECT_EQ(value.forward_mode.products, 4);
    EXPECT_EQ(value.forward_mode.jacobian, 30 * 30);
    // Of random products, some are sums that nearly cancel.
    EXPECT_GE(value.forward_mode.disagree, 1 + 30);
    EXPECT_GT(value.forward_mode.worst.error, value.forward_mode.worst.tolerance);
    EXPECT_THAT(failure_text(report.gradients), HasSubstr("forward mode of x [5, 6]: 3"));
    EXPECT_THAT(failure_text(report.gradients), HasSubstr("; differences agree with backward\n"));
    EXPECT_THAT(report.gradients.to_text(), HasSubstr(": disagree; forward mode: 904 products, 3"));
    EXPECT_THAT(report.gradients.to_text(), Not(HasSubstr(": agree")));
  }
}

TEST(ForwardMode, AWrongJvpOfOneOpInAGraphIsCaught) {
  const OpDef wrong = tanh_with_wrong_jvp();
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4}), w = graph.parameter("w", {4, 3});
  const Value v = graph.parameter("v", {3, 2}, uniform(1));
  const Value loss = reduce_mean(matmul(graph.apply(wrong, {matmul(x, w)}), v), Axis::kAll);
  const RandomFeed random(loss);
  const GradientReport report = check_gradients(graph, loss, random.feed());
  ASSERT_EQ(report.values.size(), 3U);
  EXPECT_GT(report.values[0].forward_mode.disagree, 0);
  EXPECT_GT(report.values[1].forward_mode.disagree, 0);
  EXPECT_EQ(report.values[2].forward_mode.disagree, 0) << "v does not move it";
  EXPECT_THAT(report.failures,
              ElementsAre(HasSubstr("forward mode of x"), HasSubstr("forward mode of w")));
}

TEST(ForwardMode, AWrongBackwardIsCaught) {
  const OpDef wrong = tanh_with_wrong_backward();
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const CaseReport report = check_case(case_of(wrong), {"", 5, 6}, dtype);
    EXPECT_GE(report.gradients.values.at(0).forward_mode.disagree, 1 + 30);
    EXPECT_THAT(failure_text(report.gradients),
                HasSubstr(" of 904 products disagree with backward too\n"));
  }
}

// The one element that differences of a few do not look at.
TEST(ForwardMode, ProductsSeeEveryElementOfALargeGradient) {
  static const OpDef wrong = [] {
    OpDef op = kTanhOp;
    op.backward[1] = [](const OpContext& context) {
      kTanhOp.backward[1](context);
      const bool last = context.first_row + context.rows == context.batch_rows;
      const MatrixView<double> g = context.in_gradient<double>(0);
      if (last) g(g.rows - 1, 3) *= 1 + 1e-6;
    };
    return op;
  }();
  Graph graph;
  const Value y = graph.apply(wrong, {graph.input("x", {kBatch, 61})});
  const RandomFeed random(y, {.rows = 67});
  const GradientCheckOptions few{.samples = 3, .directions = 0};
  const GradientReport report = check_gradients(graph, y, random.feed(), few);
  const ValueCheck& value = report.values.at(0);
  EXPECT_EQ(value.verdict, Verdict::kAgree);
  EXPECT_EQ(value.forward_mode.products, 4);
  EXPECT_EQ(value.forward_mode.jacobian, 0);
  EXPECT_EQ(value.forward_mode.disagree, 4);
  EXPECT_FALSE(report.ok());
}

TEST(ForwardMode, SidesWithBackwardWhereForwardIsWrong) {
  static const OpDef wrong = [] {
    OpDef op = kTanhOp;
    op.traits.backward_reads = {.inputs = kAllInputs, .output = true};
    op.forward[1] = [](const OpContext& context) {
      kSiluOp.forward[1](context);
      // What backward reads is tanh's.
    };
    op.backward[1] = [](const OpContext& context) {
      const MatrixView<const double> x = context.input<double>(0);
      const MatrixView<const double> dy = context.out_gradient<double>();
      const MatrixView<double> dx = context.in_gradient<double>(0);
      for (Index i = 0; i < x.rows; ++i) {
        for (Index j = 0; j < x.columns; ++j) {
          const double y = std::tanh(x(i, j));
          dx(i, j) = (context.accumulates(0) ? dx(i, j) : 0) + dy(i, j) * (1 - y * y);
        }
      }
    };
    return op;
  }();
  const CaseReport report = check_case(case_of(wrong), {"", 3, 4}, DType::kFloat64);
  EXPECT_EQ(report.gradients.values.at(0).forward_mode.disagree, 0);
  EXPECT_THAT(failure_text(report.gradients),
              HasSubstr("forward mode: all 148 products agree with backward\n"));
}

TEST(ForwardMode, AnOpWithoutJvpIsNamedAndChecksNothingElseLess) {
  static const OpDef without = [] {
    OpDef op = kTanhOp;
    op.name = "tanh_without_jvp";
    op.jvp = {};
    return op;
  }();
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value w = graph.parameter("w", {4, 3}, uniform(1));
  const Value y = matmul(graph.apply(without, {x}), w);
  const RandomFeed random(y);
  const GradientReport report = check_gradients(graph, y, random.feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_THAT(report.without_forward_mode, HasSubstr("tanh_without_jvp"));
  EXPECT_THAT(report.without_forward_mode, HasSubstr("has no jvp"));
  EXPECT_THAT(report.to_text(), HasSubstr("\nwithout forward mode: "));
  EXPECT_EQ(report.values[0].forward_mode.comparisons(), 0);
  EXPECT_EQ(report.values[0].overall_verdict(), Verdict::kAgree);
  EXPECT_GT(report.values[1].forward_mode.comparisons(), 0);
}

// Gradients of saturated units, of differences of large numbers and behind many layers are far
// less exact than their digits; nothing of that is anybody's mistake.
TEST(ForwardMode, RoundingIsNoDisagreement) {
  for (std::uint64_t seed = 1; seed <= (testing::kSanitized ? 1 : 3); ++seed) {
    Graph graph;
    const Value x = graph.input("x", {kBatch, 6});
    Value h = x;
    for (int layer = 0; layer < 3; ++layer) {
      const std::string number = std::to_string(layer);
      const Value w = graph.parameter("w" + number, {6, 6}, uniform(3));
      h = add(tanh(matmul(h, w)), scale(h, 0.5));
    }
    const Value far = add_bias(scale(h, 1e-3), graph.parameter("b", {6}, constant(100)));
    const Value gain = graph.parameter("gain", {6}, constant(1));
    const Value shift = graph.parameter("shift", {6}, uniform(1));
    const Value logits = scale(layer_norm(far, gain, shift), 8);
    const Value y = sub(log_softmax(logits), scale(log_softmax(logits), 0.999999));
    const RandomFeed random(y, {.rows = 4, .seed = seed});
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      const GradientReport report = check_gradients(
          graph, y, random.feed(), {.dtype = dtype, .max_elements = 0, .samples = 1, .seed = seed});
      for (const ValueCheck& value : report.values) {
        EXPECT_GT(value.forward_mode.comparisons(), 0);
        EXPECT_EQ(value.forward_mode.disagree, 0) << "seed " << seed << "\n" << report.to_text();
      }
    }
  }
}

// The gradient of a loss of nothing is a difference of two numbers close to 1.
TEST(ForwardMode, ConfidentClassifiersAreNoDisagreement) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Graph graph;
    const Value x = graph.input("x", {kBatch, 4}), w = graph.parameter("w", {4, 3}, uniform(1));
    const Value z = matmul(x, w);
    const RandomFeed random(z, {.rows = 6, .seed = seed});
    const Tensor logits = evaluate(graph, z, random.feed());
    Tensor labels({6, 1}, DType::kInt32);
    for (Index i = 0; i < 6; ++i) {
      for (Index j = 0; j < 3; ++j) {
        const Index best = static_cast<Index>(element(labels.view(), i, 0));
        if (element(logits.view(), i, j) > element(logits.view(), i, best)) {
          set_element(labels.view(), i, 0, static_cast<double>(j));
        }
      }
    }
    const Value loss =
        softmax_cross_entropy(scale(z, 40), graph.labels("y"), {.label_smoothing = 0.0});
    Feed feed = random.feed();
    feed.inputs.emplace_back(graph.find("y"), labels.view());
    const GradientReport report = check_gradients(graph, loss, feed);
    for (const ValueCheck& value : report.values) {
      EXPECT_GT(value.forward_mode.comparisons(), 0);
      EXPECT_EQ(value.forward_mode.disagree, 0) << "seed " << seed << "\n" << report.to_text();
    }
  }
}

TEST(ForwardMode, InfiniteSlopesAreUnresolvedWhereDifferencesAre) {
  // sqrt as e^(log(x) / 2): the slope of log at 1e-320 is infinite.
  Graph graph;
  const Value y = exp(scale(log(graph.input("x", {kBatch, 2})), 0.5));
  const Tensor x = Tensor::from<double>({2, 2}, std::vector<double>{0.5, 1e-320, 0.25, 2});
  const GradientReport report = check_gradients(graph, y, {.inputs = {{graph.find("x"), x}}});
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << report.to_text();
  EXPECT_GT(report.values.at(0).forward_mode.unresolved, 0);
  EXPECT_EQ(report.values.at(0).forward_mode.disagree, 0);
}

TEST(ForwardMode, AValueNamedTwiceIsCheckedOnce) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value y = tanh(x);
  const RandomFeed random(y);
  const GradientReport report =
      check_gradients(graph, y, random.feed(), {.with_respect_to = {x, x}});
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.values.size(), 1U);
}

}  // namespace
}  // namespace chainrule
