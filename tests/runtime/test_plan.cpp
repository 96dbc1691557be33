// SPDX-License-Identifier: Apache-2.0
// What compile() makes of small graphs, read from the plan's print. No thread is started.
#include <gmock/gmock.h>

#include <algorithm>
#include <string>

#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The phases with their instructions, without the table of buffers and their bytes.
std::string phases(const Plan& plan) {
  const std::string text = plan.to_text();
  const auto first = text.find("phase 0");
  std::string result(1, '\n');
  return result.append(text, first, text.find("buffers\n") - first);
}

struct Mlp {
  Mlp() {
    x = graph.input("x", {kBatch, 4});
    y = graph.labels("y");
    w1 = graph.parameter("w1", {4, 8});
    b1 = graph.parameter("b1", {8});
    w2 = graph.parameter("w2", {8, 3});
    z1 = graph.rename(add_bias(graph.rename(matmul(x, w1), "xw"), b1), "z1");
    a1 = graph.rename(relu(z1), "a1");
    z2 = graph.rename(matmul(a1, w2), "z2");
    rows = graph.rename(softmax_cross_entropy(z2, y, {.reduction = Reduction::kNone}), "rows");
    loss = graph.rename(reduce_loss(rows), "loss");
  }

  CompileOptions training() {
    CompileOptions options{.loss = loss};
    options.update =
        UpdateOptions{.def = &testing::kSgdUpdate, .targets = {{w1, 0}, {b1, 1}, {w2, 0}}};
    return options;
  }

  Graph graph;
  Value x, y, w1, b1, w2, z1, a1, z2, rows, loss;
};

// One row segment carries a block from the inputs to the gradients of its rows, since the seed is
// known beforehand; then the loss is finished and tested; then tiles of weights get their gradient
// and their update. Bias and relu are part of the product before them, relu's derivative is part of
// the product behind it. x wants no gradient, so that w1 needs no transpose.
TEST(PlanPrint, OfATrainingStep) {
  Mlp net;
  EXPECT_EQ(phases(compile(net.graph, net.training())), R"(
phase 0 WholeBatch
  seed loss:  -> d loss
phase 1 RowSegment
  forward xw + z1 + a1: x, w1, b1 -> a1
  forward z2: a1, w2 -> z2
  forward rows: z2, y -> rows, rows saved
  forward loss: rows -> loss parts
  backward loss: d loss -> d rows
  backward rows: y, rows saved, d rows -> d z2
  backward z2 + a1: a1, w2 transposed, d z2, a1 -> d z1
  backward z1: d z1 -> d xw, d b1 parts
phase 2 WholeBatch
  finish loss: loss parts -> loss
  loss_check loss: loss -> 
phase 3 WeightTiles
  tiles w2 1 of 8 x 3, gradient in registers, sgd group 0
    weight_gradient z2: a1, d z2 -> 
  tiles b1 1 of 1 x 8, gradient in tile, sgd group 1
    partial_sum z1: d b1 parts -> 
  tiles w1 1 of 4 x 8, gradient in registers, sgd group 0
    weight_gradient xw: x, d xw -> 
when stale transpose w2: w2 -> w2 transposed
)");
}

TEST(PlanPrint, OfAGradientThatIsKept) {
  Mlp net;
  const std::string text = phases(compile(net.graph, {.loss = net.loss, .gradients = {net.x}}));
  EXPECT_THAT(text, HasSubstr("backward xw: x, w1 transposed, d xw -> d x\n"));
  EXPECT_THAT(text, Not(HasSubstr("WeightTiles")));
  EXPECT_THAT(text, Not(HasSubstr("loss_check")));
}

TEST(PlanPrint, OfInference) {
  Mlp net;
  EXPECT_EQ(phases(compile(net.graph, {.mode = Mode::kInference, .outputs = {net.z2}})), R"(
phase 0 RowSegment
  forward xw + z1 + a1: x, w1, b1 -> a1
  forward z2: a1, w2 -> z2
)");
}

TEST(PlanPrint, OfGatheredInputs) {
  Mlp net;
  EXPECT_EQ(phases(compile(net.graph, {.outputs = {net.rows}, .gather = true})), R"(
phase 0 RowSegment
  gather x: x -> x rows
  gather y: y -> y rows
  forward xw + z1 + a1: x rows, w1, b1 -> a1
  forward z2: a1, w2 -> z2
  forward rows: z2, y rows -> rows, rows saved
)");
}

// Tangents travel beside the values: a block carries both. What does not move has a tangent of
// zeros, and values stay where they are until tangents have read them.
TEST(PlanPrint, OfForwardMode) {
  Mlp net;
  const Plan plan =
      compile(net.graph, {.tangents = {net.x, net.w2}, .output_tangents = {net.z2, net.loss}});
  EXPECT_EQ(phases(plan), R"(
phase 0 WholeBatch
  clear w1:  -> t w1
  clear b1:  -> t b1
phase 1 RowSegment
  forward xw: x, w1 -> xw
  jvp xw: x, w1, xw, tangent of x, t w1 -> t xw
  forward z1: xw, b1 -> z1
  jvp z1: xw, b1, z1, t xw, t b1 -> t z1
  forward a1: z1 -> a1
  jvp a1: z1, a1, t z1 -> t a1
  forward z2: a1, w2 -> z2
  jvp z2: a1, w2, z2, t a1, tangent of w2 -> t z2
  forward rows: z2, y -> rows, rows saved
  jvp rows: z2, y, rows, rows saved, t z2 -> t rows
  forward loss: rows -> loss parts
phase 2 WholeBatch
  finish loss: loss parts -> loss
  jvp loss: rows, loss, t rows -> t loss
)");
  const std::string dot = plan.to_graphviz();
  EXPECT_THAT(dot, HasSubstr("i1_3 [label=\"jvp z1\"];"));
  EXPECT_THAT(dot, HasSubstr("i1_1 -> i1_3 [label=\"t xw\"];"));
}

// The mean divides by the sum of all weights, which therefore ends a phase of its own.
TEST(PlanPrint, OfAWeightedLoss) {
  Graph graph;
  const Value x = graph.input("x", {kBatch});
  const Value t = graph.input("t", {kBatch});
  const Value weights = graph.input("weights", {kBatch});
  const Value loss = graph.rename(mean_squared_error(x, t, {.weights = weights}), "loss");
  EXPECT_EQ(phases(compile(graph, {.loss = loss, .gradients = {x}})), R"(
phase 0 WholeBatch
  seed loss:  -> d loss
phase 1 RowSegment
  forward mean_squared_error_3: x, t -> mean_squared_error_3
  forward batch_sum_4: weights -> batch_sum_4 parts
phase 2 WholeBatch
  finish batch_sum_4: batch_sum_4 parts -> batch_sum_4
phase 3 RowSegment
  forward loss: mean_squared_error_3, weights, batch_sum_4 -> loss parts
  backward loss: weights, batch_sum_4, d loss -> d mean_squared_error_3
  backward mean_squared_error_3: x, t, d mean_squared_error_3 -> d x
phase 4 WholeBatch
  finish loss: batch_sum_4, loss parts -> loss
)");
}

// Batch statistics end the row segments before them, forwards and backwards; running statistics are
// written when nothing can fail any more.
TEST(PlanPrint, OfBatchNorm) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value w = graph.parameter("w", {2, 1});
  const Value gamma = graph.parameter("gamma", {1}, ones());
  const Value beta = graph.parameter("beta", {1});
  const Value xw = graph.rename(matmul(x, w), "xw");
  const Value n = batch_norm(xw, gamma, beta, graph.state("mean", {1}, zeros()),
                             graph.state("variance", {1}, ones()));
  graph.rename(n, "n");
  const Value a = graph.rename(tanh(n), "a");
  CompileOptions options{.loss = graph.rename(reduce_sum(a, Axis::kBatch), "loss")};
  options.update =
      UpdateOptions{.def = &testing::kSgdUpdate, .targets = testing::all_parameters(graph)};
  EXPECT_EQ(phases(compile(graph, options)), R"(
phase 0 WholeBatch
  seed loss:  -> d loss
phase 1 RowSegment
  forward xw: x, w -> xw
  backward loss: d loss -> d a
phase 2 WholeBatch
  forward n: xw, gamma, beta, mean, variance -> n, n saved
phase 3 RowSegment
  forward a: n -> a
  forward loss: a -> loss parts
  backward a: a, d a -> d n
phase 4 WholeBatch
  finish loss: loss parts -> loss
  backward n: xw, gamma, mean, variance, n saved, d n -> d xw, d gamma, d beta
  loss_check loss: loss -> 
phase 5 WeightTiles
  tiles beta 1 of 1 x 1, gradient in workspace, sgd group 0
  tiles gamma 1 of 1 x 1, gradient in workspace, sgd group 0
  tiles w 1 of 2 x 1, gradient in registers, sgd group 0
    weight_gradient xw: x, d xw -> 
phase 6 WholeBatch
  commit n: gamma, beta, mean, variance, n saved -> 
)");
}

// A wide input and few outputs: the weights' gradient is made block by block, so that the input is
// read once.
TEST(PlanPrint, OfAGlm) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 128});
  const Value w = graph.parameter("w", {128, 1});
  const Value z = graph.rename(matmul(x, w), "z");
  const Value loss = graph.rename(reduce_sum(z, Axis::kBatch), "loss");
  EXPECT_EQ(phases(compile(graph, {.loss = loss, .gradients = {w}})), R"(
phase 0 WholeBatch
  seed loss:  -> d loss
phase 1 RowSegment
  forward z: x, w -> z
  forward loss: z -> loss parts
  backward loss: d loss -> d z
  weight_gradient z: x, d z -> d w parts
phase 2 WeightTiles
  tiles w 2 of 112 x 1, gradient in workspace
    partial_sum z: d w parts -> 
phase 3 WholeBatch
  finish loss: loss parts -> loss
)");
}

// An op whose weight gradient may throw gets it in a phase of its own, before any update.
TEST(PlanPrint, OfAWeightGradientThatMayFail) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value w = graph.parameter("w", {2, 1});
  const Value d = graph.rename(testing::fragile_dot(x, w), "d");
  CompileOptions options{.loss = graph.rename(reduce_sum(d, Axis::kBatch), "loss")};
  options.update = UpdateOptions{.def = &testing::kSgdUpdate, .targets = {{w}}};
  const std::string text = phases(compile(graph, options));
  const auto gradient = text.find("gradient in workspace\n    weight_gradient d");
  const auto check = text.find("loss_check");
  const auto update = text.find("gradient in workspace, sgd group 0");
  ASSERT_NE(update, std::string::npos) << text;
  EXPECT_LT(gradient, update);
  EXPECT_LT(check, update);
}

TEST(PlanPrint, NamesDtypeModeKernelsAndMemory) {
  Mlp net;
  const Plan plan =
      compile(net.graph, {.dtype = DType::kFloat64, .mode = Mode::kInference, .outputs = {net.z2}});
  const std::string text = plan.to_text();
  EXPECT_THAT(text, ::testing::StartsWith("plan float64 inference " +
                                          std::string(plan.kernels().architecture) + " gemm=auto"));
  EXPECT_THAT(text, ::testing::ContainsRegex("  z2 +batch +batch x 3 float64"));
  EXPECT_THAT(text, ::testing::ContainsRegex("  a1 +block +batch x 8 float64"));
  EXPECT_THAT(text, ::testing::ContainsRegex("  w1 +parameter +4 x 8 float64"));
}

TEST(PlanPrint, AsGraphviz) {
  Mlp net;
  const std::string dot = compile(net.graph, net.training()).to_graphviz();
  EXPECT_THAT(dot, ::testing::StartsWith("digraph plan {\n"));
  EXPECT_EQ(std::count(dot.begin(), dot.end(), '{'), std::count(dot.begin(), dot.end(), '}'));
  for (const char* part : {
           "label=\"1 RowSegment\"",
           "label=\"3 WeightTiles\"",
           "i1_0 [label=\"forward xw + z1 + a1\"];",
           "i3_0 [label=\"tiles w2\"];",
           "i1_1 -> i1_2 [label=\"z2\"];",    // between instructions
           "i1_5 -> i3_0 [label=\"d z2\"];",  // from a block's work to a weight tile
           "i2_0 -> i2_1 [label=\"loss\"];",
       }) {
    EXPECT_THAT(dot, HasSubstr(part));
  }
}

}  // namespace
}  // namespace chainrule
