// SPDX-License-Identifier: Apache-2.0
// Calls prepared when a workspace is bound: the bits of calls that are not, of another op where
// somebody has put other functions into one, and right again after anything has moved.
#include <gmock/gmock.h>

#include <array>
#include <limits>
#include <memory>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using testing::bytes;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::random_tensor;

OpDef unprepared(const OpDef& op) {
  OpDef copy = op;
  copy.prepare_forward = {};
  copy.prepare_backward = {};
  copy.prepare_finish = {};
  copy.prepare_weight_gradient = {};
  return copy;
}

/// x -> relu(x w0 + b0) -> h w1 + b1, squared error, from ops that are prepared or are not.
struct Net {
  explicit Net(bool prepared) {
    const auto op = [&](const OpDef& def) -> const OpDef& {
      if (prepared) return def;
      return *defs.emplace_back(std::make_unique<OpDef>(unprepared(def)));
    };
    const Value x = graph.input("x", {kBatch, 4}), target = graph.input("target", {kBatch, 1});
    const Value w0 = graph.parameter("w0", {4, 8}), b0 = graph.parameter("b0", {8});
    const Value w1 = graph.parameter("w1", {8, 1}), b1 = graph.parameter("b1", {1});
    const Value z = graph.apply(op(kAddBiasOp), {graph.apply(op(kMatmulOp), {x, w0}), b0});
    const Value h = graph.apply(op(kReluOp), {z});
    y = graph.apply(op(kAddBiasOp), {graph.apply(op(kMatmulOp), {h, w1}), b1});
    const Value rows = graph.apply(op(kMeanSquaredErrorOp), {y, target});
    loss = graph.apply(op(kBatchMeanOp), {rows}, {.integer = {1}});
  }

  Plan plan(const UpdateDef& update = testing::kSgdUpdate) {
    CompileOptions options{.loss = loss, .outputs = {y}};
    options.update = UpdateOptions{.def = &update, .targets = testing::all_parameters(graph)};
    return compile(graph, options);
  }

  std::vector<std::unique_ptr<OpDef>> defs;
  Graph graph;
  Value y, loss;
};

/// What a training run needs beside its plan.
class Training {
 public:
  Training(Net& net, Index rows, int threads = 1)
      : net_(net),
        executor_(threads),
        plan_(net.plan()),
        workspace_(executor_.make_workspace(plan_, rows)),
        bindings_(plan_),
        parameters_(net.graph, DType::kFloat32, 3),
        state_(parameters_.layout(), 0),
        x(random_tensor({rows, 4}, DType::kFloat32, 1)),
        target_(random_tensor({rows, 1}, DType::kFloat32, 2)) {
    bindings_.parameters(parameters_).optimizer(state_, scalars);
    bind(rows);
  }

  void bind(Index rows) {
    bindings_.input("x", testing::first_rows(x, rows));
    bindings_.input("target", testing::first_rows(target_, rows));
  }
  std::string step() {
    executor_.run(workspace_, bindings_);
    return bytes(parameters_) + bytes(workspace_.output(net_.y)) +
           std::to_string(workspace_.loss());
  }

 private:
  Net& net_;
  Executor executor_;
  Plan plan_;
  Workspace workspace_;
  Bindings bindings_;
  Parameters parameters_;
  OptimizerState state_;

 public:
  std::vector<double> scalars = testing::sgd_scalars(0.1);
  Tensor x;

 private:
  Tensor target_;
};

class PreparedCalls : public ::testing::TestWithParam<Index> {};

TEST_P(PreparedCalls, ChangeNoBit) {
  Net prepared(true), unprepared(false);
  Training a(prepared, GetParam()), b(unprepared, GetParam());
  for (int step = 0; step < 3; ++step) EXPECT_EQ(a.step(), b.step());
}

// The learning rate is read in each step, and so is what the inputs hold.
TEST_P(PreparedCalls, ReadWhatIsThereNow) {
  Net prepared(true), unprepared(false);
  Training a(prepared, GetParam()), b(unprepared, GetParam());
  for (Training* training : {&a, &b}) training->step();
  const Tensor other = random_tensor({GetParam(), 4}, DType::kFloat32, 9);
  for (Training* training : {&a, &b}) {
    training->scalars[0] = 0.03;
    copy_values(other, training->x.view());
  }
  for (int step = 0; step < 2; ++step) EXPECT_EQ(a.step(), b.step());
}

TEST_P(PreparedCalls, FollowTheRowsThatAreBound) {
  Net prepared(true), unprepared(false);
  Training a(prepared, GetParam()), b(unprepared, GetParam());
  for (const Index rows : {GetParam(), Index{1}, GetParam() / 2, GetParam()}) {
    for (Training* training : {&a, &b}) training->bind(rows);
    EXPECT_EQ(a.step(), b.step()) << rows << " rows";
  }
}

// The search for what is not finite runs the calls block by block.
TEST_P(PreparedCalls, AreRightAgainAfterALossThatIsNotFinite) {
  Net prepared(true), unprepared(false);
  Training a(prepared, GetParam()), b(unprepared, GetParam());
  for (Training* training : {&a, &b}) {
    training->step();
    const double good = element(training->x, 0, 2);
    set_element(training->x, 0, 2, std::numeric_limits<double>::infinity());
    EXPECT_THROW(training->step(), NonFiniteError);
    set_element(training->x, 0, 2, good);
  }
  for (int step = 0; step < 2; ++step) EXPECT_EQ(a.step(), b.step());
}

INSTANTIATE_TEST_SUITE_P(Rows, PreparedCalls, ::testing::Values(1, 13, 45, 300),
                         [](const auto& test) { return std::to_string(test.param); });

void three(const OpContext& context) {
  for (Index i = 0; i < context.rows; ++i) context.out<float>()(i, 0) = 3;
}

TEST(PreparedOps, ACopyWithAnotherFunctionIsNotPrepared) {
  ASSERT_NE(kIdentityOp.prepare_forward[0], nullptr);
  OpDef op = kIdentityOp;
  op.forward = {&three, &three};
  Graph graph;
  const Value y = graph.apply(op, {graph.input("x", {kBatch, 1})});
  const Plan plan = compile(graph, {.mode = Mode::kInference, .outputs = {y}});
  Bindings bindings(plan);
  const Tensor x = random_tensor({2, 1}, DType::kFloat32, 1);
  bindings.input("x", x);
  const Executor executor;
  Workspace workspace = executor.make_workspace(plan, 2);
  executor.run(workspace, bindings);
  EXPECT_THAT(testing::elements(workspace.output(y)), ::testing::ElementsAre(3, 3));
}

int products_prepared = 0;

PreparedCall count_and_prepare(const OpContext& context) {
  ++products_prepared;
  return kMatmulOp.prepare_forward[0](context);
}

// 128 rows at a time: x and the result move on, the values between them lie where they lay.
TEST(PreparedOps, ACallWhoseOperandsStayStaysPrepared) {
  const OpDef plain = unprepared(kMatmulOp);
  OpDef counted = kMatmulOp;
  counted.prepare_forward[0] = &count_and_prepare;
  constexpr Index kRows = 5 * 128 + 40;
  std::vector<std::string> results;
  for (const OpDef* op : std::array<const OpDef*, 2>{&plain, &counted}) {
    Graph graph;
    Value value = graph.input("x", {kBatch, 4});
    value = graph.apply(kMatmulOp, {value, graph.parameter("w0", {4, 16})});
    value = graph.apply(*op, {value, graph.parameter("w1", {16, 16})});
    value = graph.apply(kMatmulOp, {value, graph.parameter("w2", {16, 3})});
    const Plan plan = compile(graph, {.mode = Mode::kInference, .outputs = {value}});
    const Parameters parameters(graph, DType::kFloat32, 3);
    const Tensor x = random_tensor({kRows, 4}, DType::kFloat32, 1);
    Bindings bindings(plan);
    bindings.input("x", x).parameters(parameters);
    const Executor executor;
    Workspace workspace = executor.make_workspace(plan, kRows);
    executor.run(workspace, bindings);
    results.push_back(bytes(workspace.output(value)));
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(products_prepared, 2);  // of 128 rows, and of the 40 at the end
}

// One column is its own transpose: nothing is made of it, and nothing kept up to date.
TEST(PreparedPlan, AVectorIsItsOwnTranspose) {
  Net net(true);
  const std::string text = net.plan().to_text();
  EXPECT_THAT(text, HasSubstr("w1 transposed"));
  EXPECT_THAT(text, Not(HasSubstr("when stale")));
}

}  // namespace
}  // namespace chainrule
