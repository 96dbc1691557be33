// SPDX-License-Identifier: Apache-2.0
// What shares memory must not be seen: a plan that keeps everything against one that keeps nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using testing::bytes;
using testing::random_labels;
using testing::random_tensor;

constexpr Index kRows = 77;

/// Chains of ops that may work in place, with values that are read once, twice, and much later.
struct Chains {
  Chains() {
    x = graph.input("x", {kBatch, 12});
    const Value w = graph.parameter("w", {12, 12});
    const Value b = graph.parameter("b", {12});
    Value h = add_bias(matmul(x, w), b);
    const Value early = h;
    h = relu(scale(h, 1.5));
    h = dropout(tanh(h), 0.2);
    h = mul(sigmoid(h), identity(h));
    h = add(h, softplus(early));
    h = sub(elu(h), leaky_relu(h));
    h = layer_norm(h, graph.parameter("gamma", {12}, ones()), graph.parameter("beta", {12}));
    h = batch_norm(h, graph.parameter("g2", {12}, ones()), graph.parameter("b2", {12}),
                   graph.state("m", {12}, zeros()), graph.state("v", {12}, ones()));
    h = add(silu(h), add(gelu(h), gelu_tanh(h)));
    h = concat({slice(h, 0, 5), softmax(slice(h, 5, 7))});
    h = add(h, add(early, early));
    h = log_softmax(matmul(h, w));
    loss = add(reduce_mean(mul(h, h), Axis::kAll), reduce_sum(mul(b, b), Axis::kAll));
  }

  Graph graph;
  Value x, loss;
};

std::vector<Value> nodes(Graph& graph, bool differentiable) {
  std::vector<Value> all;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.size()); ++id) {
    if (differentiable && graph.node(id).kind == NodeKind::kState) continue;
    all.emplace_back(&graph, id);
  }
  return all;
}

bool depends_on(Value value, Value on) {
  if (value == on) return true;
  const std::vector<NodeId>& inputs = value.node().inputs;
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](NodeId input) { return depends_on(Value(value.graph(), input), on); });
}

std::string gradient_bytes(Graph& graph, const Workspace& workspace) {
  std::string all;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.size()); ++id) {
    if (graph.node(id).kind == NodeKind::kParameter) all += bytes(workspace.gradient({&graph, id}));
  }
  return all;
}

TEST(InPlace, KeepingEverythingChangesNothing) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    Chains c;
    const Tensor in = random_tensor({kRows, 12}, dtype, 4);
    const Parameters parameters(c.graph, dtype, 1);
    const auto run = [&](const CompileOptions& options) {
      const Plan plan = compile(c.graph, options);
      Workspace workspace(plan, kRows);
      Bindings bindings(plan);
      bindings.input(c.x, in).parameters(parameters).random({.seed = 1, .stream = 2});
      Executor().run(workspace, bindings);
      Executor().run(workspace, bindings);  // on memory that holds the first run's values
      return workspace;
    };
    CompileOptions little{.dtype = dtype, .loss = c.loss};
    for (const Value& value : nodes(c.graph, true)) {
      if (value.node().kind == NodeKind::kParameter) little.gradients.push_back(value);
    }
    CompileOptions everything{.dtype = dtype, .loss = c.loss};
    everything.outputs = nodes(c.graph, false);
    everything.gradients = nodes(c.graph, true);
    const Workspace a = run(little);
    const Workspace b = run(everything);
    EXPECT_EQ(a.loss(), b.loss());
    EXPECT_TRUE(gradient_bytes(c.graph, a) == gradient_bytes(c.graph, b));

    // Each kept value is what a plan computes that wants this one alone.
    for (const Value& value : nodes(c.graph, false)) {
      if (!depends_on(value, c.x)) continue;
      const Workspace alone = run({.dtype = dtype, .outputs = {value}});
      EXPECT_TRUE(bytes(alone.output(value)) == bytes(b.output(value))) << value.node().name;
    }
    for (const Value& value : nodes(c.graph, true)) {
      const Workspace alone = run({.dtype = dtype, .loss = c.loss, .gradients = {value}});
      EXPECT_TRUE(bytes(alone.gradient(value)) == bytes(b.gradient(value))) << value.node().name;
    }
  }
}

TEST(InPlace, SavesMemory) {
  Graph graph;
  Value h = graph.input("x", {kBatch, 16});
  for (int i = 0; i < 10; ++i) h = relu(h);
  const Plan plan = compile(graph, {.mode = Mode::kInference, .outputs = {h}});
  // One output of 64 bytes a row and nothing else that grows with the batch.
  EXPECT_EQ(plan.workspace_bytes(2048, 1) - plan.workspace_bytes(1024, 1), 1024 * 64);
  EXPECT_LE(plan.workspace_bytes(1024, 1), 1024 * 64 + 2 * Plan::block_rows(1024) * 64);
}

TEST(WorkspaceBytes, OfInferenceGrowWithTheBatchByItsOutputsAlone) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 100});
  Value h = x;
  for (const char* name : {"w1", "w2", "w3"}) {
    h = gelu(matmul(h, graph.parameter(name, {100, 100})));
  }
  const Value y = slice(h, 0, 10);
  const Plan plan = compile(graph, {.mode = Mode::kInference, .outputs = {y}});
  EXPECT_EQ(plan.workspace_bytes(1'000'000, 1) - plan.workspace_bytes(100'000, 1), 900'000 * 64);
  // A second worker costs its stripe, not another batch.
  const Index second = plan.workspace_bytes(1'000'000, 2) - plan.workspace_bytes(1'000'000, 1);
  EXPECT_GT(second, 0);
  EXPECT_LE(second, 2 * plan.max_stripe_rows(1'000'000) * 448);
}

TEST(WorkspaceBytes, OfTrainingReuseMemoryOfBlocks) {
  Chains c;
  CompileOptions little{.loss = c.loss};
  CompileOptions everything{.loss = c.loss};
  for (const Value& value : nodes(c.graph, true)) {
    if (value.node().kind == NodeKind::kParameter) little.gradients.push_back(value);
  }
  everything.outputs = nodes(c.graph, false);
  everything.gradients = nodes(c.graph, true);
  EXPECT_LT(2 * compile(c.graph, little).workspace_bytes(1000, 1),
            compile(c.graph, everything).workspace_bytes(1000, 1));
}

// ---- batch invariance

struct Scorer {
  Scorer() {
    x = graph.input("x", {kBatch, 37});
    id = graph.labels("id");
    Value h = concat({x, embedding(id, graph.parameter("table", {11, 8}, normal(1)))});
    h = add_bias(matmul(h, graph.parameter("w1", {45, 130})), graph.parameter("b1", {130}));
    h = dropout(gelu(h), 0.5);
    h = batch_norm(h, graph.parameter("g", {130}, normal(1)), graph.parameter("b", {130}),
                   graph.state("m", {130}, normal(1)), graph.state("v", {130}, constant(2)));
    h = layer_norm(h, graph.parameter("s", {130}, ones()), graph.parameter("t", {130}));
    h = tanh(matmul(h, graph.parameter("w2", {130, 19})));
    y = softmax(matmul(h, graph.parameter("w3", {19, 5})));
  }

  Graph graph;
  Value x, id, y;
};

class BatchInvariance : public ::testing::TestWithParam<std::tuple<DType, GemmPath>> {};

TEST_P(BatchInvariance, ARowHasTheSameBitsAloneAndInAnyBatch) {
  const auto [dtype, gemm] = GetParam();
  const Scorer net;
  const Tensor x = random_tensor({1000, 37}, dtype, 6);
  const Tensor id = random_labels(1000, 11, 7);
  const Parameters parameters(net.graph, dtype, 8);
  for (const KernelTable* kernels : available_kernels()) {
    const Plan plan = compile(net.graph, {.dtype = dtype,
                                          .mode = Mode::kInference,
                                          .outputs = {net.y},
                                          .gemm = gemm,
                                          .kernels = kernels});
    Workspace workspace(plan, 1000);
    const auto predict = [&](Index first, Index rows) {
      const auto window = [&](const Tensor& all) {
        const ConstTensorView v = all.view();
        return ConstTensorView(
            static_cast<const std::byte*>(v.data) + first * v.ld * size_of(v.dtype), v.dtype, rows,
            v.columns, v.ld);
      };
      Bindings bindings(plan);
      bindings.input(net.x, window(x)).input(net.id, window(id)).parameters(parameters);
      Executor().run(workspace, bindings);
      return bytes(workspace.output(net.y));
    };
    const std::string all = predict(0, 1000);
    const std::size_t row = static_cast<std::size_t>(5 * size_of(dtype));
    for (const Index first : {0, 3, 63, 500, 993}) {
      const auto start = static_cast<std::size_t>(first) * row;
      EXPECT_TRUE(predict(first, 1) == all.substr(start, row)) << kernels->architecture;
      EXPECT_TRUE(predict(first, 7) == all.substr(start, 7 * row)) << kernels->architecture;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, BatchInvariance,
                         ::testing::Combine(::testing::Values(DType::kFloat32, DType::kFloat64),
                                            ::testing::Values(GemmPath::kAuto, GemmPath::kFused)),
                         [](const auto& info) {
                           return std::string(to_string(std::get<0>(info.param))) + "_" +
                                  std::string(to_string(std::get<1>(info.param)));
                         });

TEST(BlasPath, AgreesWithFused) {
  const Scorer net;
  const Tensor x = random_tensor({100, 37}, DType::kFloat64, 6);
  const Tensor id = random_labels(100, 11, 7);
  const Parameters parameters(net.graph, DType::kFloat64, 8);
  const auto predict = [&](GemmPath gemm) {
    const Plan plan = compile(
        net.graph,
        {.dtype = DType::kFloat64, .mode = Mode::kInference, .outputs = {net.y}, .gemm = gemm});
    Workspace workspace(plan, 100);
    Bindings bindings(plan);
    bindings.input(net.x, x).input(net.id, id).parameters(parameters);
    Executor().run(workspace, bindings);
    return testing::elements(workspace.output(net.y));
  };
  const std::vector<double> blas = predict(GemmPath::kBlas);
  const std::vector<double> fused = predict(GemmPath::kFused);
  for (std::size_t i = 0; i < blas.size(); ++i) ASSERT_NEAR(blas[i], fused[i], 1e-13) << i;
}

// ---- transposed mirrors

TEST(Mirrors, FollowWeightsThatChangeBetweenRuns) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value w = graph.parameter("w", {2, 1});
  const Value loss = reduce_sum(matmul(x, w), Axis::kAll);
  const Plan plan = compile(graph, {.dtype = DType::kFloat64, .loss = loss, .gradients = {x}});
  const Tensor in = testing::tensor({1, 2}, {1, 1});
  Parameters parameters(graph, DType::kFloat64);
  Workspace one(plan, 1);
  Workspace two(plan, 1);
  Bindings bindings(plan);
  bindings.input(x, in).parameters(parameters);
  const auto gradient = [&](Workspace& workspace) {
    Executor().run(workspace, bindings);
    return testing::elements(workspace.gradient(x));
  };
  for (double value = 1; value < 4; ++value) {
    const TensorView view = parameters.mutable_view(w);
    view.as<double>()(0, 0) = value;
    view.as<double>()(1, 0) = -value;
    const std::vector<double> expected = {value, -value};
    EXPECT_EQ(gradient(one), expected);
    EXPECT_EQ(gradient(two), expected);
  }
  // Other parameters in the same workspace.
  Parameters other(graph, DType::kFloat64);
  other.mutable_view(w).as<double>()(0, 0) = 9;
  other.mutable_view(w).as<double>()(1, 0) = 8;
  bindings.parameters(other);
  EXPECT_EQ(gradient(one), (std::vector<double>{9, 8}));
}

// Products of few outputs read the mirror forward as well.
TEST(Mirrors, OfForwardFollowWeightsThatChangeBetweenRuns) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 128});
  const Value w = graph.parameter("w", {128, 3});
  const Value y = matmul(x, w);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const Plan plan = compile(graph, {.dtype = dtype, .mode = Mode::kInference, .outputs = {y}});
    EXPECT_NE(plan.to_text().find("when stale"), std::string::npos);
    const Plan blas = compile(
        graph, {.dtype = dtype, .mode = Mode::kInference, .outputs = {y}, .gemm = GemmPath::kBlas});
    EXPECT_EQ(blas.to_text().find("when stale"), std::string::npos);
    Tensor ones({9, 128}, dtype);
    for (Index i = 0; i < 9; ++i) {
      for (Index j = 0; j < 128; ++j) set_element(ones, i, j, static_cast<double>(i + 1));
    }
    Parameters parameters(graph, dtype);
    Workspace workspace(plan, 9);
    Bindings bindings(plan);
    bindings.input(x, ones).parameters(parameters);
    for (double value = 1; value < 4; ++value) {
      for (Index i = 0; i < 128; ++i) {
        for (Index j = 0; j < 3; ++j) {
          set_element(parameters.mutable_view(w), i, j, value + static_cast<double>(j));
        }
      }
      Executor().run(workspace, bindings);
      for (Index i = 0; i < 9; ++i) {
        for (Index j = 0; j < 3; ++j) {
          EXPECT_EQ(element(workspace.output(y), i, j),
                    128 * static_cast<double>(i + 1) * (value + static_cast<double>(j)));
        }
      }
    }
  }
}

TEST(Mirrors, OfTwoWorkspacesThatTrainTheSameParameters) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 6});
  const Value hidden = tanh(matmul(x, graph.parameter("w1", {6, 80})));
  const Value loss = reduce_mean(matmul(hidden, graph.parameter("w2", {80, 3})), Axis::kAll);
  CompileOptions options{.loss = loss};
  options.update =
      UpdateOptions{.def = &testing::kSgdUpdate, .targets = testing::all_parameters(graph)};
  const Plan plan = compile(graph, options);
  const Tensor in = random_tensor({20, 6}, DType::kFloat32, 3);
  const std::vector<double> scalars = testing::sgd_scalars(0.1);
  const auto train = [&](int workspaces) {
    Parameters parameters(graph, DType::kFloat32, 1);
    OptimizerState state;
    std::vector<Workspace> all;
    for (int i = 0; i < workspaces; ++i) all.emplace_back(plan, 20);
    Bindings bindings(plan);
    bindings.input(x, in).parameters(parameters).optimizer(state, scalars);
    for (std::size_t step = 0; step < 6; ++step) {
      Executor().run(all[step % all.size()], bindings);
    }
    return bytes(parameters);
  };
  EXPECT_TRUE(train(1) == train(2));
}

}  // namespace
}  // namespace chainrule
