// SPDX-License-Identifier: Apache-2.0
// What every op promises its executor, checked on one node of each op of the library.
#include <gmock/gmock.h>

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/ops/ops.hpp"
#include "op_call.hpp"

namespace chainrule {
namespace {

using testing::OpCall;
using testing::values;

/// One node of every op, all on x [batch, 6] where that fits.
std::vector<Value> one_node_of_each(Graph& g) {
  const Value x = g.input("x", {kBatch, 6}), y = g.input("y", {kBatch, 6});
  const Value w = g.parameter("w", {6, 4}), v = g.parameter("v", {6}), u = g.parameter("u", {6});
  const Value mean = g.state("mean", {6}, zeros()), variance = g.state("variance", {6}, ones());
  const Value one = g.parameter("one", {1});
  const Value labels = g.labels("labels"), pairs = g.indices("pairs", {kBatch, 2});
  const Value weights = g.input("weights", {kBatch});
  constexpr Reduction kNone = Reduction::kNone;
  const LossOptions rows{.reduction = kNone};
  return {matmul(x, w),
          add_bias(x, v),
          add(x, y),
          sub(x, y),
          mul(x, y),
          scale(x, -1.5),
          identity(x),
          relu(x),
          leaky_relu(x),
          elu(x),
          sigmoid(x),
          tanh(x),
          softplus(x),
          silu(x),
          gelu(x),
          gelu_tanh(x),
          exp(x),
          log(x),
          softmax(x),
          log_softmax(x),
          dropout(x, 0.4),
          layer_norm(x, v, u),
          batch_norm(x, v, u, mean, variance),
          concat({x, weights, y}),
          slice(x, 1, 3),
          embedding(pairs, w),
          g.apply(kBatchSumOp, {x, weights}),
          reduce_mean(x, Axis::kBatch),
          reduce_sum(x, Axis::kFeatures),
          reduce_mean(x, Axis::kFeatures),
          reduce_sum(w, Axis::kAll),
          reduce_mean(w, Axis::kAll),
          mean_squared_error(x, y, rows),
          mean_absolute_error(x, y, rows),
          huber(x, y, {.reduction = kNone}),
          binary_cross_entropy(x, y, rows),
          hinge(x, y, rows),
          poisson_nll(x, y, {.reduction = kNone}),
          gamma_nll(x, y, {.reduction = kNone}),
          negative_binomial_nll(x, y, {.reduction = kNone}),
          softmax_cross_entropy(x, labels, {.reduction = kNone}),
          softmax_cross_entropy(x, y, {.reduction = kNone}),
          rbf_gp_nll(x, y, one, v, one)};
}

/// Fills the unused end of every row of `tensor` with `byte`, or checks that it still holds it.
bool padding(Tensor& tensor, unsigned char byte, bool check) {
  const Index element_size = size_of(tensor.dtype());
  auto* const data = static_cast<unsigned char*>(tensor.data());
  for (Index i = 0; i + 1 < tensor.rows(); ++i) {
    for (Index k = tensor.columns() * element_size; k < tensor.ld() * element_size; ++k) {
      unsigned char& at = data[i * tensor.ld() * element_size + k];
      if (check && at != byte) return false;
      at = byte;
    }
  }
  return true;
}

struct Param {
  std::size_t node;
  DType dtype;
};

class ContractTest : public ::testing::TestWithParam<Param> {
 protected:
  OpCall make(Index rows) {
    Graph g;
    OpCall call(one_node_of_each(g)[GetParam().node], rows, GetParam().dtype);
    call.fill_inputs(0.2, 0.9);
    call.fill(call.output_gradient, -1, 1, 31);
    call.fill(call.output_gradient_tangent, -1, 1, 32);
    std::uint64_t stream = 33;
    for (Tensor& tangent : call.tangents) {
      if (tangent.data() != nullptr) call.fill(tangent, -1, 1, stream++);
    }
    return call;
  }

  static void backward_all(OpCall& call) {
    call.backward();
    const int weight = call.op().traits.weight_input;
    if (weight < 0) return;
    call.weight_gradient(call.context(), 0,
                         call.gradients[static_cast<std::size_t>(weight)].rows());
  }

  /// Forward, as it runs before jvp.
  static void forward_and_finish(OpCall& call) {
    call.forward();
    if (call.op().traits.kind == OpKind::kBatchReduction) call.finish(call.context());
  }

  static void backward_jvp_all(OpCall& call) {
    call.backward_jvp(call.context());
    const int weight = call.op().traits.weight_input;
    if (weight < 0) return;
    call.weight_gradient_jvp(call.context(), 0,
                             call.gradients[static_cast<std::size_t>(weight)].rows());
  }

  static void fill_gradients(OpCall& call, double value) {
    fill_all(call, call.gradients, value);
    fill_all(call, call.gradient_tangents, value);
  }
  static void fill_all(OpCall& call, std::vector<Tensor>& tensors, double value) {
    for (Tensor& tensor : tensors) {
      if (tensor.data() != nullptr) call.fill(tensor, value, value, 0);
    }
  }

  /// `got` must hold 3 + `alone`, of which some element is not 0.
  static void expect_added(const std::vector<Tensor>& got, const std::vector<Tensor>& alone) {
    const double tolerance = GetParam().dtype == DType::kFloat32 ? 3e-6 : 1e-14;
    bool any = false;
    for (std::size_t k = 0; k < alone.size(); ++k) {
      if (alone[k].data() == nullptr) continue;
      const std::vector<double> expected = values(alone[k]), sum = values(got[k]);
      for (std::size_t e = 0; e < expected.size(); ++e) {
        EXPECT_NEAR(sum[e], 3 + expected[e], tolerance) << "input " << k << ", element " << e;
        any = any || expected[e] != 0;
      }
    }
    EXPECT_TRUE(any);
  }
};

TEST_P(ContractTest, BackwardOverwritesOrAddsAsItIsTold) {
  OpCall call = make(7);
  call.forward();
  fill_gradients(call, std::nan(""));
  backward_all(call);
  const std::vector<Tensor> alone = call.gradients;
  call.overwrite = 0;
  fill_gradients(call, 3);
  backward_all(call);
  expect_added(call.gradients, alone);
}

TEST_P(ContractTest, JvpOverwrites) {
  OpCall call = make(7);
  forward_and_finish(call);
  call.fill(call.output_tangent, std::nan(""), std::nan(""), 0);
  call.jvp(call.context());
  EXPECT_THAT(values(call.output_tangent),
              ::testing::Each(::testing::Truly([](double t) { return std::isfinite(t); })));
  EXPECT_THAT(values(call.output_tangent), ::testing::Contains(::testing::Ne(0.0)));
}

// Prepared while the operands held other values, for contexts that are gone, called twice.
TEST_P(ContractTest, PreparedCallsHaveTheBitsOfTheFunctions) {
  OpCall direct = make(7), prepared = make(7);
  const OpDef& op = direct.op();
  const std::size_t dtype = dtype_index(GetParam().dtype);
  const auto run_twice = [](const PreparedCall& call) {
    call();
    call();
  };
  prepared.fill_inputs(0.1, 0.2);
  const Index first = 1, rows = 4;
  if (op.prepare_forward[dtype] != nullptr) {
    const PreparedCall call = op.prepare_forward[dtype](prepared.context(first, rows));
    prepared.fill_inputs(0.2, 0.9);
    direct.forward(direct.context(first, rows));
    run_twice(call);
    EXPECT_EQ(values(prepared.output), values(direct.output));
    EXPECT_EQ(prepared.partial, direct.partial);
  } else {
    prepared.fill_inputs(0.2, 0.9);
    direct.forward(direct.context(first, rows));
    prepared.forward(prepared.context(first, rows));
  }
  if (op.prepare_finish[dtype] != nullptr) {
    direct.finish(direct.context());
    run_twice(op.prepare_finish[dtype](prepared.context()));
    EXPECT_EQ(values(prepared.output), values(direct.output));
  }
  for (OpCall* call : {&direct, &prepared}) fill_gradients(*call, 5);
  if (op.prepare_backward[dtype] != nullptr) {
    const Tensor dy = prepared.output_gradient;
    prepared.fill(prepared.output_gradient, 3, 4, 1);
    const PreparedCall call = op.prepare_backward[dtype](prepared.context(first, rows));
    copy_values(dy, prepared.output_gradient.view());
    direct.backward(direct.context(first, rows));
    run_twice(call);
  }
  if (op.prepare_weight_gradient[dtype] != nullptr) {
    direct.weight_gradient(direct.context(first, rows), 1, 3);
    run_twice(prepared.prepare_weight_gradient(prepared.context(first, rows), 1, 3));
  }
  for (std::size_t k = 0; k < direct.gradients.size(); ++k) {
    if (direct.gradients[k].data() == nullptr) continue;
    EXPECT_EQ(values(prepared.gradients[k]), values(direct.gradients[k])) << "input " << k;
  }
}

class SecondOrderContractTest : public ContractTest {};

TEST_P(SecondOrderContractTest, OverwritesOrAddsAsItIsTold) {
  OpCall call = make(7);
  call.forward();
  fill_gradients(call, std::nan(""));
  backward_jvp_all(call);
  const std::vector<Tensor> alone = call.gradient_tangents;
  call.overwrite = 0;
  fill_gradients(call, 3);
  backward_jvp_all(call);
  expect_added(call.gradient_tangents, alone);
}

TEST_P(SecondOrderContractTest, UnwantedTangentsAreNotTouched) {
  OpCall call = make(4);
  call.forward();
  fill_gradients(call, 5);
  const OpContext context = call.context();
  TangentOperands unwanted = *context.tangents;
  unwanted.input_gradients = {};
  OpContext changed = context;
  changed.tangents = &unwanted;
  call.backward_jvp(changed);
  for (const std::vector<Tensor>* tensors : {&call.gradients, &call.gradient_tangents}) {
    for (const Tensor& tensor : *tensors) {
      if (tensor.data() == nullptr) continue;
      EXPECT_THAT(values(tensor), ::testing::Each(5.0));
    }
  }
}

class RowwiseContractTest : public ContractTest {};
class InPlaceContractTest : public ContractTest {};

TEST_P(RowwiseContractTest, BlocksOfRowsGiveTheBitsOfTheWholeBatch) {
  OpCall whole = make(7), blocks = make(7);
  whole.forward();
  whole.backward();
  for (const auto& [first, rows] : {std::pair<Index, Index>{5, 2}, {0, 1}, {1, 4}}) {
    blocks.forward(blocks.context(first, rows));
    blocks.backward(blocks.context(first, rows));
    blocks.jvp(blocks.context(first, rows));
  }
  whole.jvp(whole.context());
  EXPECT_EQ(values(blocks.output), values(whole.output));
  EXPECT_EQ(values(blocks.output_tangent), values(whole.output_tangent));
  for (std::size_t k = 0; k < whole.inputs.size(); ++k) {
    if (!whole.input_is_batched(k) || whole.gradients[k].data() == nullptr) continue;
    EXPECT_EQ(values(blocks.gradients[k]), values(whole.gradients[k])) << "input " << k;
  }
}

TEST_P(ContractTest, NoRowsAreFine) {
  OpCall call = make(0);
  forward_and_finish(call);
  call.jvp(call.context());
  if (!call.output_is_batched() && call.op().traits.kind != OpKind::kRowwise) {
    EXPECT_THAT(values(call.output_tangent), ::testing::Each(0.0));
  }
  if (call.op().backward_jvp[0] != nullptr) backward_jvp_all(call);
  fill_gradients(call, std::nan(""));
  backward_all(call);
  for (std::size_t k = 0; k < call.inputs.size(); ++k) {
    if (call.input_is_batched(k) || call.gradients[k].data() == nullptr) continue;
    if (!call.output_is_batched() && call.op().traits.kind == OpKind::kRowwise) continue;
    EXPECT_THAT(values(call.gradients[k]), ::testing::Each(0.0)) << "input " << k;
  }
}

TEST_P(ContractTest, PaddingStaysAsItWas) {
  OpCall call = make(5);
  std::vector<Tensor*> written{&call.output, &call.saved, &call.output_tangent};
  for (Tensor& gradient : call.gradients) written.push_back(&gradient);
  for (Tensor& tangent : call.gradient_tangents) written.push_back(&tangent);
  for (Tensor* tensor : written) padding(*tensor, 0xA5, false);
  forward_and_finish(call);
  backward_all(call);
  call.jvp(call.context());
  if (call.op().backward_jvp[0] != nullptr) backward_jvp_all(call);
  for (Tensor* tensor : written) EXPECT_TRUE(padding(*tensor, 0xA5, true));
}

TEST_P(ContractTest, UnwantedGradientsAreNotTouched) {
  OpCall call = make(4);
  call.forward();
  fill_gradients(call, 5);
  OpContext context = call.context();
  context.input_gradients = {};
  call.backward(context);
  for (const Tensor& gradient : call.gradients) {
    if (gradient.data() == nullptr) continue;
    EXPECT_THAT(values(gradient), ::testing::Each(5.0));
  }
}

TEST_P(ContractTest, InferenceNeedsNoSavedValues) {
  OpCall call = make(4);
  call.mode = Mode::kInference;
  OpContext context = call.context();
  context.saved = {};
  call.forward(context);
  const std::vector<double> y = values(call.output);
  if (call.op().traits.kind == OpKind::kBatchReduction) return;
  EXPECT_THAT(y, ::testing::Contains(::testing::Ne(0.0)));
}

TEST_P(InPlaceContractTest, GivesTheSame) {
  OpCall apart = make(5), in_place = make(5);
  apart.forward();
  apart.backward();
  OpContext context = in_place.context();
  context.output = in_place.inputs[0].view();
  in_place.forward(context);
  EXPECT_EQ(values(in_place.inputs[0]), values(apart.output));

  // Backward sees what it reads elsewhere; the gradient of input 0 takes the memory of dy.
  OpCall gradient = make(5);
  gradient.forward();
  OpContext backward = gradient.context();
  backward.input_gradients[0] = gradient.output_gradient.view();
  gradient.backward(backward);
  EXPECT_EQ(values(gradient.output_gradient), values(apart.gradients[0]));
}

/// Every node of the table that `include` accepts, in both dtypes.
std::vector<Param> params(bool (*include)(const Node&)) {
  Graph g;
  std::vector<Param> params;
  const std::vector<Value> nodes = one_node_of_each(g);
  for (std::size_t k = 0; k < nodes.size(); ++k) {
    if (!include(nodes[k].node())) continue;
    params.push_back({k, DType::kFloat32});
    params.push_back({k, DType::kFloat64});
  }
  return params;
}

bool any(const Node&) { return true; }
bool works_on_rows(const Node& node) {
  return node.op->traits.kind == OpKind::kRowwise && node.shape.is_batched();
}
bool works_in_place(const Node& node) { return node.op->traits.output_may_alias_input; }
bool has_curvature(const Node& node) { return node.op->backward_jvp[0] != nullptr; }

std::string param_name(const ::testing::TestParamInfo<Param>& info) {
  Graph g;
  const Value node = one_node_of_each(g)[info.param.node];
  return std::string(node.node().op->name) + "_" + std::string(to_string(info.param.dtype));
}

INSTANTIATE_TEST_SUITE_P(Ops, ContractTest, ::testing::ValuesIn(params(any)), param_name);
INSTANTIATE_TEST_SUITE_P(Ops, RowwiseContractTest, ::testing::ValuesIn(params(works_on_rows)),
                         param_name);
INSTANTIATE_TEST_SUITE_P(Ops, SecondOrderContractTest, ::testing::ValuesIn(params(has_curvature)),
                         param_name);
INSTANTIATE_TEST_SUITE_P(Ops, InPlaceContractTest, ::testing::ValuesIn(params(works_in_place)),
                         param_name);

TEST(ContractTableTest, HasEveryOp) {
  Graph g;
  std::set<const OpDef*> covered;
  for (const Value& node : one_node_of_each(g)) covered.insert(node.node().op);
  for (const OpDef* op : all_ops()) EXPECT_TRUE(covered.contains(op)) << op->name;
}

}  // namespace
}  // namespace chainrule
