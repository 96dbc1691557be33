// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using testing::bytes;
using testing::Failure;
using testing::Failures;
using ::testing::HasSubstr;
using testing::random_tensor;

constexpr Index kRows = 250;  // 8 blocks of 32; some 20 MFLOP a step, enough for cold helpers
constexpr Index kBlockRows = 32;

/// A small regression with everything that a failed step must leave alone: weights, Adam's slots
/// and running statistics.
class Regression {
 public:
  explicit Regression(bool gather = false, bool normalize = true) {
    x = graph.input("x", {kBatch, 40});
    target = graph.input("target", {kBatch, 1});
    w = graph.parameter("w", {40, 300});
    v = graph.parameter("v", {300, 1});
    Value h = graph.rename(matmul(x, w), "h");
    if (normalize) {
      h = batch_norm(h, graph.parameter("gamma", {300}, ones()), graph.parameter("beta", {300}),
                     graph.state("mean", {300}, zeros()), graph.state("variance", {300}, ones()));
    }
    h = testing::meet(testing::fragile(h));
    const Value out = graph.rename(testing::fragile_dot(h, v), "out");
    loss = mean_squared_error(out, target);
    options.loss = loss;
    options.gather = gather;
    options.update =
        UpdateOptions{.def = &testing::kAdamUpdate, .targets = testing::all_parameters(graph)};
  }

  Graph graph;
  Value x, target, w, v, loss;
  CompileOptions options;
};

/// A plan with all it needs to take steps.
class Step {
 public:
  Step(const Graph& graph, const CompileOptions& options, const Executor& executor)
      : executor_(executor),
        plan_(compile(graph, options)),
        parameters(graph, plan_.dtype(), 4),
        state(parameters.layout(), testing::kAdamUpdate.state_slots),
        workspace(executor.make_workspace(plan_, kRows)),
        bindings(plan_) {
    bindings.parameters(parameters).optimizer(state, scalars_);
    bindings.input("x", x).input("target", target);
  }

  void run() { executor_.run(workspace, bindings); }
  std::string everything() const { return bytes(parameters) + bytes(state); }

 private:
  const Executor& executor_;
  Plan plan_;
  std::vector<double> scalars_ = testing::adam_scalars(0.01, 1);

 public:
  Tensor x = random_tensor({kRows, 40}, DType::kFloat32, 1);
  Tensor target = random_tensor({kRows, 1}, DType::kFloat32, 2);
  Parameters parameters;
  OptimizerState state;
  Workspace workspace;
  Bindings bindings;
};

enum class Schedule { kSerial, kCold, kResident };

class UserException : public ::testing::TestWithParam<Schedule> {
 protected:
  /// Runs `arm`, expects one failing step and compares the next ones to an undisturbed training.
  template <class Arm>
  void expect_untouched(const Arm& arm, std::string_view where, Index row) {
    const ScopedThreadLimit limit(4);
    const int threads = GetParam() == Schedule::kSerial ? 1 : 4;
    const Executor executor(threads);
    const testing::Meeting meeting(threads);
    const auto body = [&] {
      const Regression net;
      Step undisturbed(net.graph, net.options, executor);
      Step step(net.graph, net.options, executor);
      for (int i = 0; i < 2; ++i) {
        undisturbed.run();
        step.run();
      }
      const std::string before = step.everything();
      const Failures failures;
      arm();
      try {
        step.run();
        ADD_FAILURE() << "nothing was thrown";
      } catch (const Failure& failure) {
        EXPECT_EQ(failure.where, where);
        EXPECT_EQ(failure.row, row);
      }
      EXPECT_TRUE(step.everything() == before) << "a failed step changed something";
      Failures::reset();
      undisturbed.run();
      step.run();
      EXPECT_TRUE(step.everything() == undisturbed.everything()) << "the workspace is spoilt";
      EXPECT_FALSE(step.everything() == before);
    };
    if (GetParam() == Schedule::kResident) {
      executor.with_residents(body);
    } else {
      body();
    }
    EXPECT_GE(meeting.arrived(), threads);
  }
};

TEST_P(UserException, InForwardOfOneBlock) {
  expect_untouched(
      [] {
        Failures::forward_from = 3 * kBlockRows;
        Failures::forward_to = 4 * kBlockRows;
      },
      "forward", 3 * kBlockRows);
}

TEST_P(UserException, OfTheLowestBlockWins) {
  expect_untouched(
      [] {
        Failures::forward_from = 2 * kBlockRows;
        Failures::forward_to = kRows;
      },
      "forward", 2 * kBlockRows);
}

TEST_P(UserException, InBackward) {
  expect_untouched([] { Failures::backward_from = 5 * kBlockRows; }, "backward", 5 * kBlockRows);
}

TEST_P(UserException, InAWeightTileAfterOthersCouldHaveBeenUpdated) {
  expect_untouched([] { Failures::weight_gradient = true; }, "weight_gradient", 112);
}

INSTANTIATE_TEST_SUITE_P(Modes, UserException,
                         ::testing::Values(Schedule::kSerial, Schedule::kCold, Schedule::kResident),
                         [](const auto& info) {
                           return std::string(info.param == Schedule::kSerial ? "serial"
                                              : info.param == Schedule::kCold ? "cold"
                                                                              : "resident");
                         });

// ---- NaN and infinity in the loss

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// Expects a step to fail naming `node`, with everything unchanged.
void expect_non_finite(Step& step, std::string_view node, std::string_view message) {
  const std::string before = step.everything();
  try {
    step.run();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const NonFiniteError& error) {
    EXPECT_EQ(error.node(), node);
    EXPECT_THAT(error.what(), HasSubstr(std::string(message)));
  }
  EXPECT_TRUE(step.everything() == before) << "a failed step changed something";
}

class NonFinite : public ::testing::TestWithParam<bool> {  // the parameter: gather
 protected:
  void SetUp() override {
    for (Index i = 0; i < kRows; ++i) order_.push_back(static_cast<std::uint32_t>(kRows - 1 - i));
  }
  void bind_order(Step& step) const {
    if (GetParam()) step.bindings.row_order(order_);
  }
  /// Where row i of the data is in the batch.
  Index position(Index i) const { return GetParam() ? kRows - 1 - i : i; }

  Executor serial_;
  std::vector<std::uint32_t> order_;
};

TEST_P(NonFinite, InAnInputIsNamed) {
  for (const bool normalize : {false, true}) {
    const Regression net(GetParam(), normalize);
    Step step(net.graph, net.options, serial_);
    bind_order(step);
    step.run();
    step.x.as<float>()(101, 3) = kNan;
    expect_non_finite(step, "x", "row " + std::to_string(position(101)) + ", column 3");
    step.x.as<float>()(101, 3) = 0;
    step.target.as<float>()(7, 0) = -std::numeric_limits<float>::infinity();
    expect_non_finite(step, "target", "-inf at row " + std::to_string(position(7)));
    step.target.as<float>()(7, 0) = 0;
    EXPECT_NO_THROW(step.run());
  }
}

TEST_P(NonFinite, InAParameterIsNamed) {
  const Regression net(GetParam());
  Step step(net.graph, net.options, serial_);
  bind_order(step);
  step.parameters.mutable_view("v").as<float>()(17, 0) = kNan;
  expect_non_finite(step, "v", "row 17, column 0");
}

TEST_P(NonFinite, MadeByAnOpIsNamed) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 40});
  const Value target = graph.input("target", {kBatch, 1});
  const Value shifted = add_bias(x, graph.parameter("shift", {40}, constant(2)));
  const Value logs = graph.rename(log(shifted), "logs");
  const Value out = matmul(relu(logs), graph.parameter("w", {40, 1}));
  CompileOptions options;
  options.loss = mean_squared_error(out, target);
  options.gather = GetParam();
  options.update =
      UpdateOptions{.def = &testing::kAdamUpdate, .targets = testing::all_parameters(graph)};
  Step step(graph, options, serial_);
  bind_order(step);
  step.run();
  step.x.as<float>()(200, 5) = -9;  // log(-7)
  expect_non_finite(step, "logs", "logs [batch, 40] (");
}

TEST_P(NonFinite, LossIsNamedWhenItAloneOverflows) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 40});
  const Value target = graph.input("target", {kBatch, 1});
  const Value out = matmul(x, graph.parameter("w", {40, 1}));
  CompileOptions options;
  options.loss = graph.rename(scale(scale(mean_squared_error(out, target), 1e30), 1e30), "loss");
  options.gather = GetParam();
  options.update =
      UpdateOptions{.def = &testing::kAdamUpdate, .targets = testing::all_parameters(graph)};
  Step step(graph, options, serial_);
  bind_order(step);
  expect_non_finite(step, "loss", "the loss 'loss' is not finite");
}

INSTANTIATE_TEST_SUITE_P(Gather, NonFinite, ::testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "gathered" : "direct");
});

TEST(NonFiniteOnManyThreads, NamesTheSameNode) {
  const ScopedThreadLimit limit(4);
  const Executor executor(4);
  const Regression net;
  Step step(net.graph, net.options, executor);
  step.x.as<float>()(240, 1) = kNan;
  expect_non_finite(step, "x", "row 240, column 1");
  executor.with_residents([&] { expect_non_finite(step, "x", "row 240, column 1"); });
}

TEST(NonFiniteWithoutUpdate, IsReturnedNotThrown) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 1});
  const Value loss = reduce_sum(log(x), Axis::kAll);
  const Plan plan = compile(graph, {.loss = loss});
  Workspace workspace(plan, 1);
  Bindings bindings(plan);
  const Tensor in = testing::tensor({1, 1}, {-1}, DType::kFloat32);
  bindings.input(x, in);
  Executor().run(workspace, bindings);
  EXPECT_TRUE(std::isnan(workspace.loss()));
}

}  // namespace
}  // namespace chainrule
