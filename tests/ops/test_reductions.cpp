// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/reductions.hpp"

#include <gmock/gmock.h>

#include <limits>

#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::OpCall;
using testing::set;
using testing::values;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// What the executor does with one block: forward into `partial`, then finish without the batch.
void reduce(OpCall& call) {
  call.forward();
  OpContext context = call.context();
  for (std::size_t i = 0; i < call.inputs.size(); ++i) {
    if (i < 2) context.inputs[i].data = nullptr;  // x and the weights are batched
  }
  call.finish(context);
}

class BatchReductionTest : public ::testing::Test {
 protected:
  OpCall plain(const OpDef& op, Index rows) { return {g.apply(op, {x}), rows, DType::kFloat64}; }
  OpCall weighted_mean(Index rows, DType dtype = DType::kFloat64) {
    const Value total = g.input("total", {});
    return {g.apply(kBatchMeanOp, {l, w, total}, {.integer = {1}}), rows, dtype};
  }

  Graph g;
  Value x = g.input("x", {kBatch, 2});
  Value l = g.input("l", {kBatch, 1});
  Value w = g.input("w", {kBatch});
};

TEST_F(BatchReductionTest, SumAndMeanOfColumns) {
  OpCall sum = plain(kBatchSumOp, 3);
  set(sum.inputs[0], {1, 10, 2, 20, 4, 40});
  reduce(sum);
  EXPECT_THAT(values(sum.output), ElementsAre(7, 70));

  OpCall mean = plain(kBatchMeanOp, 4);
  set(mean.inputs[0], {1, 10, 2, 20, 4, 40, 1, 10});
  reduce(mean);
  EXPECT_THAT(values(mean.output), ElementsAre(2, 20));
}

TEST_F(BatchReductionTest, ForwardSetsTheSumsOfItsOwnBlock) {
  OpCall sum = plain(kBatchSumOp, 3);
  set(sum.inputs[0], {1, 10, 2, 20, 4, 40});
  sum.partial = {1e9, 1e9};
  sum.forward(sum.context(1, 2));
  EXPECT_THAT(sum.partial, ElementsAre(6, 60));
}

TEST_F(BatchReductionTest, MeanDividesByTheRowsOfTheBatchNotOfTheBlock) {
  OpCall mean = plain(kBatchMeanOp, 4);
  set(mean.output_gradient, {8, 12});
  mean.backward(mean.context(2, 1));
  EXPECT_THAT(values(mean.gradients[0]), ElementsAre(0, 0, 0, 0, 2, 3, 0, 0));
}

TEST_F(BatchReductionTest, WeightedSum) {
  OpCall sum(g.apply(kBatchSumOp, {x, w}), 3, DType::kFloat64);
  set(sum.inputs[0], {1, 10, 2, 20, 4, 40});
  set(sum.inputs[1], {0.5, 0, 2});
  set(sum.output_gradient, {3, 5});
  reduce(sum);
  sum.backward();
  EXPECT_THAT(values(sum.output), ElementsAre(8.5, 85));
  EXPECT_THAT(values(sum.gradients[0]), ElementsAre(1.5, 2.5, 0, 0, 6, 10));
}

TEST_F(BatchReductionTest, WeightedMeanDividesByTheTotalWeight) {
  OpCall mean = weighted_mean(3);
  set(mean.inputs[0], {2, 3, 5});
  set(mean.inputs[1], {1, 2, 5});
  set(mean.inputs[2], {8});
  set(mean.output_gradient, {4});
  reduce(mean);
  mean.backward();
  EXPECT_THAT(values(mean.output), ElementsAre((2 + 6 + 25) / 8.0));
  EXPECT_THAT(values(mean.gradients[0]), ElementsAre(0.5, 1, 2.5));
}

TEST_F(BatchReductionTest, WeightZeroSelectsEvenInfAndNan) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    SCOPED_TRACE(to_string(dtype));
    Graph local;
    const Value row_losses = local.input("l", {kBatch, 1}), weights = local.input("w", {kBatch, 1});
    const Value total = local.input("total", {});
    OpCall mean(local.apply(kBatchMeanOp, {row_losses, weights, total}, {.integer = {1}}), 4,
                dtype);
    set(mean.inputs[0], {kInf, 3, kNan, -kInf});
    set(mean.inputs[1], {0, 2, 0, 0});
    set(mean.inputs[2], {2});
    set(mean.output_gradient, {1});
    set(mean.gradients[0], {kNan, kNan, kNan, kNan});
    reduce(mean);
    mean.backward();
    EXPECT_THAT(values(mean.output), ElementsAre(3));
    EXPECT_THAT(values(mean.gradients[0]), ElementsAre(0, 1, 0, 0));
  }
}

TEST_F(BatchReductionTest, WeightZeroAddsNothingToAGradient) {
  OpCall sum(g.apply(kBatchSumOp, {l, w}, {.integer = {1}}), 2, DType::kFloat64);
  set(sum.inputs[1], {0, 1});
  set(sum.output_gradient, {kInf});
  set(sum.gradients[0], {5, 5});
  sum.overwrite = 0;
  sum.backward();
  EXPECT_THAT(values(sum.gradients[0]), ElementsAre(5, kInf));
}

TEST_F(BatchReductionTest, TotalWeightZeroGivesLossAndGradientZero) {
  OpCall mean = weighted_mean(2);
  set(mean.inputs[0], {kInf, 3});
  set(mean.output_gradient, {1});
  set(mean.gradients[0], {kNan, kNan});
  reduce(mean);
  mean.backward();
  EXPECT_THAT(values(mean.output), ElementsAre(0));
  EXPECT_THAT(values(mean.gradients[0]), ElementsAre(0, 0));
}

TEST_F(BatchReductionTest, AnUnselectingInfinityStaysVisible) {
  OpCall mean = weighted_mean(2);
  set(mean.inputs[0], {kInf, 3});
  set(mean.inputs[1], {1, 1});
  set(mean.inputs[2], {2});
  reduce(mean);
  EXPECT_THAT(values(mean.output), ElementsAre(kInf));
}

TEST_F(BatchReductionTest, NothingSumsAndAveragesToZero) {
  for (const OpDef* op : {&kBatchSumOp, &kBatchMeanOp}) {
    OpCall call = plain(*op, 0);
    reduce(call);
    call.backward();
    EXPECT_THAT(values(call.output), ElementsAre(0, 0));
  }
}

TEST_F(BatchReductionTest, Float32RowsAreAddedInFloat64) {
  Graph local;
  OpCall sum(local.apply(kBatchSumOp, {local.input("x", {kBatch, 1})}), 3, DType::kFloat32);
  set(sum.inputs[0], {16777216, 1, 1});  // 2^24 swallows 1 in float32
  reduce(sum);
  EXPECT_THAT(values(sum.output), ElementsAre(16777218));
}

TEST(FeatureReductionTest, SumsAndMeansOfRows) {
  Graph g;
  const Value x = g.input("x", {kBatch, 4});
  OpCall sum(reduce_sum(x, Axis::kFeatures), 2, DType::kFloat64);
  OpCall mean(reduce_mean(x, Axis::kFeatures), 2, DType::kFloat64);
  for (OpCall* call : {&sum, &mean}) {
    set(call->inputs[0], {1, 2, 3, 6, -1, 0, 1, 8});
    set(call->output_gradient, {4, 8});
    call->forward();
    call->backward();
  }
  EXPECT_THAT(values(sum.output), ElementsAre(12, 8));
  EXPECT_THAT(values(mean.output), ElementsAre(3, 2));
  EXPECT_THAT(values(sum.gradients[0]), ElementsAre(4, 4, 4, 4, 8, 8, 8, 8));
  EXPECT_THAT(values(mean.gradients[0]), ElementsAre(1, 1, 1, 1, 2, 2, 2, 2));
}

TEST(TotalReductionTest, SumsAndMeansOfAParameter) {
  Graph g;
  const Value w = g.parameter("w", {2, 3});
  OpCall sum(reduce_sum(w, Axis::kAll), 5, DType::kFloat32);
  OpCall mean(reduce_mean(w, Axis::kAll), 5, DType::kFloat32);
  for (OpCall* call : {&sum, &mean}) {
    set(call->inputs[0], {1, 2, 3, 4, 5, 9});
    set(call->output_gradient, {12});
    call->forward();
    call->backward();
  }
  EXPECT_THAT(values(sum.output), ElementsAre(24));
  EXPECT_THAT(values(mean.output), ElementsAre(4));
  EXPECT_THAT(values(sum.gradients[0]), ElementsAre(12, 12, 12, 12, 12, 12));
  EXPECT_THAT(values(mean.gradients[0]), ElementsAre(2, 2, 2, 2, 2, 2));
}

TEST(ReduceTest, AllOfABatchIsFeaturesThenBatch) {
  Graph g;
  const Value all = reduce_mean(g.input("x", {kBatch, 4}), Axis::kAll);
  EXPECT_EQ(all.node().op, &kBatchMeanOp);
  EXPECT_EQ(g.node(all.node().inputs[0]).op, &kFeatureMeanOp);
}

}  // namespace
}  // namespace chainrule
