// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/schedule.hpp"

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <numbers>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/optimizer.hpp"
#include "chainrule/learn/trainer.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

double rate(const Schedule& schedule, Index step, Index total = 100, Index per_epoch = 10) {
  return learning_rate_at(schedule, 2.0,
                          {.step = step, .steps_per_epoch = per_epoch, .total_steps = total});
}

// On (w - x_t)^2 / 2 with alpha_t = 1 / t the iterate is the running mean, exactly.
TEST(RobbinsMonro, TurnsSgdIntoTheRunningMean) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 1});
  const Value zero = graph.input("zero", {kBatch, 1});
  const Value w = graph.parameter("w", {1}, constant(5));
  const Value loss = scale(mean_squared_error(add_bias(zero, w), x), 0.5);
  const Optimizer optimizer = Sgd{};
  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.loss = loss;
  options.update = UpdateOptions{.def = &update_def(optimizer),
                                 .targets = {{.parameter = w, .group = kUndecayedGroup}}};
  const Plan plan = compile(graph, options);
  Executor executor;
  Workspace workspace = executor.make_workspace(plan, 1);
  Parameters parameters(graph, DType::kFloat64);
  OptimizerState state(parameters.layout(), 0);
  std::array<double, kParameterGroups * kUpdateScalars> scalars{};
  const double nothing = 0;
  Bindings bindings(plan);
  bindings.parameters(parameters).optimizer(state, scalars);
  bindings.input(zero, {&nothing, DType::kFloat64, 1, 1, 1});

  const Tensor samples = noise(1000, 1, 21);
  long double sum = 0;
  for (Index t = 1; t <= 1000; ++t) {
    const double sample = element(samples, t - 1, 0);
    sum += sample;
    update_scalars(optimizer, rate(RobbinsMonro{}, t), t, scalars);
    bindings.input(x, {&sample, DType::kFloat64, 1, 1, 1});
    executor.run(workspace, bindings);
    ASSERT_NEAR(element(parameters.view("w"), 0, 0), static_cast<double>(sum / t), 1e-14) << t;
  }
}

TEST(RobbinsMonro, IsTheRunningMeanThroughTheTrainer) {
  Dataset data;
  data.y = noise(1000, 1, 22);
  data.x = Tensor({1000, 1}, DType::kFloat64);
  for (Index i = 0; i < 1000; ++i) data.x.as<double>()(i, 0) = 1;
  Model model({Linear{.in = 1, .out = 1, .bias = false}}, Gaussian{}, DType::kFloat64);
  // The squared error's gradient is 2 (w - x_t): half the rate.
  Trainer(model, Sgd{}, {.threads = 1})
      .fit(data, {.epochs = 1,
                  .batch_size = 1,
                  .shuffle = false,
                  .schedule = RobbinsMonro{.a = 0.5, .t0 = 0}});
  long double sum = 0;
  for (Index i = 0; i < 1000; ++i) sum += element(data.y, i, 0);
  EXPECT_NEAR(element(model.parameters().view(0), 0, 0), static_cast<double>(sum / 1000), 1e-14);
}

TEST(RobbinsMonro, HasDivergentSumAndConvergentSquares) {
  double sum = 0;
  double squares = 0;
  for (Index t = 1; t <= 1'000'000; ++t) {
    const double alpha = rate(RobbinsMonro{}, t);
    sum += alpha;
    squares += alpha * alpha;
  }
  EXPECT_NEAR(sum, std::log(1e6) + std::numbers::egamma, 1e-6);  // grows like log t
  EXPECT_NEAR(squares, std::numbers::pi * std::numbers::pi / 6, 2e-6);
  EXPECT_EQ(rate(RobbinsMonro{.a = 3, .t0 = 5}, 7), 0.25);
}

TEST(Schedules, HoldTheirValues) {
  EXPECT_EQ(rate(ConstantRate{}, 77), 2.0);
  const StepDecay step{.epochs = 3, .factor = 0.5};  // 10 steps an epoch
  EXPECT_EQ(rate(step, 1), 2.0);
  EXPECT_EQ(rate(step, 30), 2.0);
  EXPECT_EQ(rate(step, 31), 1.0);
  EXPECT_EQ(rate(step, 60), 1.0);
  EXPECT_EQ(rate(step, 61), 0.5);
}

TEST(Schedules, CosineWarmsUpAndFalls) {
  const CosineDecay cosine{.warmup = 0.1, .final_factor = 0.25};  // 10 of 100 steps
  EXPECT_DOUBLE_EQ(rate(cosine, 1), 0.2);
  EXPECT_DOUBLE_EQ(rate(cosine, 5), 1.0);
  EXPECT_DOUBLE_EQ(rate(cosine, 10), 2.0);
  EXPECT_DOUBLE_EQ(rate(cosine, 11), 2.0);
  EXPECT_DOUBLE_EQ(rate(cosine, 56), 1.25);  // half way: the middle of 2 and 0.5
  EXPECT_DOUBLE_EQ(rate(cosine, 101), 0.5);
  for (Index t = 12; t <= 100; ++t) EXPECT_LT(rate(cosine, t), rate(cosine, t - 1));
  EXPECT_DOUBLE_EQ(rate(CosineDecay{}, 1), 2.0);
  EXPECT_NEAR(rate(CosineDecay{}, 100), 1 - std::cos(std::numbers::pi / 100), 1e-12);
  EXPECT_NEAR(rate(CosineDecay{}, 101), 0, 1e-15);
}

TEST(Schedules, AreParsed) {
  EXPECT_EQ(parse_schedule("constant"), Schedule(ConstantRate{}));
  EXPECT_EQ(parse_schedule("step"), Schedule(StepDecay{}));
  EXPECT_EQ(parse_schedule("step:7"), Schedule(StepDecay{.epochs = 7}));
  EXPECT_EQ(parse_schedule("step:10,0.5"), Schedule(StepDecay{.epochs = 10, .factor = 0.5}));
  EXPECT_EQ(parse_schedule("cosine:0.05,0.1"),
            Schedule(CosineDecay{.warmup = 0.05, .final_factor = 0.1}));
  EXPECT_EQ(parse_schedule("robbins-monro:1,10"), Schedule(RobbinsMonro{.a = 1, .t0 = 10}));
}

TEST(Schedules, RefuseWhatIsOutsideTheirDomain) {
  EXPECT_THAT(message_of<ArgumentError>([] { parse_schedule("linear"); }),
              HasSubstr("unknown schedule 'linear'"));
  EXPECT_THAT(message_of<ArgumentError>([] { parse_schedule("step:x"); }),
              HasSubstr("'x' is not a number"));
  EXPECT_THAT(message_of<ArgumentError>([] { parse_schedule("cosine:2"); }), HasSubstr("warmup"));
  for (const char* text :
       {"", "step:", "step:1,", "step:,1", "step:0", "step:1.5", "step:1,0.5,3", "step:nan",
        "step:1,2", "step:1,0", "constant:1", "cosine:0,-1", "cosine:nan", "robbins-monro:0",
        "robbins-monro:inf", "robbins-monro:1,-1", "step:1e30"}) {
    EXPECT_THROW(parse_schedule(text), ArgumentError) << text;
  }
  EXPECT_THROW(validate(Schedule(StepDecay{.epochs = 0})), ArgumentError);
}

}  // namespace
}  // namespace chainrule
