// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/matmul.hpp"

#include <gmock/gmock.h>

#include <memory>

#include "op_call.hpp"

namespace chainrule {
namespace {

using testing::OpCall;

/// sum_k a(k) b(k).
template <class A, class B>
double dot(Index count, const A& a, const B& b) {
  long double sum = 0;
  for (Index k = 0; k < count; ++k) sum += static_cast<long double>(a(k)) * b(k);
  return static_cast<double>(sum);
}

class MatmulTest : public ::testing::Test {
 protected:
  MatmulTest() {
    Graph g;
    call = std::make_unique<OpCall>(matmul(g.input("x", {kBatch, 5}), g.parameter("w", {5, 3})), 7,
                                    DType::kFloat64);
    call->fill_inputs(-1, 1);
    call->fill(call->output_gradient, -1, 1, 9);
  }

  std::unique_ptr<OpCall> call;
};

TEST_F(MatmulTest, Forward) {
  call->forward();
  const auto x = call->inputs[0].as<double>(), w = call->inputs[1].as<double>();
  for (Index i = 0; i < 7; ++i) {
    for (Index j = 0; j < 3; ++j) {
      const double expected = dot(
          5, [&](Index k) { return x(i, k); }, [&](Index k) { return w(k, j); });
      EXPECT_NEAR(element(call->output, i, j), expected, 1e-15);
    }
  }
}

TEST_F(MatmulTest, BackwardGivesDyTimesTransposedW) {
  call->backward();
  const auto dy = call->output_gradient.as<double>(), w = call->inputs[1].as<double>();
  for (Index i = 0; i < 7; ++i) {
    for (Index k = 0; k < 5; ++k) {
      const double expected = dot(
          3, [&](Index j) { return dy(i, j); }, [&](Index j) { return w(k, j); });
      EXPECT_NEAR(element(call->gradients[0], i, k), expected, 1e-15);
    }
  }
}

TEST_F(MatmulTest, WeightGradientInTilesGivesTransposedXTimesDy) {
  call->weight_gradient(call->context(), 0, 2);
  call->weight_gradient(call->context(), 2, 3);
  const auto x = call->inputs[0].as<double>(), dy = call->output_gradient.as<double>();
  for (Index k = 0; k < 5; ++k) {
    for (Index j = 0; j < 3; ++j) {
      const double expected = dot(
          7, [&](Index i) { return x(i, k); }, [&](Index i) { return dy(i, j); });
      EXPECT_NEAR(element(call->gradients[1], k, j), expected, 1e-15);
    }
  }
}

}  // namespace
}  // namespace chainrule
