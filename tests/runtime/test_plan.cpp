// SPDX-License-Identifier: Apache-2.0
// What compile() makes of small graphs, read from the plan's print, and the errors of compile and
// bind. No thread is started.
#include <gmock/gmock.h>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;
using testing::tensor;

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

// One row segment carries a block from the inputs to all row gradients; the loss is finished and
// tested; then tiles of weights get their gradient and update. x has no gradient, so that w1 needs
// no mirror.
TEST(PlanPrint, OfATrainingStep) {
  Mlp net;
  EXPECT_EQ(phases(compile(net.graph, net.training())), R"(
phase 0 RowSegment
  forward xw: x, w1 -> xw
  forward z1: xw, b1 -> z1
  forward a1: z1 -> a1
  forward z2: a1, w2 -> z2
  forward rows: z2, y -> rows, rows saved
  forward loss: rows -> loss parts
phase 1 WholeBatch
  finish loss: loss parts -> loss
  seed loss:  -> d loss
  loss_check loss: loss -> 
phase 2 RowSegment
)");
}

TEST(PlanPrint, OfInference) {
  Mlp net;
  EXPECT_EQ(phases(compile(net.graph, {.mode = Mode::kInference, .outputs = {net.z2}})), R"(
phase 0 RowSegment
  forward xw: x, w1 -> xw
  forward z1: xw, b1 -> z1
  forward a1: z1 -> a1
  forward z2: a1, w2 -> z2
)");
}

TEST(PlanPrint, OfAWeightedLoss) {
  Graph graph;
  const Value x = graph.input("x", {kBatch});
  const Value t = graph.input("t", {kBatch});
  const Value weights = graph.input("weights", {kBatch});
  const Value loss = mean_squared_error(x, t, {.weights = weights});
  EXPECT_EQ(phases(compile(graph, {.loss = loss, .gradients = {x}})), "");
}

TEST(PlanPrint, OfBatchNorm) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value gamma = graph.parameter("gamma", {2}, ones());
  const Value beta = graph.parameter("beta", {2});
  const Value n = graph.rename(batch_norm(matmul(x, graph.parameter("w", {2, 2})), gamma, beta,
                                          graph.state("mean", {2}, zeros()),
                                          graph.state("variance", {2}, ones())),
                               "n");
  CompileOptions options{.loss = reduce_sum(tanh(n), Axis::kAll)};
  options.update =
      UpdateOptions{.def = &testing::kSgdUpdate, .targets = testing::all_parameters(graph)};
  EXPECT_EQ(phases(compile(graph, options)), "");
}

TEST(PlanPrint, AsGraphviz) {
  Mlp net;
  std::puts(compile(net.graph, net.training()).to_graphviz().c_str());
  std::puts(compile(net.graph, net.training()).to_text().c_str());
}

}  // namespace
}  // namespace chainrule
