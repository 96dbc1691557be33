// SPDX-License-Identifier: Apache-2.0
// float32 backward against float64 backward, and the table that says how far apart they may be.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "chainrule/check/check_case.hpp"
#include "chainrule/ops/backward_accuracy.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;

TEST(BackwardAccuracy, TheTableHasEveryOpOnce) {
  std::set<std::string_view> names;
  for (const BackwardAccuracy& row : kBackwardAccuracy) {
    EXPECT_TRUE(names.insert(row.op).second) << row.op;
    EXPECT_EQ(backward_accuracy(row.op).factor, row.factor);
  }
  for (const OpDef* op : all_ops()) EXPECT_TRUE(names.contains(op->name)) << op->name;
  EXPECT_EQ(names.size(), all_ops().size());
}

TEST(BackwardAccuracy, CasesStateTheirTermsWhereTheTableNamesSome) {
  for (const OpCase& row : op_cases()) {
    const bool named = !backward_accuracy(row.op->name).terms.empty();
    // With fixed statistics batch_norm adds up nothing.
    if (row.op == &kBatchNormOp && row.mode == Mode::kInference) continue;
    EXPECT_EQ(row.terms != nullptr, named) << row.name();
  }
}

// test_check_op.cpp asserts the bounds, with all kernels; here, that they are not there to be on
// the safe side.
TEST(BackwardAccuracy, BoundsAreReachedWithinAFactorOfTen) {
  std::map<std::string, double> worst;
  for (const OpCase& row : op_cases()) {
    for (const CaseSize& size : case_sizes()) {
      const CaseReport report = check_case(row, size, DType::kFloat32);
      for (const ValueCheck& value : report.gradients.values) {
        const ElementCheck& check = value.worst;
        if (check.output >= 0 || check.verdict != Verdict::kAgree) continue;
        double& largest = worst[std::string(row.op->name)];
        if (check.tolerance > 0) largest = std::max(largest, check.error / check.tolerance);
      }
    }
  }
  for (const OpDef* op : all_ops()) {
    const double reached = worst.at(std::string(op->name));
    EXPECT_LE(reached, 1) << op->name;
    if (backward_accuracy(op->name).factor <= 1) continue;
    EXPECT_GE(reached, 0.1) << op->name;
  }
}

// tanh, whose backward in float32 is off by some units in the last place.
template <int kUnits>
const OpDef& imprecise() {
  static const OpDef def = [] {
    OpDef result = kTanhOp;
    result.backward[0] = [](const OpContext& context) {
      kTanhOp.backward[0](context);
      const MatrixView<float> g = context.in_gradient<float>(0);
      for (Index i = 0; i < g.rows; ++i) {
        for (Index j = 0; j < g.columns; ++j) g(i, j) *= 1 + kUnits * 0x1p-23f;
      }
    };
    return result;
  }();
  return def;
}

OpCase case_of(const OpDef& op) {
  const auto rows = op_cases();
  OpCase row =
      *std::find_if(rows.begin(), rows.end(), [](const OpCase& r) { return r.op == &kTanhOp; });
  row.op = &op;
  row.build = [&op](CaseBuilder& b) { return b.graph().apply(op, {b.batch("x")}); };
  return row;
}

TEST(Float32, MoreRoundingThanTheContractAllowsIsCaught) {
  const CaseSize size{"", 20, 20};
  EXPECT_TRUE(check_case(case_of(imprecise<0>()), size, DType::kFloat32).ok());
  EXPECT_TRUE(check_case(case_of(imprecise<1>()), size, DType::kFloat32).ok());
  const CaseReport report = check_case(case_of(imprecise<6>()), size, DType::kFloat32);
  EXPECT_EQ(report.gradients.verdict(), Verdict::kDisagree);
  // 6 ULP are 7e-7: nothing that differences of float32 could see.
  EXPECT_LT(report.gradients.worst()->error, 1e-6);
  EXPECT_TRUE(check_case(case_of(imprecise<6>()), size, DType::kFloat64).ok());
}

TEST(Float32, IsComparedWithTheFloat64Gradient) {
  const CaseReport report = check_case(case_of(kTanhOp), {"", 4, 5}, DType::kFloat32);
  ASSERT_TRUE(report.ok()) << report.gradients.to_text();
  const ElementCheck& worst = report.gradients.values.at(0).worst;
  EXPECT_EQ(worst.error, std::abs(worst.analytic - worst.numeric));
  EXPECT_EQ(worst.analytic, static_cast<double>(static_cast<float>(worst.analytic)));
  EXPECT_GT(worst.tolerance, 0x1p-26);
  EXPECT_LT(worst.tolerance, 0x1p-20);
}

// A graph with its numbers in float32.
struct Subject {
  Graph graph;
  Value x = graph.input("x", {kBatch, 4});
  Tensor numbers{Shape{6, 4}, DType::kFloat32};
  Parameters parameters;

  GradientReport check(Value output, GradientCheckOptions options = {}) {
    const MatrixView<float> to = numbers.as<float>();
    for (Index i = 0; i < 6; ++i) {
      for (Index j = 0; j < 4; ++j)
        to(i, j) = 0.1f * static_cast<float>((5 * i + 3 * j) % 11) - 0.45f;
    }
    if (parameters.size() == 0) parameters = Parameters(graph, DType::kFloat32, 5);
    Feed feed;
    feed.inputs = {{x, numbers.view()}};
    feed.parameters = &parameters;
    feed.dtype = DType::kFloat32;
    options.dtype = DType::kFloat32;
    return check_gradients(graph, output, feed, options);
  }
};

TEST(Float32, AKinkWithinRoundingIsNotItsFault) {
  // scale(scale(x, 1/3), 3) - x is zero, or rounding of either sign, where relu decides.
  Subject s;
  const Value third = scale(s.x, 1.0 / 3.0);
  const Value difference = sub(add(third, add(third, third)), s.x);
  const Value y = add(mul(relu(scale(difference, 1e6)), s.x), s.x);
  const GradientReport report = s.check(y);
  EXPECT_LT(report.verdict(), Verdict::kDisagree) << report.to_text();
}

TEST(Float32, AnIllConditionedGradientIsNotItsFault) {
  // e^(20 x) in three steps: relative errors of 20 u |x| and more.
  Subject s;
  const Value y = exp(scale(add(scale(s.x, 17), scale(s.x, 3)), 1));
  EXPECT_TRUE(s.check(mul(y, y)).ok());
  // But a wrong one is.
  const Value wrong = mul(s.graph.apply(imprecise<4000>(), {s.x}), s.x);
  EXPECT_EQ(s.check(wrong).verdict(), Verdict::kDisagree);
}

}  // namespace
}  // namespace chainrule
