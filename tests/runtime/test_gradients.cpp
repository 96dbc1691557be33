// SPDX-License-Identifier: Apache-2.0
// Gradients of whole graphs against finite differences and hand-computed numbers, in float64.
#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using testing::elements;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::random_tensor;
using testing::tensor;

/// Central differences of the loss in every element of `view`.
std::vector<double> differences(const Graph& graph, Value loss, const Feed& feed, TensorView view) {
  constexpr double kStep = 1e-5;
  std::vector<double> result;
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) {
      double& value = view.as<double>()(i, j);
      const double original = value;
      const auto at = [&](double v) {
        value = v;
        return element(evaluate(graph, loss, feed), 0, 0);
      };
      result.push_back((at(original + kStep) - at(original - kStep)) / (2 * kStep));
      value = original;
    }
  }
  return result;
}

void expect_close(const std::vector<double>& actual, const std::vector<double>& expected,
                  const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double largest = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_NEAR(actual[i], expected[i], 1e-8 * (1 + std::fabs(expected[i]))) << what << " " << i;
    largest = std::max(largest, std::fabs(expected[i]));
  }
  EXPECT_GT(largest, 1e-3) << what << ": a zero gradient proves nothing";
}

/// A graph with one loss, checked for all its parameters, inputs and the named nodes at once.
class Checked {
 public:
  Checked() = default;

  void check(Value loss, Index rows) {
    Parameters parameters(graph, DType::kFloat64, 3);
    for (Index i = 0; i < parameters.size(); ++i) {
      initialize(uniform(1), {.seed = 8, .stream = static_cast<std::uint64_t>(i)},
                 parameters.mutable_view(i));
    }
    std::vector<Tensor> inputs;
    std::vector<Value> values;
    for (NodeId id = 0; id < static_cast<NodeId>(graph.size()); ++id) {
      const Node& node = graph.node(id);
      if (node.kind == NodeKind::kInput) {
        values.emplace_back(&graph, id);
        const Shape shape = node.shape.with_batch(rows);
        inputs.push_back(random_tensor(shape, DType::kFloat64, static_cast<std::uint64_t>(id)));
      }
    }
    Feed feed{.inputs = {}, .parameters = &parameters};
    for (std::size_t i = 0; i < values.size(); ++i) feed.inputs.emplace_back(values[i], inputs[i]);

    for (std::size_t i = 0; i < values.size(); ++i) {
      expect_close(elements(gradient(graph, loss, values[i], feed)),
                   differences(graph, loss, feed, inputs[i]), values[i].node().name);
    }
    for (Index i = 0; i < parameters.size(); ++i) {
      const auto& entry = parameters.layout().entries[static_cast<std::size_t>(i)];
      expect_close(elements(gradient(graph, loss, Value(&graph, entry.node), feed)),
                   differences(graph, loss, feed, parameters.mutable_view(i)), entry.name);
    }
  }

  Graph graph;
};

TEST(FanOut, AValueWithSeveralConsumers) {
  Checked c;
  const Value x = c.graph.input("x", {kBatch, 3});
  const Value h = tanh(matmul(x, c.graph.parameter("w", {3, 4})));
  const Value sum = add(mul(h, sigmoid(h)), sub(scale(h, 0.5), exp(h)));
  c.check(reduce_mean(mul(sum, sum), Axis::kAll), 5);
}

TEST(FanOut, BothInputsOfOneOp) {
  Checked c;
  const Value x = c.graph.input("x", {kBatch, 3});
  const Value square = mul(x, x);
  const Value twice = add(square, square);
  const Value mixed = sub(twice, mul(twice, x));
  c.check(reduce_sum(mixed, Axis::kAll), 4);
}

TEST(FanOut, AParameterSharedByTwoLayers) {
  Checked c;
  const Value x = c.graph.input("x", {kBatch, 3});
  const Value w = c.graph.parameter("w", {3, 3});
  const Value b = c.graph.parameter("b", {3});
  const Value h = tanh(add_bias(matmul(x, w), b));
  c.check(reduce_mean(mul(add_bias(matmul(h, w), b), h), Axis::kAll), 70);
}

TEST(FanOut, AParameterOnBothSidesOfAProduct) {
  Checked c;
  const Value w = c.graph.parameter("w", {3, 3});
  const Value product = matmul(tanh(matmul(w, w)), w);
  const Value x = c.graph.input("x", {kBatch, 3});
  c.check(reduce_sum(sigmoid(matmul(x, product)), Axis::kAll), 4);
}

TEST(FanOut, APenaltyInTheGraph) {
  Checked c;
  const Value x = c.graph.input("x", {kBatch, 3});
  const Value w = c.graph.parameter("w", {3, 2});
  const Value b = c.graph.parameter("b", {2});
  const Value fit = reduce_mean(gelu(add_bias(matmul(x, w), b)), Axis::kAll);
  const Value penalty = add(reduce_sum(mul(w, w), Axis::kAll), reduce_sum(mul(b, b), Axis::kAll));
  c.check(add(fit, scale(penalty, 0.3)), 6);
}

TEST(FanOut, ThroughBatchStatistics) {
  Checked c;
  const Value x = c.graph.input("x", {kBatch, 3});
  const Value mean = reduce_mean(x, Axis::kBatch);
  const Value shifted = add_bias(x, scale(mean, -1));
  c.check(reduce_mean(mul(mul(shifted, shifted), x), Axis::kAll), 40);
}

TEST(Update, OfAParameterReadByItsOwnGradientUsesOldValues) {
  // L = sum(w w) + sum over the batch of x w with w on both sides of a product: one SGD step must
  // be w - rate dL/dw at the old w, though tiles update w while others still read it.
  Graph graph;
  const Value w = graph.parameter("w", {130, 130}, normal(0.1));
  const Value x = graph.input("x", {kBatch, 130});
  const Value loss = add(reduce_mean(mul(matmul(x, matmul(w, w)), x), Axis::kAll),
                         reduce_sum(mul(w, w), Axis::kAll));
  const Tensor in = random_tensor({5, 130}, DType::kFloat64, 1);
  Parameters parameters(graph, DType::kFloat64, 2);
  const Feed feed{.inputs = {{x, in}}, .parameters = &parameters};
  const std::vector<double> g = elements(gradient(graph, loss, w, feed));
  const std::vector<double> before = elements(parameters.view(w));

  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.loss = loss;
  options.update = UpdateOptions{.def = &testing::kSgdUpdate, .targets = {{w}}};
  const Plan plan = compile(graph, options);
  Workspace workspace(plan, 5);
  Bindings bindings(plan);
  OptimizerState state;
  const std::vector<double> scalars = testing::sgd_scalars(0.5);
  bindings.input(x, in).parameters(parameters).optimizer(state, scalars);
  Executor().run(workspace, bindings);
  const std::vector<double> after = elements(parameters.view(w));
  for (std::size_t i = 0; i < after.size(); ++i) {
    ASSERT_NEAR(after[i], before[i] - 0.5 * g[i], 1e-14) << i;
  }
}

// ---- cotangents and Jacobians by hand: y = x w with w = [[1, 2, 3], [4, 5, 6]]

class Affine : public ::testing::Test {
 protected:
  Affine() {
    x = graph.input("x", {kBatch, 2});
    w = graph.parameter("w", {2, 3});
    y = matmul(x, w);
    parameters = Parameters(graph, DType::kFloat64);
    copy_values(tensor({2, 3}, {1, 2, 3, 4, 5, 6}), parameters.mutable_view(w));
    in = tensor({2, 2}, {1, -1, 0.5, 2});
    feed = {.inputs = {{x, in}}, .parameters = &parameters};
  }

  Graph graph;
  Value x, w, y;
  Parameters parameters;
  Tensor in;
  Feed feed;
};

TEST_F(Affine, Evaluate) {
  EXPECT_THAT(elements(evaluate(graph, y, feed)), ElementsAre(-3, -3, -3, 8.5, 11, 13.5));
}

TEST_F(Affine, VectorJacobianProduct) {
  const Tensor v = tensor({2, 3}, {1, 0, -1, 2, 1, 0});
  // dx = v w^T, dw = x^T v.
  EXPECT_THAT(elements(vector_jacobian_product(graph, y, x, v, feed)), ElementsAre(-2, -2, 4, 13));
  EXPECT_THAT(elements(vector_jacobian_product(graph, y, w, v, feed)),
              ElementsAre(2, 0.5, -1, 3, 2, 1));
}

TEST_F(Affine, JacobianOfEachRow) {
  const Tensor j = jacobian(graph, y, x, feed);
  EXPECT_EQ(j.shape(), (Shape{2, 3, 2}));
  EXPECT_THAT(elements(j), ElementsAre(1, 4, 2, 5, 3, 6, 1, 4, 2, 5, 3, 6));  // w^T, twice
}

TEST_F(Affine, JacobianInAParameter) {
  const Tensor j = jacobian(graph, slice(y, 1, 1), w, feed);
  EXPECT_EQ(j.shape(), (Shape{2, 1, 6}));
  EXPECT_THAT(elements(j), ElementsAre(0, 1, 0, 0, -1, 0, 0, 0.5, 0, 0, 2, 0));
}

TEST_F(Affine, FullJacobianHasZerosBetweenRows) {
  const Tensor j = full_jacobian(graph, slice(y, 0, 1), x, feed);
  EXPECT_EQ(j.shape(), (Shape{2, 4}));
  EXPECT_THAT(elements(j), ElementsAre(1, 4, 0, 0, 0, 0, 1, 4));
}

TEST_F(Affine, JacobianOfAScalarIsOneRow) {
  const Tensor j = jacobian(graph, reduce_sum(y, Axis::kAll), x, feed);
  EXPECT_EQ(j.shape(), (Shape{1, 1, 4}));
  EXPECT_THAT(elements(j), ElementsAre(6, 15, 6, 15));
}

TEST_F(Affine, DerivativesOfWhatDoesNotDependAreRefusedByName) {
  const Value other = graph.input("other", {kBatch, 2});
  const Tensor three = tensor({2, 3}, {1, 0, -1, 2, 1, 0});
  const auto message = [](const auto& derivative) -> std::string {
    try {
      derivative();
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "no error";
  };
  const auto expect_refused = [](const std::string& message, const std::string& who) {
    EXPECT_THAT(message, ::testing::StartsWith(who + ": "));
    EXPECT_THAT(message, HasSubstr("does not depend on other [batch, 2]"));
  };
  for (const auto mode : {JacobianMode::kAuto, JacobianMode::kForward, JacobianMode::kReverse}) {
    expect_refused(message([&] { jacobian(graph, y, other, feed, mode); }), "jacobian");
    expect_refused(message([&] { full_jacobian(graph, y, other, feed, mode); }), "full_jacobian");
  }
  expect_refused(message([&] { vector_jacobian_product(graph, y, other, three, feed); }),
                 "vector_jacobian_product");
  expect_refused(message([&] { jacobian_vector_product(graph, y, other, in, feed); }),
                 "jacobian_vector_product");
}

TEST_F(Affine, JacobianRefusesToMixRows) {
  const Value n = batch_norm(y, graph.parameter("gamma", {3}, ones()), graph.parameter("beta", {3}),
                             graph.state("mean", {3}, zeros()),
                             graph.state("variance", {3}, constant(4)), {.epsilon = 1e-300});
  const Parameters all(graph, DType::kFloat64);
  const Tensor three = tensor({3, 2}, {1, -1, 0.5, 2, -3, 0});
  Feed f{.inputs = {{x, three}}, .parameters = &all, .mode = Mode::kTraining};
  EXPECT_THROW(jacobian(graph, n, x, f), UnsupportedError);
  // In training every row of n depends on every row of x; in inference it is w^T / 2.
  EXPECT_NE(element(full_jacobian(graph, n, x, f), 0, 2), 0);
  f.mode = Mode::kInference;
  const std::vector<double> transposed = elements(all.view(w));
  const Tensor j = jacobian(graph, n, x, f);
  for (Index k = 0; k < 3; ++k) {
    for (Index i = 0; i < 2; ++i) {
      EXPECT_NEAR(element(j, k, i), transposed[static_cast<std::size_t>(i * 3 + k)] / 2, 1e-15);
    }
  }
}

TEST_F(Affine, ElementwiseDerivative) {
  const Value a = relu(add_bias(y, graph.parameter("b", {3})));
  Parameters all(graph, DType::kFloat64);
  copy_values(parameters.view(w), all.mutable_view(w));
  const Feed f{.inputs = {{x, in}}, .parameters = &all};
  EXPECT_THAT(elements(elementwise_derivative(graph, a, f)), ElementsAre(0, 0, 0, 1, 1, 1));
  EXPECT_THROW(elementwise_derivative(graph, y, f), ArgumentError);
  EXPECT_THROW(elementwise_derivative(graph, x, f), ArgumentError);
}

TEST_F(Affine, FeedsMayNameInputsThatAreNotRead) {
  const Value other = graph.input("other", {kBatch, 1});
  const Tensor column = tensor({7, 1}, {1, 2, 3, 4, 5, 6, 7});
  const Feed f{.inputs = {{other, column}, {x, in}}, .parameters = &parameters};
  EXPECT_EQ(evaluate(graph, y, f).rows(), 2);
  Graph another;
  const Value foreign = another.input("x", {kBatch, 2});
  const Feed wrong{.inputs = {{foreign, in}}, .parameters = &parameters};
  EXPECT_THROW(evaluate(graph, y, wrong), ArgumentError);
}

TEST(Cotangents, AddToEachOtherAndToTheLoss) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value a = scale(x, 3);
  const Value b = scale(a, 5);
  const Value loss = reduce_sum(b, Axis::kAll);
  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.loss = loss;
  options.cotangents = {a, b};
  options.gradients = {x, a, b};
  const Plan plan = compile(graph, options);
  Workspace workspace(plan, 1);
  Bindings bindings(plan);
  const Tensor in = tensor({1, 2}, {1, 1});
  const Tensor va = tensor({1, 2}, {1, 10});
  const Tensor vb = tensor({1, 2}, {2, 0});
  bindings.input(x, in).cotangent(a, va).cotangent(b, vb);
  Executor().run(workspace, bindings);
  EXPECT_THAT(elements(workspace.gradient(b)), ElementsAre(3, 1));
  EXPECT_THAT(elements(workspace.gradient(a)), ElementsAre(16, 15));
  EXPECT_THAT(elements(workspace.gradient(x)), ElementsAre(48, 45));
}

TEST(Gather, RunsOnTheRowsInTheBoundOrder) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value i = graph.labels("i");
  const Value table = graph.parameter("table", {3, 2});
  const Value y = add(x, embedding(i, table));
  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.loss = reduce_sum(mul(y, y), Axis::kAll);
  options.outputs = {y, x};
  options.gradients = {x, table};
  options.gather = true;
  const Plan plan = compile(graph, options);
  Workspace workspace(plan, 3);
  Bindings bindings(plan);
  const Tensor in = tensor({4, 2}, {0, 1, 2, 3, 4, 5, 6, 7});
  const Tensor labels = tensor({4, 1}, {2, 1, 0, 2}, DType::kInt32);
  Parameters parameters(graph, DType::kFloat64);
  copy_values(tensor({3, 2}, {10, 20, 30, 40, 50, 60}), parameters.mutable_view(table));
  const std::vector<std::uint32_t> order = {3, 0, 3};
  bindings.input(x, in).input(i, labels).parameters(std::as_const(parameters)).row_order(order);
  Executor().run(workspace, bindings);
  EXPECT_THAT(elements(workspace.output(x)), ElementsAre(6, 7, 0, 1, 6, 7));
  EXPECT_THAT(elements(workspace.output(y)), ElementsAre(56, 67, 50, 61, 56, 67));
  EXPECT_THAT(elements(workspace.gradient(x)), ElementsAre(112, 134, 100, 122, 112, 134));
  EXPECT_THAT(elements(workspace.gradient(table)), ElementsAre(0, 0, 0, 0, 324, 390));
}

}  // namespace
}  // namespace chainrule
