// SPDX-License-Identifier: Apache-2.0
// After its first runs, run() allocates nothing: on no thread, serially, with residents and cold,
// in training and inference.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "allocation_counter.hpp"
#include "chainrule/ops/ops.hpp"
#include "training_case.hpp"

namespace chainrule {
namespace {

using testing::allocations;
using testing::TrainingCase;

/// Keeps the compiler from dropping an allocation that nobody uses.
template <class T>
T* used(T* pointer) {
  asm volatile("" : : "g"(pointer) : "memory");
  return pointer;
}

long counted(const std::function<void()>& body) {
  const long before = allocations();
  body();
  return allocations() - before;
}

struct alignas(128) Wide {
  char bytes[128];
};

TEST(AllocationCounter, SeesEveryWayToAllocate) {
  EXPECT_EQ(counted([] {}), 0);
  EXPECT_EQ(counted([] { std::free(used(std::malloc(10))); }), 1);
  EXPECT_EQ(counted([] { std::free(used(std::calloc(10, 10))); }), 1);
  EXPECT_EQ(counted([] { std::free(used(std::realloc(used(std::malloc(10)), 10'000))); }), 2);
  EXPECT_EQ(counted([] { std::free(used(std::aligned_alloc(64, 640))); }), 1);
  EXPECT_EQ(counted([] {
              void* memory = nullptr;
              ASSERT_EQ(posix_memalign(&memory, 64, 640), 0);
              std::free(used(memory));
            }),
            1);
  EXPECT_EQ(counted([] {
              void* const memory =
                  mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              munmap(used(memory), 4096);
            }),
            1);
  EXPECT_EQ(counted([] { delete used(new int(1)); }), 1);
  EXPECT_EQ(counted([] { delete[] used(new double[7]); }), 1);
  EXPECT_EQ(counted([] { delete used(new Wide); }), 1);
}

TEST(AllocationCounter, SeesOtherThreads) {
  std::atomic<int> stage{0};
  std::thread other([&] {
    std::free(used(std::malloc(10)));  // what a thread allocates when it starts is over now
    stage = 1;
    while (stage != 2) std::this_thread::yield();
    std::free(used(std::malloc(10)));
    stage = 3;
  });
  while (stage != 1) std::this_thread::yield();
  EXPECT_EQ(counted([&] {
              stage = 2;
              while (stage != 3) std::this_thread::yield();
            }),
            1);
  other.join();
}

TEST(AllocationCounter, SeesAnOpThatAllocatesInARun) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 1});
  const Value y = testing::fragile(x);
  const Plan plan = compile(graph, {.outputs = {y}});
  Workspace workspace(plan, 1);
  Bindings bindings(plan);
  const Tensor in = testing::random_tensor({1, 1}, DType::kFloat32, 1);
  bindings.input(x, in);
  const testing::Failures failures;
  testing::Failures::forward_from = 0;
  testing::Failures::forward_to = 1;
  EXPECT_GT(counted([&] {
              try {
                Executor().run(workspace, bindings);
              } catch (const testing::Failure&) {  // an exception object lives on the heap
              }
            }),
            0);
}

constexpr int kRuns = 100;

class NoAllocation : public ::testing::TestWithParam<int> {  // the parameter: threads
 protected:
  /// The first run, in which all workers meet, and then more with the counter; all steps' bindings
  /// are made before.
  void expect_none(const Plan& plan, const TrainingCase& training, bool resident) {
    const ScopedThreadLimit limit(4);
    const Executor executor(GetParam());
    Workspace workspace = executor.make_workspace(plan, TrainingCase::kRows);
    Parameters parameters(training.graph(), plan.dtype(), 1);
    OptimizerState state(parameters.layout(), 2);
    const std::vector<double> scalars = testing::adam_scalars(1e-3, 1);
    std::vector<Bindings> steps;
    for (int step = 0; step < 3; ++step) {
      Bindings& bindings = steps.emplace_back(plan);
      bindings.parameters(parameters);
      if (has_update(plan)) bindings.optimizer(state, scalars);
      training.bind_batch(bindings, step);
    }
    const auto runs = [&](int count) {
      for (int i = 0; i < count; ++i)
        executor.run(workspace, steps[static_cast<std::size_t>(i % 3)]);
    };
    long allocated = -1;
    const testing::Meeting meeting(GetParam());
    const auto body = [&] {
      runs(1);
      ASSERT_GE(meeting.arrived(), GetParam());
      allocated = counted([&] { runs(kRuns); });
    };
    if (resident) {
      executor.with_residents(body);
    } else {
      body();
    }
    EXPECT_EQ(allocated, 0);
  }

  static bool has_update(const Plan& plan) {
    return plan.to_text().find("adam") != std::string::npos;
  }
};

TEST_P(NoAllocation, InTraining) {
  const TrainingCase training(DType::kFloat32);
  expect_none(training.plan(), training, false);
  expect_none(training.plan(), training, true);
}

TEST_P(NoAllocation, InInference) {
  const TrainingCase training(DType::kFloat32);
  Graph& graph = const_cast<Graph&>(training.graph());
  // All of the loss too, so that labels and weights are read as in training.
  const Value loss = Value(&graph, static_cast<NodeId>(graph.size() - 1));
  const Plan plan = compile(graph, {.mode = Mode::kInference, .outputs = {graph.find("z"), loss}});
  expect_none(plan, training, false);
  expect_none(plan, training, true);
}

TEST_P(NoAllocation, InForwardModeAndSecondOrder) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 64});
  const Value w = graph.parameter("w", {64, 96}), b = graph.parameter("b", {96});
  const Value last = graph.parameter("last", {96, 10});
  const Value z = matmul(tanh(testing::meet(add_bias(matmul(x, w), b))), last);
  const Value loss = softmax_cross_entropy(z, graph.labels("y"));
  const std::vector<Value> moving = {x, w, b};
  const Plan plan = compile(graph, {.loss = loss,
                                    .gradients = moving,
                                    .tangents = moving,
                                    .output_tangents = {loss},
                                    .gradient_tangents = moving});
  constexpr Index kRows = 250;
  const Tensor in = testing::random_tensor({kRows, 64}, DType::kFloat32, 1);
  const Tensor labels = testing::random_labels(kRows, 10, 2);
  const Parameters parameters(graph, DType::kFloat32, 3);
  std::vector<Tensor> directions;
  for (const Value& value : moving) {
    directions.push_back(
        testing::random_tensor(value.shape().with_batch(kRows), DType::kFloat32, 4));
  }
  Bindings bindings(plan);
  bindings.input(x, in).input("y", labels).parameters(parameters);
  for (std::size_t k = 0; k < moving.size(); ++k) bindings.tangent(moving[k], directions[k]);

  const ScopedThreadLimit limit(4);
  const Executor executor(GetParam());
  Workspace workspace = executor.make_workspace(plan, kRows);
  const testing::Meeting meeting(GetParam());
  long allocated = -1;
  executor.with_residents([&] {
    executor.run(workspace, bindings);
    ASSERT_GE(meeting.arrived(), GetParam());
    allocated = counted([&] {
      for (int i = 0; i < kRuns; ++i) executor.run(workspace, bindings);
    });
  });
  EXPECT_EQ(allocated, 0);
}

INSTANTIATE_TEST_SUITE_P(Threads, NoAllocation, ::testing::Values(1, 2, 4),
                         [](const auto& info) { return std::to_string(info.param); });

TEST(WorkspaceMemory, IsWhatThePlanSays) {
  const TrainingCase training(DType::kFloat32);
  for (const int threads : {1, 3}) {
    for (const Index rows : {1, 64, 65, 1000}) {
      testing::reset_largest_allocation();
      const Workspace workspace(training.plan(), rows, threads);
      const auto expected =
          static_cast<std::size_t>(training.plan().workspace_bytes(rows, threads));
      EXPECT_GE(testing::largest_allocation(), expected);
      EXPECT_LE(testing::largest_allocation(), expected + 2 * kAlignment);
    }
  }
}

}  // namespace
}  // namespace chainrule
