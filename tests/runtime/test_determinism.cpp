// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "chainrule/ops/ops.hpp"
#include "training_case.hpp"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace chainrule {
namespace {

using testing::bytes;
using testing::TrainingCase;

constexpr int kTrainingSteps = 24;

class Determinism : public ::testing::TestWithParam<DType> {};

TEST_P(Determinism, TrainingHasTheSameBitsForAnyNumberOfResidents) {
  const ScopedThreadLimit limit(8);
  const TrainingCase training(GetParam());
  const auto serial = training.train(Executor(), kTrainingSteps, false);
  ASSERT_EQ(serial.losses.size(), static_cast<std::size_t>(kTrainingSteps));
  EXPECT_LT(serial.losses[kTrainingSteps - 3], serial.losses[0]);  // it does learn
  for (const int threads : {1, 2, 3, 8}) {
    const auto parallel = training.train(Executor(threads), kTrainingSteps, true, threads);
    EXPECT_EQ(parallel.participants, threads);
    EXPECT_EQ(parallel.losses, serial.losses) << threads << " threads";
    EXPECT_TRUE(parallel == serial) << threads << " threads";
  }
}

TEST_P(Determinism, ColdRunsHaveTheSameBits) {
  const ScopedThreadLimit limit(8);
  const TrainingCase training(GetParam());
  const auto serial = training.train(Executor(), kTrainingSteps, false);
  for (const int threads : {2, 3, 8}) {
    const auto cold = training.train(Executor(threads), kTrainingSteps, false, threads);
    EXPECT_GE(cold.participants, threads);  // TBB may send others later
    EXPECT_TRUE(cold == serial) << threads << " threads";
  }
}

TEST_P(Determinism, BlasIsThreadCountInvariantAndCloseToFused) {
  const ScopedThreadLimit limit(8);
  const TrainingCase blas(GetParam(), GemmPath::kBlas);
  const auto serial = blas.train(Executor(), 9, false);
  for (const int threads : {2, 3, 8}) {
    EXPECT_TRUE(blas.train(Executor(threads), 9, true, threads) == serial) << threads;
  }
  const auto fused = TrainingCase(GetParam(), GemmPath::kFused).train(Executor(), 9, false);
  const double tolerance = GetParam() == DType::kFloat32 ? 1e-3 : 1e-11;
  for (std::size_t i = 0; i < serial.losses.size(); ++i) {
    EXPECT_NEAR(serial.losses[i], fused.losses[i], tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(BothDtypes, Determinism,
                         ::testing::Values(DType::kFloat32, DType::kFloat64),
                         [](const auto& info) { return std::string(to_string(info.param)); });

#if defined(__x86_64__)

constexpr unsigned kFlushToZero = 0x8000;
constexpr unsigned kDenormalsAreZero = 0x0040;
constexpr unsigned kRoundUp = 0x4000;

/// Sets the thread's floating-point control for its lifetime.
class ControlWord {
 public:
  explicit ControlWord(unsigned bits) : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | bits); }
  ~ControlWord() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
};

TEST(FloatingPointMode, DoesNotLeakIntoDenormalResultsAndIsRestored) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value y = graph.rename(scale(x, 1e-30), "y");
  const Plan plan = compile(graph, {.mode = Mode::kInference, .outputs = {y}});
  const Tensor in = testing::tensor({1, 4}, {1e-9, 3e-10, -2e-12, 1.0 / 3}, DType::kFloat32);
  const auto run = [&] {
    Workspace workspace(plan, 1);
    Bindings bindings(plan);
    bindings.input(x, in);
    Executor().run(workspace, bindings);
    return bytes(workspace.output(y));
  };
  const std::string expected = run();
  float first = 0;
  std::memcpy(&first, expected.data(), sizeof(first));
  ASSERT_EQ(std::fpclassify(first), FP_SUBNORMAL);  // the test would prove nothing otherwise

  for (const unsigned bits : {kFlushToZero | kDenormalsAreZero, kRoundUp}) {
    const ControlWord mode(bits);
    const unsigned before = _mm_getcsr();
    EXPECT_EQ(run(), expected) << std::hex << bits;
    EXPECT_EQ(_mm_getcsr(), before);
  }
}

TEST(FloatingPointMode, DoesNotLeakIntoTrainingOnAnyThread) {
  const ScopedThreadLimit limit(3);
  const TrainingCase training(DType::kFloat32);
  const auto expected = training.train(Executor(), 6, false);
  const ControlWord mode(kFlushToZero | kDenormalsAreZero | kRoundUp);
  const unsigned before = _mm_getcsr();
  const Executor executor(3);
  EXPECT_TRUE(training.train(Executor(), 6, false).parameters == expected.parameters);
  EXPECT_TRUE(training.train(executor, 6, true, 3).parameters == expected.parameters);
  EXPECT_TRUE(training.train(executor, 6, false, 3).parameters == expected.parameters);
  EXPECT_EQ(_mm_getcsr(), before);
}

#endif

}  // namespace
}  // namespace chainrule
