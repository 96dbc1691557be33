// SPDX-License-Identifier: Apache-2.0
// Bias and activation fused into the product before them, and the step of SGD into the product that
// makes a gradient. A graph of which every value is kept has nothing to fuse, and must give the
// same bits; nor can an update be fused that does not say it is plain SGD.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <optional>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using testing::bytes;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::random_tensor;

using Activation = Value (*)(Value);
struct NamedActivation {
  const char* name;
  Activation apply;
};
void PrintTo(const NamedActivation& activation, std::ostream* out) { *out << activation.name; }

constexpr NamedActivation kActivations[] = {
    {"relu", [](Value z) { return relu(z); }},
    {"leaky_relu", [](Value z) { return leaky_relu(z, 0.2); }},
    {"elu", [](Value z) { return elu(z, 1.5); }},
    {"sigmoid", [](Value z) { return sigmoid(z); }},
    {"tanh", [](Value z) { return tanh(z); }},
    {"softplus", [](Value z) { return softplus(z); }},
    {"silu", [](Value z) { return silu(z); }},
    {"gelu", [](Value z) { return gelu(z); }},
    {"gelu_tanh", [](Value z) { return gelu_tanh(z); }},
};

constexpr Index kBatchRows = 45;  // blocks of 32 and 13

/// x -> activation(x w0 + b0) -> activation(h w1) -> h w2 + b2, squared error.
class Network {
 public:
  explicit Network(Activation activation) {
    x_ = graph_.input("x", {kBatch, 5});
    target_ = graph_.input("target", {kBatch, 3});
    const Value z0 = keep(add_bias(keep(matmul(x_, weight("w0", {5, 37}))), weight("b0", {37})));
    const Value h0 = keep(activation(z0));
    const Value h1 = keep(activation(keep(matmul(h0, weight("w1", {37, 19})))));
    output_ = add_bias(keep(matmul(h1, weight("w2", {19, 3}))), weight("b2", {3}));
    loss_ = mean_squared_error(output_, target_);
  }

  Plan plan(DType dtype, GemmPath gemm, bool keep_all) {
    CompileOptions options{.dtype = dtype, .loss = loss_, .outputs = {output_}, .gemm = gemm};
    options.update = UpdateOptions{.def = keep_all ? &opaque_sgd_ : &testing::kSgdUpdate,
                                   .targets = testing::all_parameters(graph_)};
    if (keep_all) {
      options.outputs.insert(options.outputs.end(), kept_.begin(), kept_.end());
      options.gradients = kept_;
    }
    return compile(graph_, options);
  }

  /// Weights after three steps, and the last predictions.
  std::string train(const Plan& plan) {
    const DType dtype = plan.dtype();
    Parameters parameters(graph_, dtype, 3);
    OptimizerState state(parameters.layout(), 0);
    Bindings bindings(plan);
    const Tensor x = random_tensor({kBatchRows, 5}, dtype, 1);
    const Tensor target = random_tensor({kBatchRows, 3}, dtype, 2);
    std::vector<double> scalars = testing::sgd_scalars(0.1);
    scalars[1] = 0.01;  // weight decay
    bindings.parameters(parameters).optimizer(state, scalars);
    bindings.input("x", x).input("target", target);
    const Executor executor;
    Workspace workspace = executor.make_workspace(plan, kBatchRows);
    for (int step = 0; step < 3; ++step) executor.run(workspace, bindings);
    return bytes(parameters) + bytes(workspace.output(output_));
  }

 private:
  Value weight(const char* name, const Shape& shape) { return graph_.parameter(name, shape); }
  Value keep(Value value) {
    kept_.push_back(value);
    return value;
  }

  static UpdateDef opaque_sgd() {
    UpdateDef def = testing::kSgdUpdate;
    def.is_plain_sgd = false;
    return def;
  }

  const UpdateDef opaque_sgd_ = opaque_sgd();
  Graph graph_;
  Value x_, target_, output_, loss_;
  std::vector<Value> kept_;
};

class Fusion : public ::testing::TestWithParam<std::tuple<NamedActivation, DType>> {};

TEST_P(Fusion, ChangesNoBit) {
  const auto [activation, dtype] = GetParam();
  Network network(activation.apply);
  const Plan fused = network.plan(dtype, GemmPath::kFused, false);
  const Plan separate = network.plan(dtype, GemmPath::kFused, true);
  ASSERT_THAT(fused.to_text(), HasSubstr(" + "));
  ASSERT_THAT(fused.to_text(), HasSubstr("gradient in registers"));
  ASSERT_THAT(separate.to_text(), Not(HasSubstr(" + ")));
  EXPECT_EQ(network.train(fused), network.train(separate));
}

INSTANTIATE_TEST_SUITE_P(Activations, Fusion,
                         ::testing::Combine(::testing::ValuesIn(kActivations),
                                            ::testing::Values(DType::kFloat32, DType::kFloat64)),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param).name) + "_" +
                                  std::string(to_string(std::get<1>(test.param)));
                         });

// A gradient that the caller reads has to be stored.
TEST(FusionPlan, AGradientThatIsReadIsStored) {
  Graph graph;
  const Value w = graph.parameter("w", {4, 3});
  const Value loss = reduce_sum(matmul(graph.input("x", {kBatch, 4}), w), Axis::kAll);
  CompileOptions options{.loss = loss};
  options.update =
      UpdateOptions{.def = &testing::kSgdUpdate, .targets = testing::all_parameters(graph)};
  EXPECT_THAT(compile(graph, options).to_text(), HasSubstr("gradient in registers"));
  options.gradients = {w};
  EXPECT_THAT(compile(graph, options).to_text(), Not(HasSubstr("gradient in registers")));
}

TEST(FusionPlan, OpenBlasHasNothingToFuseInto) {
  Network network(kActivations[0].apply);
  EXPECT_THAT(network.plan(DType::kFloat32, GemmPath::kBlas, false).to_text(),
              Not(HasSubstr(" + ")));
}

// A value that two ops read stays a value of its own.
TEST(FusionPlan, WhatOthersReadStays) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value z = graph.rename(matmul(x, graph.parameter("w", {4, 3})), "z");
  const Value y = graph.rename(add(relu(z), tanh(z)), "y");
  const std::string text = compile(graph, {.mode = Mode::kInference, .outputs = {y}}).to_text();
  EXPECT_THAT(text, HasSubstr("forward z: x, w -> z\n"));
}

// gelu's derivative reads its input, which therefore must not vanish into the product.
TEST(FusionPlan, WhatBackwardReadsStays) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value z = graph.rename(matmul(x, graph.parameter("w", {4, 3})), "z");
  const Value loss = reduce_sum(gelu(z), Axis::kAll);
  const Value w = graph.find("w");
  EXPECT_THAT(compile(graph, {.loss = loss, .gradients = {w}}).to_text(),
              HasSubstr("forward z: x, w -> z\n"));
}

/// relu(x w + b) with something not finite in one of its operands.
class NonFiniteInFusion : public ::testing::Test {
 protected:
  NonFiniteInFusion() {
    const Value x = graph_.input("x", {kBatch, 4});
    const Value w = graph_.parameter("w", {4, 3});
    const Value b = graph_.parameter("b", {3});
    const Value z = graph_.rename(add_bias(graph_.rename(matmul(x, w), "xw"), b), "z");
    const Value h = graph_.rename(relu(z), "h");
    options_.loss = mean_squared_error(matmul(h, graph_.parameter("v", {3, 1})),
                                       graph_.input("target", {kBatch, 1}));
    options_.update =
        UpdateOptions{.def = &testing::kSgdUpdate, .targets = testing::all_parameters(graph_)};
  }

  /// What the failing step names; `set` makes an operand bad.
  template <class Set>
  std::string named(const Set& set) {
    const Plan plan = compile(graph_, options_);
    Parameters parameters(graph_, DType::kFloat32, 3);
    OptimizerState state(parameters.layout(), 0);
    Tensor x = random_tensor({2, 4}, DType::kFloat32, 1);
    const Tensor target = random_tensor({2, 1}, DType::kFloat32, 2);
    set(x, parameters);
    Bindings bindings(plan);
    const std::vector<double> scalars = testing::sgd_scalars(0.1);
    bindings.parameters(parameters).optimizer(state, scalars);
    bindings.input("x", x).input("target", target);
    const Executor executor;
    Workspace workspace = executor.make_workspace(plan, 2);
    const std::string before = bytes(parameters);
    try {
      executor.run(workspace, bindings);
    } catch (const NonFiniteError& error) {
      EXPECT_EQ(bytes(parameters), before);
      return error.node();
    }
    return "";
  }

  Graph graph_;
  CompileOptions options_;
};

TEST_F(NonFiniteInFusion, NamesTheBias) {
  EXPECT_EQ(named([](Tensor&, Parameters& parameters) {
              set_element(parameters.mutable_view("b"), 0, 1,
                          std::numeric_limits<double>::quiet_NaN());
            }),
            "b");
}

TEST_F(NonFiniteInFusion, NamesTheProductThatOverflows) {
  EXPECT_EQ(named([](Tensor& x, Parameters& parameters) {
              for (Index k = 0; k < 4; ++k) {
                set_element(x.view(), 1, k, 3e38);
                set_element(parameters.mutable_view("w"), k, 0, 3e38);
              }
            }),
            "xw");
}

}  // namespace
}  // namespace chainrule
