// SPDX-License-Identifier: Apache-2.0
// Misuse of compile, bind and run is refused with a message that says what came and what was
// expected.
#include <gmock/gmock.h>

#include <algorithm>
#include <span>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/core/op_def.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using testing::elements;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::random_labels;
using testing::random_tensor;
using testing::tensor;
using ::testing::ThrowsMessage;

class Misuse : public ::testing::Test {
 protected:
  Misuse() {
    x = graph.input("x", {kBatch, 4});
    y = graph.labels("y");
    w = graph.parameter("w", {4, 3});
    z = graph.rename(matmul(x, w), "z");
    loss = softmax_cross_entropy(z, y);
  }

  CompileOptions training() {
    CompileOptions options{.loss = loss};
    options.update = UpdateOptions{.def = &testing::kAdamUpdate, .targets = {{w}}};
    return options;
  }

  Graph graph;
  Value x, y, w, z, loss;
  Tensor in = random_tensor({5, 4}, DType::kFloat32, 1);
  Tensor labels = random_labels(5, 3, 2);
};

TEST_F(Misuse, CompileWithIntegers) {
  EXPECT_THAT([&] { compile(graph, {.dtype = DType::kInt32, .outputs = {z}}); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("int32"), HasSubstr("float64"))));
}

TEST_F(Misuse, CompileALossThatIsNoScalar) {
  EXPECT_THAT([&] { compile(graph, {.loss = z}); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("z [batch, 3]"), HasSubstr("scalar"))));
}

TEST_F(Misuse, CompileAGradientThatIsZeroByConstruction) {
  const Value unused = graph.parameter("unused", {2});
  EXPECT_THAT([&] { compile(graph, {.loss = loss, .gradients = {unused}}); },
              ThrowsMessage<ArgumentError>(HasSubstr("unused")));
  EXPECT_THAT([&] { compile(graph, {.gradients = {w}, .outputs = {z}}); },
              ThrowsMessage<ArgumentError>(HasSubstr("w [4, 3]")));
  EXPECT_THAT([&] { compile(graph, {.loss = loss, .gradients = {y}}); },
              ThrowsMessage<ArgumentError>(HasSubstr("y [batch]")));
}

TEST_F(Misuse, CompileThroughAnOpWithoutGradient) {
  const Value blocked = reduce_sum(testing::opaque(z), Axis::kAll);
  EXPECT_THAT([&] { compile(graph, {.loss = blocked, .gradients = {w}}); },
              ThrowsMessage<UnsupportedError>(HasSubstr("opaque")));
  // It is no obstacle where no gradient passes.
  EXPECT_NO_THROW(compile(graph, {.loss = add(blocked, loss), .outputs = {z}}));
}

TEST_F(Misuse, CompileAnotherGraphsValues) {
  Graph other;
  const Value foreign = other.input("x", {kBatch, 4});
  const auto another = ThrowsMessage<ArgumentError>(HasSubstr("another graph"));
  EXPECT_THAT([&] { compile(graph, {.outputs = {foreign}}); }, another);
  EXPECT_THAT([&] { compile(graph, {.loss = loss, .gradients = {foreign}}); }, another);
  EXPECT_THAT([&] { compile(graph, {.loss = foreign}); }, another);
  EXPECT_THAT([&] { compile(graph, {.outputs = {Value{}}}); },
              ThrowsMessage<ArgumentError>(HasSubstr("empty")));
}

TEST_F(Misuse, CompileAnUpdateOfWhatIsNotLearned) {
  CompileOptions options = training();
  options.update->targets = {{x}};
  EXPECT_THAT(
      [&] { compile(graph, options); },
      ThrowsMessage<ArgumentError>(AllOf(HasSubstr("x [batch, 4]"), HasSubstr("parameter"))));
  options = training();
  options.update->def = nullptr;
  EXPECT_THROW(compile(graph, options), ArgumentError);
  options = training();
  options.loss = {};
  EXPECT_THROW(compile(graph, options), ArgumentError);
}

// A row-wise op of a user that drops the batch: its blocks would write the same memory.
struct DropsTheBatch {
  static constexpr std::string_view kName = "drops_the_batch";
  static constexpr OpTraits kTraits{};
  static constexpr bool kNoGradient = true;
  static Shape infer(const InferContext&) { return {2}; }
  template <class T>
  static void forward(const OpContext&) {}
};
constinit const OpDef kDropsTheBatchOp = define_op<DropsTheBatch>();

TEST_F(Misuse, CompileARowWiseOpWithoutRows) {
  const Value bad = graph.apply(kDropsTheBatchOp, {x});
  EXPECT_THAT(
      [&] { compile(graph, {.outputs = {bad}}); },
      ThrowsMessage<ShapeError>(AllOf(HasSubstr("drops_the_batch"), HasSubstr("row-wise"))));
}

TEST_F(Misuse, BindWhatDoesNotFit) {
  const Plan plan = compile(graph, {.outputs = {loss}});
  Bindings bindings(plan);
  EXPECT_THAT(
      [&] {
        bindings.input("x", random_tensor({5, 4}, DType::kFloat64, 1));
      },
      ThrowsMessage<ShapeError>(
          AllOf(HasSubstr("'x' expects float32 [batch, 4]"), HasSubstr("got float64 [5, 4]"))));
  EXPECT_THAT(
      [&] {
        bindings.input("x", random_tensor({5, 3}, DType::kFloat32, 1));
      },
      ThrowsMessage<ShapeError>(HasSubstr("got float32 [5, 3]")));
  EXPECT_THAT(
      [&] {
        bindings.input("y", random_tensor({5, 1}, DType::kFloat32, 1));
      },
      ThrowsMessage<ShapeError>(HasSubstr("expects int32")));
  EXPECT_THAT([&] { bindings.input("t", in); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("'t'"), HasSubstr("x, y"))));
  EXPECT_THAT([&] { bindings.input(w, in); }, ThrowsMessage<ArgumentError>(HasSubstr("w [4, 3]")));
  EXPECT_THAT([&] { bindings.cotangent(z, in); },
              ThrowsMessage<ArgumentError>(HasSubstr("cotangent")));
  Graph other;
  const Value foreign = other.input("x", {kBatch, 4});
  EXPECT_THAT([&] { bindings.input(foreign, in); },
              ThrowsMessage<ArgumentError>(HasSubstr("another graph")));
}

TEST_F(Misuse, BindParametersOfAnotherLayout) {
  const Plan plan = compile(graph, {.outputs = {z}});
  Bindings bindings(plan);
  EXPECT_THAT([&] { bindings.parameters(Parameters(graph, DType::kFloat64)); },
              ThrowsMessage<ShapeError>(HasSubstr("float64")));
  Graph other;
  other.parameter("w", {4, 4});
  EXPECT_THROW(bindings.parameters(Parameters(other)), ShapeError);
  OptimizerState state;
  const std::vector<double> scalars = testing::sgd_scalars(1);
  EXPECT_THROW(bindings.optimizer(state, scalars), ArgumentError);  // a plan without update
  Bindings training_bindings(compile(graph, training()));
  EXPECT_THROW(training_bindings.optimizer(state, scalars), ShapeError);
  OptimizerState one_slot(Parameters(graph).layout(), 1);
  EXPECT_THROW(training_bindings.optimizer(one_slot, scalars), ArgumentError);
}

TEST_F(Misuse, RunWithSomethingMissing) {
  const Plan plan = compile(graph, training());
  Workspace workspace(plan, 5);
  Bindings bindings(plan);
  Parameters parameters(graph);
  OptimizerState state(parameters.layout(), 2);
  const std::vector<double> scalars = testing::adam_scalars(1, 1);
  const auto run = [&] { Executor().run(workspace, bindings); };
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("'x'")));
  bindings.input("x", in);
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("'y'")));
  bindings.input("y", random_labels(4, 3, 1));
  EXPECT_THAT(run, ThrowsMessage<ShapeError>(AllOf(HasSubstr("4 rows"), HasSubstr("has 5"))));
  bindings.input("y", labels);
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("no parameters")));
  bindings.parameters(std::as_const(parameters));
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("const")));
  bindings.parameters(parameters);
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("'adam' needs an optimizer state")));
  bindings.optimizer(state, std::span(scalars).first(7));
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("needs 8 scalars, got 7")));
  bindings.optimizer(state, scalars);
  EXPECT_NO_THROW(run());
  Workspace small(plan, 4);
  EXPECT_THAT([&] { Executor().run(small, bindings); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("5 rows"), HasSubstr("up to 4"))));
  Workspace of_another_plan(compile(graph, training()), 5);
  EXPECT_THAT([&] { Executor().run(of_another_plan, bindings); },
              ThrowsMessage<ArgumentError>(HasSubstr("another plan")));
}

TEST_F(Misuse, RunWithARowOrderThatDoesNotFit) {
  CompileOptions options{.outputs = {z}};
  options.gather = true;
  const Plan plan = compile(graph, options);
  Workspace workspace(plan, 5);
  Bindings bindings(plan);
  const Parameters parameters(graph);
  bindings.input("x", in).parameters(parameters);
  const auto run = [&] { Executor().run(workspace, bindings); };
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(HasSubstr("no order is bound")));
  const std::vector<std::uint32_t> outside = {0, 5};
  bindings.row_order(outside);
  EXPECT_THAT(run, ThrowsMessage<ArgumentError>(AllOf(HasSubstr("row 5"), HasSubstr("5 rows"))));
}

TEST_F(Misuse, AskForResultsThatWereNotKept) {
  const Plan plan = compile(graph, {.outputs = {z}});
  const Workspace workspace(plan, 5);
  EXPECT_THROW(workspace.loss(), ArgumentError);
  EXPECT_THAT([&] { workspace.gradient(w); }, ThrowsMessage<ArgumentError>(HasSubstr("w [4, 3]")));
  EXPECT_THAT([&] { workspace.output(loss); }, ThrowsMessage<ArgumentError>(HasSubstr("value")));
  Graph other;
  for (int i = 0; i < 4; ++i) other.input(std::string(1, static_cast<char>('a' + i)), {kBatch});
  EXPECT_THROW(workspace.output(Value(&other, z.id())), ArgumentError);
}

TEST_F(Misuse, WorkspacesAndExecutorsOfImpossibleSizes) {
  const Plan plan = compile(graph, {.outputs = {z}});
  EXPECT_THROW(Workspace(plan, -1), ArgumentError);
  EXPECT_THROW(Workspace(plan, 1, 0), ArgumentError);
  EXPECT_THROW(Workspace(plan, Index{1} << 60), Error);
  EXPECT_THROW(Executor(-1), ArgumentError);
  EXPECT_THAT(
      [] { parse_gemm_path("fast"); },
      ThrowsMessage<ArgumentError>(AllOf(HasSubstr("fast"), HasSubstr("auto, fused or blas"))));
  EXPECT_EQ(parse_gemm_path(to_string(GemmPath::kBlas)), GemmPath::kBlas);
}

TEST_F(Misuse, AnEmptyBatchIsNone) {
  CompileOptions options = training();
  options.outputs = {z};
  options.gradients = {x, w};
  options.update->def = &testing::kSgdUpdate;
  const Plan plan = compile(graph, options);
  Workspace workspace(plan, 0);
  Bindings bindings(plan);
  Parameters parameters(graph);
  const std::string before = testing::bytes(parameters);
  OptimizerState state;
  const std::vector<double> scalars = testing::sgd_scalars(1);
  const Tensor no_rows(Shape{0, 4}, DType::kFloat32);
  const Tensor no_labels(Shape{0, 1}, DType::kInt32);
  bindings.input("x", no_rows).input("y", no_labels).parameters(parameters);
  bindings.optimizer(state, scalars);
  Executor().run(workspace, bindings);
  EXPECT_EQ(workspace.loss(), 0);
  EXPECT_EQ(workspace.output(z).rows, 0);
  EXPECT_EQ(workspace.gradient(x).rows, 0);
  EXPECT_THAT(elements(workspace.gradient(w)), ::testing::Each(0));
  EXPECT_EQ(testing::bytes(parameters), before);
}

TEST(PartialBatch, FewerRowsOnALargerWorkspaceAreThatBatch) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value w = graph.parameter("w", {3, 2});
  const Value loss = reduce_mean(tanh(matmul(x, w)), Axis::kAll);
  const Plan plan = compile(graph, {.loss = loss, .gradients = {x, w}});
  const Tensor in = random_tensor({900, 3}, DType::kFloat32, 3);
  const Parameters parameters(graph);
  Workspace large(plan, 900);
  for (const Index rows : {900, 1, 64, 65, 256, 257, 899}) {  // after a full batch, and each other
    Workspace exact(plan, rows);
    Bindings bindings(plan);
    bindings.input(x, testing::first_rows(in, rows)).parameters(parameters);
    Executor().run(large, bindings);
    Executor().run(exact, bindings);
    EXPECT_EQ(large.loss(), exact.loss()) << rows;
    EXPECT_EQ(testing::bytes(large.gradient(w)), testing::bytes(exact.gradient(w))) << rows;
    EXPECT_EQ(testing::bytes(large.gradient(x)), testing::bytes(exact.gradient(x))) << rows;
  }
}

TEST(Blocks, AreAFunctionOfTheRowsAlone) {
  Graph graph;
  const Plan plan = compile(graph, {.outputs = {relu(graph.input("x", {kBatch, 3}))}});
  EXPECT_EQ(Plan::block_rows(1), 16);
  Index most = 0;
  for (Index rows = 0; rows <= 20000; ++rows) {
    EXPECT_GE(Plan::block_rows(rows), rows == 0 ? 0 : Plan::block_rows(rows - 1));
    most = std::max(most, (rows + Plan::block_rows(rows) - 1) / Plan::block_rows(rows));
    EXPECT_EQ(Plan::max_blocks(rows), std::max<Index>(most, 1)) << rows;
    EXPECT_GE(plan.max_stripe_rows(rows), std::min(rows, Plan::block_rows(rows)));
  }
}

}  // namespace
}  // namespace chainrule
