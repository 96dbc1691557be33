// SPDX-License-Identifier: Apache-2.0
// Tangents of gradients (forward over reverse) as plans: what is emitted, on several threads,
// refused, and by hand. tests/check/test_second_order.cpp has the Hessians.
#include <gmock/gmock.h>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using testing::bytes;
using ::testing::Each;
using testing::elements;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::random_tensor;
using testing::tensor;
using ::testing::ThrowsMessage;

double dot(ConstTensorView a, ConstTensorView b) {
  const std::vector<double> x = elements(a), y = elements(b);
  double sum = 0;
  for (std::size_t k = 0; k < x.size(); ++k) sum += x[k] * y[k];
  return sum;
}

// ---- by hand

TEST(HessianVectorProduct, OfAProduct) {
  // L = sum a b c, elementwise: along ta, dL/da stays, dL/db moves by ta c.
  Graph graph;
  const Value a = graph.input("a", {kBatch, 2}), b = graph.input("b", {kBatch, 2});
  const Value c = graph.input("c", {kBatch, 2});
  const Value loss = reduce_sum(mul(mul(a, b), c), Axis::kAll);
  const Plan plan = compile(graph, {.dtype = DType::kFloat64,
                                    .loss = loss,
                                    .gradients = {a, b, c},
                                    .tangents = {a},
                                    .gradient_tangents = {a, b, c}});
  Workspace workspace(plan, 1);
  Bindings bindings(plan);
  const Tensor va = tensor({1, 2}, {2, 3}), vb = tensor({1, 2}, {5, 7});
  const Tensor vc = tensor({1, 2}, {11, 13}), ta = tensor({1, 2}, {1, -1});
  bindings.input(a, va).input(b, vb).input(c, vc).tangent(a, ta);
  Executor().run(workspace, bindings);
  EXPECT_THAT(elements(workspace.gradient(a)), ElementsAre(55, 91));
  EXPECT_THAT(elements(workspace.gradient_tangent(a)), ElementsAre(0, 0));
  EXPECT_THAT(elements(workspace.gradient_tangent(b)), ElementsAre(11, -13));
  EXPECT_THAT(elements(workspace.gradient_tangent(c)), ElementsAre(5, -7));
}

TEST(HessianVectorProduct, OfAQuadraticForm) {
  // L = sum over the rows of x w x^T for a row vector x: H u = u (w + w^T).
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value w = graph.parameter("w", {2, 2});
  const Value loss = reduce_sum(mul(matmul(x, w), x), Axis::kAll);
  Parameters parameters(graph, DType::kFloat64);
  copy_values(tensor({2, 2}, {1, 2, 3, 4}), parameters.mutable_view(w));
  const Tensor in = tensor({2, 2}, {1, -1, 0.5, 2}), u = tensor({2, 2}, {1, 0, 10, 100});
  const Feed feed{.inputs = {{x, in}}, .parameters = &parameters};
  EXPECT_THAT(elements(hessian_vector_product(graph, loss, x, u, feed)),
              ElementsAre(2, 5, 520, 850));
  // The loss is linear in w.
  EXPECT_THAT(elements(hessian_vector_product(graph, loss, w, tensor({2, 2}, {1, 2, 3, 4}), feed)),
              Each(0.0));
}

TEST(HessianVectorProduct, OfALinearLossIsZero) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 2});
  const Value loss = reduce_mean(scale(x, 3), Axis::kAll);
  const Tensor in = tensor({2, 2}, {1, -1, 0.5, 2});
  const Feed feed{.inputs = {{x, in}}};
  EXPECT_THAT(elements(hessian_vector_product(graph, loss, x, in, feed)), Each(0.0));
}

TEST(HessianVectorProduct, OfAParameterReadTwice) {
  // L = sum w (w w), a cubic: dL/dw = w^T w^T + ... has many terms; H is symmetric and H w = 2
  // dL/dw because the gradient is homogeneous of degree 2.
  Graph graph;
  const Value w = graph.parameter("w", {3, 3});
  const Value loss = reduce_sum(mul(w, matmul(w, w)), Axis::kAll);
  Parameters parameters(graph, DType::kFloat64, 3);
  const Feed feed{.inputs = {}, .parameters = &parameters};
  const std::vector<double> g = elements(gradient(graph, loss, w, feed));
  const std::vector<double> hw =
      elements(hessian_vector_product(graph, loss, w, parameters.view(w), feed));
  for (std::size_t k = 0; k < g.size(); ++k) EXPECT_NEAR(hw[k], 2 * g[k], 1e-14);
  const Tensor u = random_tensor({3, 3}, DType::kFloat64, 1);
  const Tensor v = random_tensor({3, 3}, DType::kFloat64, 2);
  EXPECT_NEAR(dot(v, hessian_vector_product(graph, loss, w, u, feed)),
              dot(u, hessian_vector_product(graph, loss, w, v, feed)), 1e-14);
}

// ---- plans

TEST(SecondOrderPlan, PutsTangentsOfGradientsBesideGradients) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value w1 = graph.parameter("w1", {4, 8}), b = graph.parameter("b", {8});
  const Value w2 = graph.parameter("w2", {8, 3});
  const Value z1 = graph.rename(matmul(x, w1), "z1");
  const Value a1 = graph.rename(tanh(graph.rename(add_bias(z1, b), "s1")), "a1");
  const Value z2 = graph.rename(matmul(a1, w2), "z2");
  const Value rows = graph.rename(
      mean_squared_error(z2, graph.input("t", {kBatch, 3}), {.reduction = Reduction::kNone}),
      "rows");
  const Value loss = graph.rename(reduce_loss(rows), "loss");
  const Plan plan = compile(
      graph, {.loss = loss, .gradients = {w1, b}, .tangents = {w1}, .gradient_tangents = {w1, b}});
  const std::string text = plan.to_text();
  const auto first = text.find("phase 0");
  EXPECT_EQ("\n" + text.substr(first, text.find("buffers\n") - first), R"(
phase 0 WholeBatch
  clear b:  -> t b
  clear w2:  -> t w2
  seed loss:  -> d loss
  clear w2:  -> t w2 transposed
phase 1 RowSegment
  forward z1: x, w1 -> z1
  clear x:  -> t x
  jvp z1: x, w1, z1, t x, tangent of w1 -> t z1
  forward s1: z1, b -> s1
  jvp s1: z1, b, s1, t z1, t b -> t s1
  forward a1: s1 -> a1
  jvp a1: s1, a1, t s1 -> t a1
  forward z2: a1, w2 -> z2
  jvp z2: a1, w2, z2, t a1, t w2 -> t z2
  forward rows: z2, t -> rows
  forward loss: rows -> loss parts
  backward loss: d loss -> d rows
  backward rows: z2, t, d rows -> d z2
  clear rows:  -> t d rows
  backward_jvp rows: z2, t, d rows, t z2, t d rows -> t d z2
  backward z2: a1, w2 transposed, d z2 -> d a1
  backward_jvp z2: a1, w2 transposed, d z2, t a1, t w2, t w2 transposed, t d z2 -> t d a1
  backward a1: a1, d a1 -> d s1
  backward_jvp a1: a1, d a1, t s1, t d a1 -> t d s1
  backward s1: d s1 -> d z1, d b parts
  backward s1: t d s1 -> t d z1, t d b parts
phase 2 WeightTiles
  tiles b 1 of 1 x 8, gradient in workspace
    partial_sum s1: d b parts -> 
  tiles b 1 of 1 x 8, gradient in workspace
    partial_sum s1: t d b parts -> 
  tiles w1 1 of 4 x 8, gradient in workspace
    weight_gradient z1: x, d z1 -> 
  tiles w1 1 of 4 x 8, gradient in workspace
    weight_gradient_jvp z1: x, d z1, t x, tangent of w1, t d z1 -> 
phase 3 WholeBatch
  finish loss: loss parts -> loss
when stale transpose w2: w2 -> w2 transposed
)");
}

// Of what does not move, backward itself gives the tangent of its gradient.
TEST(SecondOrderPlan, NeedsNoSecondDerivativesOfWhatDoesNotMove) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value w = graph.parameter("w", {3, 4});
  const Value h = layer_norm(tanh(matmul(x, w)), graph.parameter("gamma", {4}, ones()),
                             graph.parameter("beta", {4}));
  const Value head = graph.parameter("head", {4, 2});
  const Value loss = mean_squared_error(matmul(h, head), graph.input("t", {kBatch, 2}));
  Parameters parameters(graph, DType::kFloat64, 3);
  const Tensor in = random_tensor({5, 3}, DType::kFloat64, 1);
  const Tensor target = random_tensor({5, 2}, DType::kFloat64, 2);
  const Tensor u = random_tensor({3, 4}, DType::kFloat64, 3);
  const Tensor v = random_tensor({4, 2}, DType::kFloat64, 4);
  // The block of the Hessian between w and head, both ways: neither differentiates layer_norm
  // twice.
  const auto block = [&](Value moving, const Tensor& along, Value of) {
    const Plan plan = compile(graph, {.dtype = DType::kFloat64,
                                      .loss = loss,
                                      .gradients = {of},
                                      .tangents = {moving},
                                      .gradient_tangents = {of}});
    Workspace workspace(plan, 5);
    Bindings bindings(plan);
    bindings.input(x, in).input("t", target).parameters(parameters).tangent(moving, along);
    Executor().run(workspace, bindings);
    return dot(workspace.gradient_tangent(of), of == w ? u : v);
  };
  const double product = block(w, u, head);
  EXPECT_GT(std::abs(product), 1e-3);
  EXPECT_NEAR(block(head, v, w), product, 1e-14);
  EXPECT_THAT([&] { block(w, u, w); }, ThrowsMessage<UnsupportedError>(HasSubstr("layer_norm")));
}

/// Two layers with shared weights, dropout and weighted cross-entropy: 250 rows, 8 blocks.
class SecondOrderRuns : public ::testing::TestWithParam<DType> {
 protected:
  static constexpr Index kRows = 250;

  SecondOrderRuns() {
    const Value hidden = testing::meet(add_bias(matmul(x, w), b));
    const Value h = dropout(gelu(matmul(tanh(hidden), shared)), 0.3);
    const Value z = matmul(matmul(h, shared), last);
    loss = softmax_cross_entropy(z, y, {.label_smoothing = 0.1, .weights = weights});
    moving = {x, w, b, shared, last};
  }

  Plan plan() const {
    return compile(graph, {.dtype = GetParam(),
                           .loss = loss,
                           .gradients = moving,
                           .tangents = moving,
                           .output_tangents = {loss},
                           .gradient_tangents = moving});
  }

  std::string run(const Executor& executor, const Plan& plan, int wait_for) {
    const DType dtype = GetParam();
    const Parameters parameters(graph, dtype, 5);
    const Tensor in = random_tensor({kRows, 40}, dtype, 1);
    const Tensor labels = testing::random_labels(kRows, 10, 2);
    const Tensor of_rows = random_tensor({kRows, 1}, dtype, 3);
    std::vector<Tensor> directions;
    Bindings bindings(plan);
    bindings.input(x, in).input(y, labels).input(weights, of_rows);
    bindings.parameters(parameters).random({.seed = 4});
    for (const Value& value : moving) {
      const Shape shape = value.shape().with_batch(kRows);
      directions.push_back(random_tensor(shape, dtype, static_cast<std::uint64_t>(value.id())));
    }
    for (std::size_t k = 0; k < moving.size(); ++k) bindings.tangent(moving[k], directions[k]);
    Workspace workspace = executor.make_workspace(plan, kRows);
    const testing::Meeting meeting(wait_for);
    executor.with_residents([&] { executor.run(workspace, bindings); });
    EXPECT_GE(meeting.arrived(), wait_for);
    std::string result = bytes(workspace.tangent(loss));
    for (const Value& value : moving) {
      result += bytes(workspace.gradient(value)) + bytes(workspace.gradient_tangent(value));
      EXPECT_THAT(elements(workspace.gradient_tangent(value)), Not(Each(0.0)));
    }
    return result;
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 40});
  Value y = graph.labels("y");
  Value weights = graph.input("weights", {kBatch});
  Value w = graph.parameter("w", {40, 48}), b = graph.parameter("b", {48});
  Value shared = graph.parameter("shared", {48, 48}), last = graph.parameter("last", {48, 10});
  Value loss;
  std::vector<Value> moving;
};

TEST_P(SecondOrderRuns, HaveTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Plan second = plan();
  const std::string serial = run(Executor(), second, 0);
  for (const int threads : {1, 2, 3, 8}) {
    EXPECT_TRUE(run(Executor(threads), second, threads) == serial) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(BothDtypes, SecondOrderRuns,
                         ::testing::Values(DType::kFloat32, DType::kFloat64),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST(SecondOrderRun, OfAnEmptyBatch) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value w = graph.parameter("w", {3, 2}), b = graph.parameter("b", {2});
  const Value loss =
      binary_cross_entropy(tanh(add_bias(matmul(x, w), b)), graph.input("t", {kBatch, 2}));
  const Plan plan = compile(graph, {.dtype = DType::kFloat64,
                                    .loss = loss,
                                    .gradients = {x, w, b},
                                    .tangents = {x, w},
                                    .gradient_tangents = {x, w, b}});
  Workspace workspace(plan, 4);
  Bindings bindings(plan);
  const Parameters parameters(graph, DType::kFloat64);
  const Tensor none({0, 3}, DType::kFloat64), target({0, 2}, DType::kFloat64);
  const Tensor tw = random_tensor({3, 2}, DType::kFloat64, 1);
  bindings.input(x, none).input("t", target).parameters(parameters);
  bindings.tangent(x, none).tangent(w, tw);
  Executor().run(workspace, bindings);
  EXPECT_EQ(workspace.gradient_tangent(x).rows, 0);
  EXPECT_THAT(elements(workspace.gradient_tangent(w)), Each(0.0));
  EXPECT_THAT(elements(workspace.gradient_tangent(b)), Each(0.0));
}

// ---- misuse

class SecondOrderMisuse : public ::testing::Test {
 protected:
  CompileOptions hessian(Value of, Value loss) {
    return {.loss = loss, .gradients = {of}, .tangents = {of}, .gradient_tangents = {of}};
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 4});
  Value w = graph.parameter("w", {4, 4});
  Value z = graph.rename(matmul(x, w), "z");
};

TEST_F(SecondOrderMisuse, OpsWithoutSecondDerivativesAreNamed) {
  const Value gamma = graph.parameter("gamma", {4}), beta = graph.parameter("beta", {4});
  const Value mean = graph.state("mean", {4}, zeros()), variance = graph.state("var", {4}, ones());
  const Value last = graph.parameter("last", {4, 1});
  for (const Value& node :
       {softmax(z), log_softmax(z), layer_norm(z, gamma, beta),
        batch_norm(z, gamma, beta, mean, variance), testing::fragile_dot(z, last)}) {
    const Value loss = reduce_sum(mul(node, node), Axis::kAll);
    EXPECT_THAT([&] { compile(graph, hessian(w, loss)); },
                ThrowsMessage<UnsupportedError>(AllOf(HasSubstr(std::string(node.node().op->name)),
                                                      HasSubstr("second derivatives"))));
    EXPECT_NO_THROW(compile(
        graph, {.loss = loss, .gradients = {w}, .tangents = {w}, .output_tangents = {loss}}));
  }
}

TEST_F(SecondOrderMisuse, OfAGradientThatIsNotAskedFor) {
  CompileOptions options = hessian(w, reduce_sum(mul(z, z), Axis::kAll));
  options.gradients = {x};
  EXPECT_THAT([&] { compile(graph, options); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("w [4, 4]"), HasSubstr("gradient"))));
}

TEST_F(SecondOrderMisuse, OfAGradientThatNothingMoves) {
  const Value v = graph.parameter("v", {4});
  CompileOptions options = hessian(w, reduce_sum(mul(z, z), Axis::kAll));
  options.cotangents = {mul(v, v)};
  options.gradients = {w, v};
  EXPECT_NO_THROW(compile(graph, options));
  options.gradient_tangents = {w, v};
  EXPECT_THAT([&] { compile(graph, options); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("v [4]"), HasSubstr("nothing"))));
  options.tangents = {};
  options.gradient_tangents = {w};
  EXPECT_THAT([&] { compile(graph, options); },
              ThrowsMessage<ArgumentError>(HasSubstr("w [4, 4]")));
}

TEST_F(SecondOrderMisuse, OfWhatIsNotKept) {
  const Plan plan = compile(graph, hessian(w, reduce_sum(mul(z, z), Axis::kAll)));
  const Workspace workspace(plan, 1);
  EXPECT_THAT([&] { workspace.gradient_tangent(x); },
              ThrowsMessage<ArgumentError>(HasSubstr("gradient's tangent of x")));
}

}  // namespace
}  // namespace chainrule
