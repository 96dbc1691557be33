// SPDX-License-Identifier: Apache-2.0
// Forward mode of whole graphs: by hand, against reverse mode, on several threads, and misused.
#include <gmock/gmock.h>

#include <atomic>
#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/core/op_def.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "training_case.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using testing::bytes;
using testing::elements;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::random_tensor;
using testing::tensor;
using ::testing::ThrowsMessage;
using testing::TrainingCase;

void expect_near(const Tensor& a, const Tensor& b, double tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  const std::vector<double> actual = elements(a), expected = elements(b);
  double largest = 0;
  for (std::size_t k = 0; k < actual.size(); ++k) {
    ASSERT_NEAR(actual[k], expected[k], tolerance) << "element " << k;
    largest = std::max(largest, std::abs(actual[k]));
  }
  EXPECT_GT(largest, 1e-3) << "zeros prove nothing";
}

// ---- by hand: y = x w with w = [[1, 2, 3], [4, 5, 6]]

class AffineTangents : public ::testing::Test {
 protected:
  AffineTangents() {
    copy_values(tensor({2, 3}, {1, 2, 3, 4, 5, 6}), parameters.mutable_view(w));
    feed = {.inputs = {{x, in}}, .parameters = &parameters};
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 2});
  Value w = graph.parameter("w", {2, 3});
  Value y = matmul(x, w);
  Parameters parameters{graph, DType::kFloat64};
  Tensor in = tensor({2, 2}, {1, -1, 0.5, 2});
  Tensor tx = tensor({2, 2}, {1, 0, -1, 2});
  Tensor tw = tensor({2, 3}, {1, 0, 0, 0, 0, 10});
  Feed feed;
};

TEST_F(AffineTangents, JacobianVectorProduct) {
  EXPECT_THAT(elements(jacobian_vector_product(graph, y, x, tx, feed)),
              ElementsAre(1, 2, 3, 7, 8, 9));  // tx w
  EXPECT_THAT(elements(jacobian_vector_product(graph, y, w, tw, feed)),
              ElementsAre(1, 0, -10, 0.5, 0, 20));  // x tw
}

TEST_F(AffineTangents, AllDirectionsMoveAtOnce) {
  const Plan plan =
      compile(graph, {.dtype = DType::kFloat64, .tangents = {x, w}, .output_tangents = {y, x, w}});
  Workspace workspace(plan, 2);
  Bindings bindings(plan);
  bindings.input(x, in).parameters(parameters).tangent(x, tx).tangent(w, tw);
  Executor().run(workspace, bindings);
  EXPECT_THAT(elements(workspace.tangent(y)), ElementsAre(2, 2, -7, 7.5, 8, 29));
  // Of what moves by itself the tangent is what was bound.
  EXPECT_EQ(elements(workspace.tangent(x)), elements(tx));
  EXPECT_EQ(elements(workspace.tangent(w)), elements(tw));
}

TEST_F(AffineTangents, JacobiansByBothModes) {
  const Value part = slice(y, 1, 2);
  for (const JacobianMode mode : {JacobianMode::kForward, JacobianMode::kReverse}) {
    const Tensor of_rows = jacobian(graph, part, x, feed, mode);
    EXPECT_EQ(of_rows.shape(), (Shape{2, 2, 2}));
    EXPECT_THAT(elements(of_rows), ElementsAre(2, 5, 3, 6, 2, 5, 3, 6));
    const Tensor full = full_jacobian(graph, part, x, feed, mode);
    EXPECT_THAT(elements(full), ElementsAre(2, 5, 0, 0, 3, 6, 0, 0, 0, 0, 2, 5, 0, 0, 3, 6));
    const Tensor in_a_parameter = jacobian(graph, part, w, feed, mode);
    EXPECT_EQ(in_a_parameter.shape(), (Shape{2, 2, 6}));
    EXPECT_THAT(elements(in_a_parameter), ElementsAre(0, 1, 0, 0, -1, 0, 0, 0, 1, 0, 0, -1,  //
                                                      0, 0.5, 0, 0, 2, 0, 0, 0, 0.5, 0, 0, 2));
  }
}

// a = 3 x, b = a a; the direction bound for a is added to what x moves it by.
TEST(Tangents, OfANodeInBetweenAreAdded) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value a = scale(x, 3);
  const Value b = mul(a, a);
  const Tensor in = tensor({1, 2}, {1, -2}), tx = tensor({1, 2}, {1, 0.5});
  const Tensor ta = tensor({1, 2}, {10, 100});
  const auto run = [&](const std::vector<Value>& moving) {
    const Plan plan =
        compile(graph, {.dtype = DType::kFloat64, .tangents = moving, .output_tangents = {b, a}});
    Workspace workspace(plan, 1);
    Bindings bindings(plan);
    bindings.input(x, in);
    for (const Value& value : moving) bindings.tangent(value, value == x ? tx : ta);
    Executor().run(workspace, bindings);
    EXPECT_EQ(elements(workspace.tangent(b))[0], 6 * elements(workspace.tangent(a))[0]);
    EXPECT_EQ(elements(workspace.tangent(b))[1], -12 * elements(workspace.tangent(a))[1]);
    return elements(workspace.tangent(a));
  };
  EXPECT_THAT(run({x}), ElementsAre(3, 1.5));
  EXPECT_THAT(run({a}), ElementsAre(10, 100));
  EXPECT_THAT(run({x, a}), ElementsAre(13, 101.5));
}

TEST(Tangents, DoNotFollowTheRowOrder) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 1});
  const Value y = mul(x, x);
  const Plan plan = compile(
      graph, {.dtype = DType::kFloat64, .tangents = {x}, .output_tangents = {y}, .gather = true});
  Workspace workspace(plan, 2);
  Bindings bindings(plan);
  const Tensor in = tensor({3, 1}, {1, 2, 3}), tx = tensor({2, 1}, {10, 100});
  const std::vector<std::uint32_t> order = {2, 0};
  bindings.input(x, in).tangent(x, tx).row_order(order);
  Executor().run(workspace, bindings);
  EXPECT_THAT(elements(workspace.tangent(y)), ElementsAre(60, 200));
}

TEST(Tangents, OfValuesWithoutABatch) {
  Graph graph;
  const Value w = graph.parameter("w", {2, 2});
  const Value v = graph.parameter("v", {2});
  const Value loss =
      add(reduce_sum(mul(matmul(w, w), w), Axis::kAll), reduce_sum(exp(v), Axis::kAll));
  Parameters parameters(graph, DType::kFloat64, 4);
  const Feed feed{.inputs = {}, .parameters = &parameters};
  expect_near(full_jacobian(graph, loss, w, feed, JacobianMode::kForward),
              full_jacobian(graph, loss, w, feed, JacobianMode::kReverse), 1e-14);
  expect_near(full_jacobian(graph, loss, v, feed, JacobianMode::kForward),
              full_jacobian(graph, loss, v, feed, JacobianMode::kReverse), 1e-14);
}

// ---- a network with everything in it

Feed feed_of(const Parameters& parameters, const Tensor& x, const Tensor& labels, Graph& graph,
             Mode mode) {
  return {.inputs = {{graph.find("x"), x}, {graph.find("labels"), labels}},
          .parameters = &parameters,
          .mode = mode,
          .random = {.seed = 3}};
}

Value network(Graph& graph) {
  const Value x = graph.input("x", {kBatch, 3});
  const Value labels = graph.labels("labels");
  const Value w = graph.parameter("w", {4, 4});
  Value h = graph.rename(matmul(x, graph.parameter("first", {3, 4})), "z");
  h = batch_norm(h, graph.parameter("gamma", {4}, ones()), graph.parameter("beta", {4}),
                 graph.state("mean", {4}, zeros()), graph.state("variance", {4}, ones()));
  h = add_bias(dropout(gelu(h), 0.3), graph.parameter("bias", {4}));
  h = layer_norm(matmul(h, w), graph.parameter("scale", {4}, ones()),
                 graph.parameter("shift", {4}));
  h = concat({matmul(tanh(h), w), embedding(labels, graph.parameter("table", {5, 2}))});
  graph.rename(testing::fragile_dot(h, graph.parameter("last", {6, 1})), "out");
  return softmax_cross_entropy(matmul(h, graph.parameter("head", {6, 5})), labels);
}

TEST(Tangents, ThroughANetworkAgreeWithReverseMode) {
  Graph graph;
  const Value loss = network(graph);
  Parameters parameters(graph, DType::kFloat64, 5);
  for (Index i = 0; i < parameters.size(); ++i) {
    if (parameters.layout().entries[static_cast<std::size_t>(i)].name == "variance") continue;
    initialize(uniform(1), {.seed = 6, .stream = static_cast<std::uint64_t>(i)},
               parameters.mutable_view(i));
  }
  const Tensor x = random_tensor({20, 3}, DType::kFloat64, 7);  // two blocks of rows
  const Tensor labels = testing::random_labels(20, 5, 8);
  for (const Mode mode : {Mode::kTraining, Mode::kInference}) {
    const Feed feed = feed_of(parameters, x, labels, graph, mode);
    for (const char* name : {"x", "z", "first", "bias", "gamma", "beta", "w", "scale", "shift",
                             "table", "last", "head"}) {
      SCOPED_TRACE(name);
      const Value by = graph.find(name);
      for (const Value& output : {loss, graph.find("out")}) {
        const bool depends = (output == loss) ? by != graph.find("last") : by != graph.find("head");
        if (!depends) continue;
        expect_near(full_jacobian(graph, output, by, feed, JacobianMode::kForward),
                    full_jacobian(graph, output, by, feed, JacobianMode::kReverse), 1e-13);
      }
    }
  }
}

std::atomic<int> passes{0};

/// y = x, counting the rows that go through forward.
struct Counting {
  static constexpr std::string_view kName = "counting";
  static constexpr OpTraits kTraits{.backward_reads = {}, .linear = true};
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  template <class T>
  static void copy(MatrixView<const T> from, MatrixView<T> to, bool add) {
    for (Index i = 0; i < from.rows; ++i) {
      for (Index j = 0; j < from.columns; ++j) to(i, j) = from(i, j) + (add ? to(i, j) : T{0});
    }
  }
  template <class T>
  static void forward(const OpContext& context) {
    ++passes;
    copy(context.input<T>(0), context.out<T>(), false);
  }
  template <class T>
  static void backward(const OpContext& context) {
    copy(context.out_gradient<T>(), context.in_gradient<T>(0), true);
  }
  template <class T>
  static void jvp(const OpContext& context) {
    copy(context.in_tangent<T>(0), context.out_tangent<T>(), false);
  }
};
constinit const OpDef kCountingOp = define_op<Counting>();

TEST(Jacobians, TakeTheModeWithFewerPasses) {
  Graph graph;
  const Value narrow = graph.input("narrow", {kBatch, 1});
  const Value wide = concat({narrow, scale(narrow, 2), scale(narrow, 3)});
  const Value fan_out = graph.apply(kCountingOp, {wide});
  const Value x = graph.input("x", {kBatch, 3});
  const Value fan_in = reduce_sum(graph.apply(kCountingOp, {x}), Axis::kFeatures);
  const Tensor column = tensor({2, 1}, {1, 2}), rows = tensor({2, 3}, {1, 2, 3, 4, 5, 6});
  const Feed feed{.inputs = {{narrow, column}, {x, rows}}};
  const auto counted = [&](Value output, Value input, JacobianMode mode) {
    passes = 0;
    jacobian(graph, output, input, feed, mode);
    return passes.load();
  };
  EXPECT_EQ(counted(fan_out, narrow, JacobianMode::kReverse), 3);
  EXPECT_EQ(counted(fan_out, narrow, JacobianMode::kForward), 1);
  EXPECT_EQ(counted(fan_out, narrow, JacobianMode::kAuto), 1);
  EXPECT_EQ(counted(fan_in, x, JacobianMode::kReverse), 1);
  EXPECT_EQ(counted(fan_in, x, JacobianMode::kForward), 3);
  EXPECT_EQ(counted(fan_in, x, JacobianMode::kAuto), 1);
}

// ---- execution

class TangentRuns : public ::testing::TestWithParam<DType> {
 protected:
  TangentRuns() : training(GetParam()), graph(const_cast<Graph&>(training.graph())) {
    loss = Value(&graph, static_cast<NodeId>(graph.size() - 1));
    moving = {graph.find("x"), graph.find("first.w"), graph.find("gamma"), graph.find("shared"),
              graph.find("last.b")};
    for (const Value& value : moving) {
      const Shape shape = value.shape().with_batch(TrainingCase::kRows);
      directions.push_back(
          random_tensor(shape, GetParam(), static_cast<std::uint64_t>(value.id())));
    }
  }

  Plan plan() const {
    return compile(graph, {.dtype = GetParam(),
                           .loss = loss,
                           .gradients = {moving[0], moving[1]},
                           .tangents = moving,
                           .output_tangents = {graph.find("z"), loss}});
  }

  std::string run(const Executor& executor, const Plan& plan, int wait_for) {
    Parameters parameters(graph, GetParam(), 5);
    Workspace workspace = executor.make_workspace(plan, TrainingCase::kRows);
    Bindings bindings(plan);
    bindings.parameters(parameters).random({.seed = 4});
    for (std::size_t k = 0; k < moving.size(); ++k) bindings.tangent(moving[k], directions[k]);
    training.bind_batch(bindings, 0);
    const testing::Meeting meeting(wait_for);
    executor.with_residents([&] { executor.run(workspace, bindings); });
    EXPECT_GE(meeting.arrived(), wait_for);
    return bytes(workspace.tangent(graph.find("z"))) + bytes(workspace.tangent(loss)) +
           bytes(workspace.gradient(moving[0])) + bytes(workspace.gradient(moving[1]));
  }

  TrainingCase training;
  Graph& graph;
  Value loss;
  std::vector<Value> moving;
  std::vector<Tensor> directions;
};

TEST_P(TangentRuns, HaveTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Plan tangents = plan();
  const std::string serial = run(Executor(), tangents, 0);
  for (const int threads : {1, 2, 3, 8}) {
    EXPECT_TRUE(run(Executor(threads), tangents, threads) == serial) << threads << " threads";
  }
}

// What tangents need stays alive for them, and nothing else changes.
TEST_P(TangentRuns, LeaveTheGradientsAsTheyWere) {
  const std::string with = run(Executor(), plan(), 0);
  const Plan without =
      compile(graph, {.dtype = GetParam(), .loss = loss, .gradients = {moving[0], moving[1]}});
  Parameters parameters(graph, GetParam(), 5);
  Workspace workspace(without, TrainingCase::kRows);
  Bindings bindings(without);
  bindings.parameters(parameters).random({.seed = 4});
  training.bind_batch(bindings, 0);
  Executor().run(workspace, bindings);
  const std::string gradients =
      bytes(workspace.gradient(moving[0])) + bytes(workspace.gradient(moving[1]));
  ASSERT_GT(with.size(), gradients.size());
  EXPECT_TRUE(with.substr(with.size() - gradients.size()) == gradients);
}

INSTANTIATE_TEST_SUITE_P(BothDtypes, TangentRuns,
                         ::testing::Values(DType::kFloat32, DType::kFloat64),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(Tangents, OfAnEmptyBatch) {
  Graph graph;
  const Value loss = network(graph);
  const Value x = graph.find("x"), w = graph.find("w");
  const Parameters parameters(graph, DType::kFloat64);
  const Plan plan = compile(
      graph,
      {.dtype = DType::kFloat64, .tangents = {x, w}, .output_tangents = {loss, graph.find("out")}});
  Workspace workspace(plan, 3);
  Bindings bindings(plan);
  const Tensor none({0, 3}, DType::kFloat64), labels({0, 1}, DType::kInt32);
  const Tensor tw({4, 4}, DType::kFloat64);
  bindings.input(x, none).input(graph.find("labels"), labels).parameters(parameters);
  bindings.tangent(x, none).tangent(w, tw);
  Executor().run(workspace, bindings);
  EXPECT_THAT(elements(workspace.tangent(loss)), ElementsAre(0));
  EXPECT_EQ(workspace.tangent(graph.find("out")).rows, 0);
}

// ---- misuse

class TangentMisuse : public ::testing::Test {
 protected:
  Graph graph;
  Value x = graph.input("x", {kBatch, 4});
  Value labels = graph.labels("labels");
  Value w = graph.parameter("w", {4, 3});
  Value z = graph.rename(matmul(x, w), "z");
  Value other = graph.rename(scale(z, 2), "other");
  Value loss = softmax_cross_entropy(z, labels);
};

TEST_F(TangentMisuse, OfWhatNothingReaches) {
  const Value still = graph.rename(relu(graph.input("still", {kBatch, 1})), "still_relu");
  EXPECT_THAT(
      [&] {
        compile(graph, {.tangents = {x}, .output_tangents = {z, still}});
      },
      ThrowsMessage<ArgumentError>(
          AllOf(HasSubstr("tangent of still_relu"), HasSubstr("nothing"))));
  EXPECT_THAT([&] { compile(graph, {.output_tangents = {z}}); },
              ThrowsMessage<ArgumentError>(HasSubstr("tangent of z")));
}

TEST_F(TangentMisuse, OfWhatNothingDependsOn) {
  const Value unused = graph.input("unused", {kBatch, 1});
  EXPECT_THAT(
      [&] {
        compile(graph, {.tangents = {x, unused}, .output_tangents = {z}});
      },
      ThrowsMessage<ArgumentError>(AllOf(HasSubstr("unused"), HasSubstr("depends"))));
}

TEST_F(TangentMisuse, OfIndices) {
  EXPECT_THAT([&] { compile(graph, {.tangents = {labels}, .output_tangents = {loss}}); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("labels"), HasSubstr("indices"))));
}

TEST_F(TangentMisuse, ThroughAnOpWithoutGradient) {
  const Value blocked = testing::opaque(z);
  EXPECT_THAT([&] { compile(graph, {.tangents = {w}, .output_tangents = {blocked}}); },
              ThrowsMessage<UnsupportedError>(HasSubstr("opaque")));
  EXPECT_NO_THROW(compile(graph, {.outputs = {blocked}, .tangents = {w}, .output_tangents = {z}}));
}

TEST_F(TangentMisuse, TogetherWithAnUpdate) {
  CompileOptions options{.loss = loss, .tangents = {x}, .output_tangents = {z}};
  options.update = UpdateOptions{.def = &testing::kSgdUpdate, .targets = {{w}}};
  EXPECT_THAT([&] { compile(graph, options); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("update"), HasSubstr("tangents"))));
}

TEST_F(TangentMisuse, OfAnotherGraph) {
  Graph another;
  const Value foreign = another.input("x", {kBatch, 4});
  const auto refused = ThrowsMessage<ArgumentError>(HasSubstr("another graph"));
  EXPECT_THAT([&] { compile(graph, {.tangents = {foreign}, .output_tangents = {z}}); }, refused);
  EXPECT_THAT([&] { compile(graph, {.tangents = {x}, .output_tangents = {foreign}}); }, refused);
}

TEST_F(TangentMisuse, InBindingsAndWorkspaces) {
  const Plan plan = compile(graph, {.tangents = {x}, .output_tangents = {z}});
  Bindings bindings(plan);
  const Tensor in = random_tensor({2, 4}, DType::kFloat32, 1);
  const Parameters parameters(graph, DType::kFloat32);
  bindings.input(x, in).parameters(parameters);
  Workspace workspace(plan, 2);
  EXPECT_THAT([&] { Executor().run(workspace, bindings); },
              ThrowsMessage<ArgumentError>(HasSubstr("nothing is bound to 'tangent of x'")));
  EXPECT_THAT([&] { bindings.tangent(w, in); },
              ThrowsMessage<ArgumentError>(HasSubstr("not compiled with a tangent")));
  EXPECT_THAT([&] { bindings.input("tangent of x", in); },
              ThrowsMessage<ArgumentError>(HasSubstr("reads no input")));
  EXPECT_THAT(
      [&] {
        bindings.tangent(x, random_tensor({2, 3}, DType::kFloat32, 1));
      },
      ThrowsMessage<ShapeError>(HasSubstr("tangent of x")));
  EXPECT_THAT(
      [&] {
        bindings.tangent(x, random_tensor({2, 4}, DType::kFloat64, 1));
      },
      ThrowsMessage<ShapeError>(HasSubstr("float64")));
  const Tensor three = random_tensor({3, 4}, DType::kFloat32, 1);
  bindings.tangent(x, three);
  EXPECT_THROW(Executor().run(workspace, bindings), ShapeError);
  EXPECT_THAT([&] { workspace.tangent(other); },
              ThrowsMessage<ArgumentError>(HasSubstr("tangent of other")));
}

}  // namespace
}  // namespace chainrule
