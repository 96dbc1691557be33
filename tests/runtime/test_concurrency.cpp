// SPDX-License-Identifier: Apache-2.0
// Many threads at once on one const plan and one executor. Also run under the thread sanitizer.
#include <gtest/gtest.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/tbb_arena.hpp"
#include "training_case.hpp"

namespace chainrule {
namespace {

using testing::TrainingCase;

constexpr int kThreads = 4;
constexpr int kSteps = 6;

/// Trains on `kThreads` threads at once, each from the start, and compares all with a run alone.
template <class Train>
void expect_all_equal(const TrainingCase& training, const Train& train) {
  const auto expected = training.train(Executor(), kSteps, false);
  std::vector<TrainingCase::Result> results(kThreads);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i) {
      threads.emplace_back([&, i] { results[static_cast<std::size_t>(i)] = train(i); });
    }
  }
  for (const auto& result : results) EXPECT_TRUE(result == expected);
}

TEST(Concurrency, OnePlanAndAnExecutorEach) {
  const TrainingCase training(DType::kFloat32);
  expect_all_equal(training,
                   [&](int i) { return training.train(Executor(1 + i % 2), kSteps, false); });
}

TEST(Concurrency, OnePlanAndOneExecutorCold) {
  const ScopedThreadLimit limit(4);
  const TrainingCase training(DType::kFloat32);
  const Executor executor(3);
  expect_all_equal(training, [&](int) { return training.train(executor, kSteps, false); });
}

TEST(Concurrency, OnePlanAndOneExecutorThatSomeKeepResident) {
  const ScopedThreadLimit limit(4);
  const TrainingCase training(DType::kFloat64);
  const Executor executor(3);
  expect_all_equal(training, [&](int i) { return training.train(executor, kSteps, i % 2 == 0); });
}

TEST(Concurrency, OneArenaOfTheCaller) {
  const ScopedThreadLimit limit(4);
  const TrainingCase training(DType::kFloat32);
  tbb::task_arena arena(3, 1);
  const Executor executor = executor_in(arena);
  EXPECT_EQ(executor.threads(), 3);
  expect_all_equal(training, [&](int i) { return training.train(executor, kSteps, i == 0); });
}

// A thread must never wait for the end of somebody else's training run.
TEST(Concurrency, ARunDuringATrainingRunOfAnotherThreadReturns) {
  const ScopedThreadLimit limit(2);
  const TrainingCase training(DType::kFloat32);
  const Executor executor(2);
  const auto expected = training.train(Executor(), kSteps, false);
  executor.with_residents([&] {
    static_cast<void>(training.train(executor, kSteps, true, 2));  // all helpers are here now
    TrainingCase::Result other;
    std::thread([&] { other = training.train(executor, kSteps, false); }).join();
    EXPECT_TRUE(other == expected);
  });
}

// Helpers that have nothing to do sleep, outside training runs and inside.
TEST(Concurrency, NothingSpinsWhenThereIsNothingToDo) {
  using namespace std::chrono_literals;
  const ScopedThreadLimit limit(3);
  const TrainingCase training(DType::kFloat32);
  const Executor executor(3);
  const auto used_while_waiting = [] {
    std::this_thread::sleep_for(100ms);  // helpers look for more work for a moment
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(400ms);
    return static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
  };
  double inside = 1;
  executor.with_residents([&] {
    static_cast<void>(training.train(executor, kSteps, true, 3));
    inside = used_while_waiting();
  });
  EXPECT_LT(inside, 0.04);
  static_cast<void>(training.train(executor, kSteps, false));
  EXPECT_LT(used_while_waiting(), 0.04);
}

TEST(Concurrency, ResidentsNestAndReportWhoTookPart) {
  const ScopedThreadLimit limit(2);
  const TrainingCase training(DType::kFloat32);
  const Executor executor(2);
  const int participants = executor.with_residents([&] {
    const auto inner = training.train(executor, kSteps, true, 2);
    EXPECT_EQ(inner.losses.size(), static_cast<std::size_t>(kSteps));
  });
  EXPECT_EQ(participants, 2);
  EXPECT_EQ(executor.with_residents([] {}), 1);
}

// y = x w, 2 x 64 x 64 floating-point operations a row, by an op that can wait for others.
class Product {
 public:
  explicit Product(Index most_rows) : x_({most_rows, 64}, DType::kFloat32) {
    const Value x = graph_.input("x", {kBatch, 64});
    const Value y = testing::meet(matmul(x, graph_.parameter("w", {64, 64}, zeros())));
    plan_.emplace(compile(graph_, {.mode = Mode::kInference, .outputs = {y}}));
    parameters_.emplace(graph_, DType::kFloat32, 1);
  }

  void run(const Executor& executor, Index rows) const {
    Workspace workspace = executor.make_workspace(*plan_, rows);
    Bindings bindings(*plan_);
    ConstTensorView view = x_.view();
    view.rows = rows;
    bindings.parameters(*parameters_).input("x", view);
    executor.run(workspace, bindings);
  }

 private:
  Graph graph_;
  Tensor x_;
  std::optional<Plan> plan_;
  std::optional<Parameters> parameters_;
};

// Threads join where the work is worth waking them, or handing it to those that are awake.
TEST(Concurrency, SmallRunsStayOnTheCallersThread) {
  const ScopedThreadLimit limit(2);
  const Executor executor(2);
  constexpr Index kSmall = 10, kMedium = 600, kLarge = 4000;  // 82 thousand, 4.9 and 33 million
  const Product product(kLarge);
  const auto cold = [&](Index rows, int expected) {
    const testing::Meeting meeting(expected);
    product.run(executor, rows);
    return meeting.arrived();
  };
  const auto resident = [&](Index rows, int expected) {
    const testing::Meeting meeting(expected);
    executor.with_residents([&] { product.run(executor, rows); });
    return meeting.arrived();
  };
  EXPECT_EQ(cold(kSmall, 1), 1);
  EXPECT_EQ(cold(kMedium, 1), 1);
  EXPECT_EQ(cold(kLarge, 2), 2);
  EXPECT_EQ(resident(kSmall, 1), 1);
  EXPECT_EQ(resident(kMedium, 2), 2);
}

TEST(Concurrency, AnExceptionOfTheBodyPassesThrough) {
  const Executor executor(2);
  EXPECT_THROW(executor.with_residents([] { throw std::string("mine"); }), std::string);
  EXPECT_EQ(executor.with_residents([] {}), 1);  // and the helpers are free again
}

}  // namespace
}  // namespace chainrule
