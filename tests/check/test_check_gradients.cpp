// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_gradients.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "chainrule/check/check_case.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "checked_cases.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr DType kBoth[] = {DType::kFloat32, DType::kFloat64};

// What somebody might do wrong in backward; `Damage::apply` changes what the right one gave.
template <const OpDef& kRight, class Damage, class T>
void damaged_backward(const OpContext& context) {
  kRight.backward[dtype_index(kDTypeOf<T>)](context);
  if (context.wants(Damage::kInput)) Damage::apply(context.in_gradient<T>(Damage::kInput));
}

template <const OpDef& kRight, class Damage>
const OpDef& damaged() {
  static const OpDef def = [] {
    OpDef result = kRight;
    result.backward = {&damaged_backward<kRight, Damage, float>,
                       &damaged_backward<kRight, Damage, double>};
    return result;
  }();
  return def;
}

template <int kFactorNumber>
struct Scaled {
  static constexpr int kInput = kFactorNumber == 2 ? 1 : 0;  // 2: no gradient for input 1
  static constexpr double kFactors[] = {
      1 + 1e-4, -1, 0, 0, 1 + 1e-6, std::numeric_limits<double>::quiet_NaN()};
  template <class T>
  static void apply(MatrixView<T> g) {
    for (Index i = 0; i < g.rows; ++i) {
      for (Index j = 0; j < g.columns; ++j) g(i, j) *= static_cast<T>(kFactors[kFactorNumber]);
    }
  }
};

using SlightlyLarge = Scaled<0>;
using WrongSign = Scaled<1>;
using NoBias = Scaled<2>;
using NoGradient = Scaled<3>;
using OneInAMillion = Scaled<4>;
using NotANumber = Scaled<5>;

struct LastElement {
  static constexpr int kInput = 0;
  template <class T>
  static void apply(MatrixView<T> g) {
    g(g.rows - 1, g.columns - 1) *= T(1.01);
  }
};

template <class T>
void transposed_weight_gradient(const OpContext& context, Index first, Index count) {
  const MatrixView<const T> x = context.input<T>(0), dy = context.out_gradient<T>();
  const MatrixView<T> dw = context.in_gradient<T>(1);
  for (Index i = 0; i < count; ++i) {
    for (Index j = 0; j < dy.columns; ++j) {
      T sum = 0;
      for (Index r = 0; r < x.rows; ++r) sum += x(r, j) * dy(r, first + i);
      dw(i, j) = sum;
    }
  }
}

OpCase case_of(const OpDef& op, std::function<Value(CaseBuilder&)> build) {
  return {.op = &op, .variant = "damaged", .build = std::move(build)};
}

std::vector<OpCase> damaged_cases() {
  static const OpDef transposed = [] {
    OpDef def = kMatmulOp;
    def.weight_gradient = {&transposed_weight_gradient<float>, &transposed_weight_gradient<double>};
    return def;
  }();
  const auto of_x = [](const OpDef& op) {
    return case_of(op, [&op](CaseBuilder& b) { return b.graph().apply(op, {b.batch("x")}); });
  };
  const OpDef& no_bias = damaged<kAddBiasOp, NoBias>();
  return {of_x(damaged<kTanhOp, SlightlyLarge>()),
          of_x(damaged<kSigmoidOp, WrongSign>()),
          of_x(damaged<kSoftplusOp, NoGradient>()),
          of_x(damaged<kSiluOp, NotANumber>()),
          of_x(damaged<kSoftmaxOp, LastElement>()),
          case_of(no_bias,
                  [&no_bias](CaseBuilder& b) {
                    const Value z = b.batch("z"), bias = b.parameter("b", {b.columns()});
                    return b.graph().apply(no_bias, {z, bias});
                  }),
          case_of(transposed, [](CaseBuilder& b) {
            const Value x = b.batch("x");
            return b.graph().apply(transposed, {x, b.parameter("w", {b.columns(), b.columns()})});
          })};
}

TEST(DamagedOps, AreCaught) {
  for (const OpCase& row : damaged_cases()) {
    for (const DType dtype : kBoth) {
      const CaseReport report = check_case(row, {"", 5, 6}, dtype);
      EXPECT_FALSE(report.ok()) << row.name();
      EXPECT_EQ(report.gradients.verdict(), Verdict::kDisagree) << row.name();
      ASSERT_NE(report.gradients.worst(), nullptr);
      EXPECT_GT(report.gradients.worst()->error, report.gradients.worst()->tolerance);
    }
  }
}

TEST(DamagedOps, AreCaughtInLargeTensorsOfWhichOnlySomeElementsAreCompared) {
  const CaseSize large = testing::kSanitized ? CaseSize{"", 19, 17} : CaseSize{"", 67, 61};
  for (const OpCase& row : damaged_cases()) {
    if (row.op->weight_gradient[0] != nullptr) continue;  // 61 x 61 is checked below
    const CaseReport report = check_case(row, large, DType::kFloat64);
    EXPECT_EQ(report.gradients.verdict(), Verdict::kDisagree) << row.name();
  }
  const CaseReport report = check_case(damaged_cases().back(), {"", 7, 61}, DType::kFloat64);
  EXPECT_EQ(report.gradients.values.at(1).verdict, Verdict::kDisagree);
  EXPECT_GT(report.gradients.values.at(1).directions, 0);
}

TEST(DamagedOps, AMillionthTooMuchIsCaughtInFloat64) {
  const OpDef& op = damaged<kTanhOp, OneInAMillion>();
  const OpCase row =
      case_of(op, [&](CaseBuilder& b) { return b.graph().apply(op, {b.batch("x")}); });
  EXPECT_EQ(check_case(row, {"", 5, 6}, DType::kFloat64).gradients.verdict(), Verdict::kDisagree);
}

// A graph with its numbers.
struct Subject {
  Graph graph;
  Tensor x{Shape{4, 3}, DType::kFloat64};
  Parameters parameters;

  Feed feed(DType dtype = DType::kFloat64) {
    if (parameters.size() == 0) parameters = Parameters(graph, dtype, 5);
    Feed feed;
    feed.inputs = {{graph.find("x"), x.view()}};
    feed.parameters = &parameters;
    feed.dtype = dtype;
    return feed;
  }
  Value input() { return graph.input("x", {kBatch, 3}); }
  void fill(double first, double step) {
    for (Index i = 0; i < 12; ++i) {
      x.as<double>()(i / 3, i % 3) = first + step * static_cast<double>(i);
    }
  }
};

TEST(CheckGradients, ReportsWhatWasCompared) {
  Subject s;
  const Value x = s.input(), w = s.graph.parameter("w", {3, 2});
  const Value b = s.graph.parameter("b", {2}, uniform(1));
  const Value y = tanh(add_bias(matmul(x, w), b));
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.verdict(), Verdict::kAgree);
  // Each element of x, w and b in the weighted sum, and in each of the 8 outputs.
  EXPECT_EQ(report.comparisons(), 9 * (12 + 6 + 2));
  ASSERT_EQ(report.values.size(), 3U);
  EXPECT_EQ(report.values[1].name, "w");
  EXPECT_EQ(report.values[1].elements, 6);
  EXPECT_EQ(report.values[1].jacobian, 6 * 8);
  EXPECT_EQ(report.values[1].agree, 6 + 6 * 8);
  EXPECT_THAT(report.values[0].shape, Shape({4, 3}));
  for (const ValueCheck& value : report.values) {
    EXPECT_GT(value.worst.tolerance, 0);
    EXPECT_LT(value.worst.tolerance, 1e-7);
    EXPECT_GT(value.worst.step, 0);
    EXPECT_NE(value.worst.numeric, 0);
  }
  const GradientReport only_w = check_gradients(s.graph, y, s.feed(), {.with_respect_to = {w}});
  EXPECT_EQ(only_w.comparisons(), 9 * 6);
}

TEST(CheckGradients, TheWorstElementIsTheOneThatIsWrong) {
  Subject s;
  const Value y = s.graph.apply(damaged<kTanhOp, LastElement>(), {s.input()});
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  ASSERT_EQ(report.values.size(), 1U);
  EXPECT_EQ(report.values[0].disagree, 2);  // once in the sum, once in its own output
  ASSERT_EQ(report.values[0].failures.size(), 2U);
  EXPECT_EQ(std::max(report.values[0].failures[0].output, report.values[0].failures[1].output), 11);
  const ElementCheck& worst = *report.worst();
  EXPECT_EQ(worst.row, 3);
  EXPECT_EQ(worst.column, 2);
  EXPECT_NEAR(worst.analytic / worst.numeric, 1.01, 1e-9);
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("at (3, 2)")));
}

TEST(CheckGradients, FloatFeedsAndFloatBackward) {
  Subject s;
  const Value x = s.input(), w = s.graph.parameter("w", {3, 40}),
              v = s.graph.parameter("v", {40, 9});
  const Value loss = reduce_mean(matmul(gelu(matmul(x, w)), v), Axis::kAll);
  s.fill(-0.9, 0.17);
  Tensor single = s.x.to(DType::kFloat32);
  Feed feed = s.feed(DType::kFloat32);
  feed.inputs = {{x, single.view()}};
  const GradientReport report =
      check_gradients(s.graph, loss, feed, {.dtype = DType::kFloat32, .max_jacobian = 0});
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.dtype, DType::kFloat32);
  EXPECT_EQ(report.values.at(2).directions, 6);  // 360 elements
  EXPECT_EQ(report.values.at(2).elements, 48);
  EXPECT_EQ(report.values.at(2).float32_only, 360 - 48);
  EXPECT_GT(report.values.at(2).worst.error, 1e-12);  // it was float32 that ran
}

TEST(CheckGradients, ReluAtZeroIsAKinkBetweenItsSlopes) {
  Subject s;
  const Value y = relu(s.input());
  s.fill(-0.5, 0.25);  // element 2 is 0
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.verdict(), Verdict::kKink);
  const ValueCheck& value = report.values.at(0);
  EXPECT_EQ(value.kinks, 2);  // in the sum and in its own output
  EXPECT_EQ(value.agree, 12 + 12 * 12 - 2);
  EXPECT_EQ(value.worst.column, 2);
  EXPECT_EQ(value.worst.analytic, 0);
  const double low = std::min(value.worst.left_slope, value.worst.right_slope);
  const double high = std::max(value.worst.left_slope, value.worst.right_slope);
  EXPECT_NEAR(high - low, 2 * std::abs(value.worst.numeric), 1e-9);
  EXPECT_NEAR(std::min(std::abs(low), std::abs(high)), 0, 1e-9);
}

TEST(CheckGradients, AGradientOutsideTheSlopesOfAKinkDisagrees) {
  Subject s;
  const Value y = s.graph.apply(damaged<kLeakyReluOp, WrongSign>(), {s.input()}, {.real = {0.5}});
  s.fill(0, 0);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_EQ(report.values.at(0).disagree, 2 * 12);
}

TEST(CheckGradients, KinksFailWhenTheyAreNotAccepted) {
  Subject s;
  const Value x = s.input(), y = relu(x);
  s.fill(-0.5, 0.25);
  GradientCheckOptions options{.accept_kinks = false};
  EXPECT_FALSE(check_gradients(s.graph, y, s.feed(), options).ok());
  options.kinks = {x};
  EXPECT_TRUE(check_gradients(s.graph, y, s.feed(), options).ok());
}

TEST(CheckGradients, AGradientOfZeroMustBeDeclared) {
  Subject s;
  const Value x = s.input(), y = scale(x, 0);
  s.fill(1, 0.1);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("zero everywhere")));
  EXPECT_TRUE(check_gradients(s.graph, y, s.feed(), {.zero_gradients = {x}}).ok());
}

TEST(CheckGradients, ADeclaredZeroThatIsNoneDisagrees) {
  Subject s;
  const Value x = s.input(), y = tanh(x);
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(s.graph, y, s.feed(), {.zero_gradients = {x}});
  EXPECT_EQ(report.verdict(), Verdict::kDisagree);
  EXPECT_FALSE(report.ok());
}

TEST(CheckGradients, ABiasInFrontOfBatchNormHasNoGradient) {
  Subject s;
  const Value x = s.input(), b = s.graph.parameter("b", {3}, uniform(1));
  const Value gamma = s.graph.parameter("gamma", {3}, ones());
  const Value beta = s.graph.parameter("beta", {3}, uniform(1));
  const Value mean = s.graph.state("mean", {3}, zeros());
  const Value variance = s.graph.state("variance", {3}, ones());
  const Value y = tanh(batch_norm(add_bias(x, b), gamma, beta, mean, variance));
  s.fill(-0.9, 0.17);
  for (Index i = 0; i < 4; ++i) s.x.as<double>()(i, 1) *= static_cast<double>(i);
  Feed feed = s.feed();
  feed.mode = Mode::kTraining;
  EXPECT_FALSE(check_gradients(s.graph, y, feed).ok());
  const GradientReport report = check_gradients(s.graph, y, feed, {.zero_gradients = {b}});
  EXPECT_TRUE(report.ok()) << report.to_text();
}

TEST(CheckGradients, AnEmptyBatchComparesNothingAndFails) {
  Subject s;
  const Value y = tanh(s.input());
  s.x = Tensor(Shape{0, 3}, DType::kFloat64);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_EQ(report.comparisons(), 0);
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("nothing was compared")));
  EXPECT_EQ(report.worst(), nullptr);
}

TEST(CheckGradients, NothingToDifferentiateFails) {
  static const OpDef opaque = [] {
    OpDef def = kTanhOp;
    def.traits.differentiable_inputs = 0;
    return def;
  }();
  Subject s;
  const Value y = s.graph.apply(opaque, {s.input()});
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_FALSE(report.ok());
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("nothing to differentiate by")));
}

TEST(CheckGradients, NoSamplesAndNoDirectionsFail) {
  Subject s;
  const Value y = tanh(s.input());
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(
      s.graph, y, s.feed(), {.max_jacobian = 0, .max_elements = 2, .samples = 0, .directions = 0});
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("nothing was compared")));
}

TEST(CheckGradients, AnInfiniteOutputFails) {
  Subject s;
  const Value y = exp(s.input());
  s.fill(700, 50);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("not finite")));
}

std::atomic<int> calls{0};

TEST(CheckGradients, ABackwardThatDiffersFromRunToRunFails) {
  static const OpDef restless = [] {
    OpDef def = kTanhOp;
    def.backward[1] = [](const OpContext& context) {
      kTanhOp.backward[1](context);
      context.in_gradient<double>(0)(0, 0) *= 1 + 1e-15 * (1 + calls++);
    };
    return def;
  }();
  Subject s;
  const Value y = s.graph.apply(restless, {s.input()});
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("different bits")));
}

TEST(CheckGradients, RefusesWhatCannotBeDifferentiatedBy) {
  Subject s;
  const Value x = s.input(), hidden = tanh(x), y = sigmoid(hidden);
  const Value stranger = s.graph.parameter("stranger", {3});
  const Feed feed = s.feed();
  EXPECT_THROW(check_gradients(s.graph, y, feed, {.with_respect_to = {hidden}}), ArgumentError);
  EXPECT_THROW(check_gradients(s.graph, y, feed, {.with_respect_to = {stranger}}), ArgumentError);
  EXPECT_THROW(check_gradients(s.graph, y, feed, {.dtype = DType::kInt32}), ArgumentError);
  Graph other;
  EXPECT_THROW(check_gradients(other, y, feed), ArgumentError);
  try {
    check_gradients(s.graph, {}, feed);
    FAIL() << "expected ArgumentError";
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("the output is an empty value"));
  }
}

// The derivative of x - tanh(x), about x^2, adds up 1 and -1 + x^2.
TEST(CheckGradients, TermsThatCancelInFloat32CanBeDeclared) {
  Subject s;
  const Value x = s.input(), y = sub(x, tanh(x));
  s.fill(1e-4, 1e-5);
  EXPECT_TRUE(check_gradients(s.graph, y, s.feed()).ok());
  const GradientReport declared =
      check_gradients(s.graph, y, s.feed(), {.dtype = DType::kFloat32, .float32_terms = 1});
  EXPECT_EQ(declared.values[0].disagree, 0) << declared.to_text();
}

TEST(CheckGradients, SaturationIsUnresolvedAndNeverDisagrees) {
  Subject s;
  const Value y = tanh(s.input());
  s.fill(40, 1);
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << report.to_text();
  EXPECT_EQ(report.values[0].disagree, 0);
  EXPECT_EQ(report.worst()->reason, Reason::kSaturated);
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("saturated")));
  // One saturated element among others is as good as zero.
  s.fill(-0.9, 0.17);
  s.x.as<double>()(1, 1) = 40;
  EXPECT_TRUE(check_gradients(s.graph, y, s.feed()).ok());
}

TEST(CheckGradients, DeadUnitsAgreeWithZero) {
  Subject s;
  const Value w = s.graph.parameter("w", {3, 4}), b = s.graph.parameter("b", {4}, constant(-1));
  const Value v = s.graph.parameter("v", {4, 2}), c = s.graph.parameter("c", {2}, uniform(1));
  const Value x = s.input();
  const Value y = add_bias(matmul(relu(add_bias(matmul(x, w), b)), v), c);
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(s.graph, y, s.feed(), {.with_respect_to = {w, b}});
  EXPECT_EQ(report.values[0].unresolved, 0) << report.to_text();
  EXPECT_EQ(report.values[0].disagree, 0) << report.to_text();
}

TEST(CheckGradients, UnresolvedElementsCanBeWaivedByName) {
  // sqrt as e^(log(x) / 2), at and beside the edge of its domain.
  Subject s;
  const Value x = s.input(), w = s.graph.parameter("w", {3, 2});
  const Value y = matmul(exp(scale(log(x), 0.5)), w);
  s.fill(0.5, 0.25);
  s.x.as<double>()(2, 1) = 1e-320;
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << report.to_text();
  EXPECT_FALSE(report.ok());
  const GradientReport waived = check_gradients(s.graph, y, s.feed(), {.waive_unresolved = {"x"}});
  EXPECT_TRUE(waived.ok()) << waived.to_text();
  EXPECT_GT(waived.values[0].waived, 0);
  EXPECT_EQ(waived.values[0].waived, waived.values[0].unresolved);
  EXPECT_EQ(waived.values[1].waived, 0);
  EXPECT_THROW(check_gradients(s.graph, y, s.feed(), {.waive_unresolved = {"z"}}), ArgumentError);
  EXPECT_THROW(
      check_gradients(s.graph, y, s.feed(), {.with_respect_to = {w}, .waive_unresolved = {"x"}}),
      ArgumentError);
}

TEST(CheckGradients, AWaiverDoesNotCoverWhatDisagreesOrEverything) {
  Subject s;
  const Value wrong = s.graph.apply(damaged<kTanhOp, LastElement>(), {s.input()});
  s.fill(-0.9, 0.17);
  EXPECT_EQ(check_gradients(s.graph, wrong, s.feed(), {.waive_unresolved = {"x"}}).verdict(),
            Verdict::kDisagree);
  const Value saturated = tanh(s.graph.find("x"));
  s.fill(40, 1);
  const GradientReport report =
      check_gradients(s.graph, saturated, s.feed(), {.waive_unresolved = {"x"}, .max_jacobian = 0});
  EXPECT_FALSE(report.ok());
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("no waiver covers")));
}

TEST(CheckGradients, ASmallEntryOfTheJacobianCannotHide) {
  // dy0/dx is wrong by a part in a thousand, and 10^-8 of dy1/dx.
  static const OpDef def = [] {
    OpDef result = kConcatOp;
    result.backward[1] = [](const OpContext& context) {
      kConcatOp.backward[1](context);
      const MatrixView<double> g = context.in_gradient<double>(0);
      for (Index i = 0; i < g.rows; ++i) g(i, 0) *= 1.001;
    };
    return result;
  }();
  Subject s;
  const Value x = s.input();
  const Value small = scale(x, 1e-6), large = scale(x, 1e4);
  const Value right = concat({small, large});
  const Value y = s.graph.apply(def, {small, large}, right.node().attributes);
  s.fill(0.5, 0.25);
  EXPECT_TRUE(check_gradients(s.graph, right, s.feed()).ok());
  const GradientReport report = check_gradients(s.graph, y, s.feed());
  EXPECT_EQ(report.verdict(), Verdict::kDisagree);
  EXPECT_EQ(report.worst()->output % 6, 0);
  EXPECT_TRUE(check_gradients(s.graph, y, s.feed(), {.max_jacobian = 0}).ok());
}

TEST(CheckGradients, TheGradientOfAScalarIsNotWeighted) {
  Subject s;
  const Value loss = reduce_sum(tanh(s.input()), Axis::kAll);
  s.fill(-0.9, 0.17);
  const GradientReport report = check_gradients(s.graph, loss, s.feed());
  const ElementCheck& worst = *report.worst();
  const double x = s.x.as<double>()(worst.row, worst.column);
  EXPECT_NEAR(worst.analytic, 1 - std::pow(std::tanh(x), 2), 1e-15);
}

TEST(CheckGradients, TextNamesValuesAndVerdicts) {
  Subject s;
  const Value y = s.graph.apply(damaged<kTanhOp, WrongSign>(), {s.input()});
  s.fill(-0.9, 0.17);
  const std::string text = check_gradients(s.graph, y, s.feed()).to_text();
  EXPECT_THAT(text, HasSubstr("x [4, 3] float64: 12 elements"));
  EXPECT_THAT(text, HasSubstr("disagree"));
}

}  // namespace
}  // namespace chainrule
