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

// More than 65536 rows: larger blocks, and a wide input that is read once.
TEST(LargeBatch, HasTheSameBitsForAnyNumberOfThreads) {
  constexpr Index kRows = 70'001, kColumns = 80;
  const ScopedThreadLimit limit(8);
  Graph graph;
  const Value x = graph.input("x", {kBatch, kColumns});
  const Value target = graph.input("target", {kBatch, 1});
  const Value w = graph.parameter("w", {kColumns, 1});
  const Value b = graph.parameter("b", {1});
  const Value eta = graph.rename(add_bias(matmul(x, w), b), "eta");
  const Value loss = mean_squared_error(eta, target);
  const Plan plan = compile(graph, {.loss = loss, .gradients = {w, b}, .outputs = {eta}});
  const Tensor in = testing::random_tensor({kRows, kColumns}, DType::kFloat32, 1);
  const Tensor wanted = testing::random_tensor({kRows, 1}, DType::kFloat32, 2);
  Parameters parameters(graph, DType::kFloat32);
  copy_values(testing::random_tensor({kColumns, 1}, DType::kFloat32, 3),
              parameters.mutable_view(w));
  copy_values(testing::random_tensor({1, 1}, DType::kFloat32, 4), parameters.mutable_view(b));

  struct Result {
    double loss;
    std::string eta, dw, db;
    bool operator==(const Result&) const = default;
  };
  const auto run = [&](const Executor& executor, Index rows) {
    Workspace workspace = executor.make_workspace(plan, rows);
    Bindings bindings(plan);
    bindings.input(x, testing::first_rows(in, rows)).parameters(parameters);
    bindings.input(target, testing::first_rows(wanted, rows));
    executor.run(workspace, bindings);
    return std::pair{Result{workspace.loss(), bytes(workspace.output(eta)),
                            bytes(workspace.gradient(w)), bytes(workspace.gradient(b))},
                     testing::elements(workspace.gradient(w))};
  };
  const auto [serial, gradient] = run(Executor(), kRows);
  for (const int threads : {1, 2, 3, 8}) {
    EXPECT_TRUE(run(Executor(threads), kRows).first == serial) << threads << " threads";
  }
  const Result few = run(Executor(), 100).first;
  EXPECT_EQ(few.eta, serial.eta.substr(0, few.eta.size()));

  std::vector<long double> expected(kColumns);
  const std::vector<double> weights = testing::elements(parameters.view(w));
  const long double bias = testing::elements(parameters.view(b)).front();
  for (Index i = 0; i < kRows; ++i) {
    const float* const row = in.as<float>().row(i);
    long double error = bias - static_cast<long double>(*wanted.as<float>().row(i));
    for (std::size_t j = 0; j < kColumns; ++j)
      error += static_cast<long double>(row[j]) * weights[j];
    for (std::size_t j = 0; j < kColumns; ++j) expected[j] += 2 * error * row[j] / kRows;
  }
  for (std::size_t j = 0; j < kColumns; ++j) {
    EXPECT_NEAR(gradient[j], static_cast<double>(expected[j]), 1e-5) << j;
  }
}

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
