// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/batch_norm.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <memory>

#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::OpCall;
using testing::values;

constexpr Index kRows = 9;
constexpr Index kColumns = 70;  // two tiles, the second one partial
constexpr double kEpsilon = 1e-3;
constexpr double kMomentum = 0.2;

/// What the op must do with one column, in long double.
struct Column {
  Column(const OpCall& call, Index j, bool training) {
    const auto at = [&](std::size_t input) {
      return static_cast<long double>(element(call.inputs[input], 0, j));
    };
    for (Index i = 0; i < kRows; ++i) {
      x.push_back(element(call.inputs[0], i, j));
      dy.push_back(element(call.output_gradient, i, j));
      mean += x.back() / kRows;
    }
    for (const long double v : x) variance += (v - mean) * (v - mean) / kRows;
    gamma = at(1);
    beta = at(2);
    running_mean = at(3);
    running_variance = at(4);
    center = training ? mean : running_mean;
    rstd = 1 / std::sqrt((training ? variance : running_variance) + kEpsilon);
    for (std::size_t i = 0; i < kRows; ++i) {
      dgamma += dy[i] * (x[i] - center) * rstd;
      dbeta += dy[i];
    }
  }

  long double y(std::size_t i) const { return (x[i] - center) * rstd * gamma + beta; }

  std::vector<long double> x, dy;
  long double mean = 0, variance = 0, center = 0, rstd = 0;
  long double gamma = 0, beta = 0, running_mean = 0, running_variance = 0;
  long double dgamma = 0, dbeta = 0;
};

class BatchNormTest : public ::testing::TestWithParam<bool> {
 protected:
  BatchNormTest() {
    const Value x = g.input("x", {kBatch, kColumns});
    const auto vector = [&](const char* name) { return g.parameter(name, {kColumns}); };
    const auto state = [&](const char* name) { return g.state(name, {kColumns}, zeros()); };
    const Value y = batch_norm(x, vector("gamma"), vector("beta"), state("mean"), state("variance"),
                               {.momentum = kMomentum, .epsilon = kEpsilon});
    call = std::make_unique<OpCall>(y, kRows, DType::kFloat64);
    call->fill_inputs(0.5, 2);
    call->fill(call->output_gradient, -1, 1, 20);
    call->mode = training() ? Mode::kTraining : Mode::kInference;
  }

  bool training() const { return GetParam(); }
  OpContext context() {
    OpContext context = call->context();
    if (!training()) context.saved = {};
    return context;
  }

  Graph g;
  std::unique_ptr<OpCall> call;
};

TEST_P(BatchNormTest, Forward) {
  call->forward(context());
  for (Index j = 0; j < kColumns; ++j) {
    const Column expected(*call, j, training());
    for (Index i = 0; i < kRows; ++i) {
      EXPECT_NEAR(element(call->output, i, j),
                  static_cast<double>(expected.y(static_cast<std::size_t>(i))), 1e-13);
    }
  }
}

TEST_P(BatchNormTest, BackwardOfGammaAndBeta) {
  call->forward(context());
  call->backward(context());
  for (Index j = 0; j < kColumns; ++j) {
    const Column expected(*call, j, training());
    EXPECT_NEAR(element(call->gradients[1], 0, j), static_cast<double>(expected.dgamma), 1e-12);
    EXPECT_NEAR(element(call->gradients[2], 0, j), static_cast<double>(expected.dbeta), 1e-13);
  }
}

/// dx against (1) the constant factor in inference, (2) in training the derivative of sum dy y,
/// assembled term by term from dmean/dx = 1/B and dvariance/dx = 2 (x - mean) / B.
TEST_P(BatchNormTest, BackwardOfX) {
  call->forward(context());
  call->backward(context());
  for (Index j = 0; j < kColumns; ++j) {
    const Column c(*call, j, training());
    for (std::size_t i = 0; i < kRows; ++i) {
      long double expected = c.dy[i] * c.gamma * c.rstd;
      for (std::size_t k = 0; training() && k < kRows; ++k) {
        const long double dvariance = 2 * (c.x[i] - c.mean) / kRows;
        const long double drstd = -0.5L * c.rstd * c.rstd * c.rstd * dvariance;
        expected += c.dy[k] * c.gamma * (-c.rstd / kRows + (c.x[k] - c.mean) * drstd);
      }
      EXPECT_NEAR(element(call->gradients[0], static_cast<Index>(i), j),
                  static_cast<double>(expected), 1e-12);
    }
  }
}

TEST_P(BatchNormTest, BackwardAccumulatesAndSkipsWhatIsNotWanted) {
  call->forward(context());
  call->backward(context());
  const double dgamma = element(call->gradients[1], 0, 69), dx = element(call->gradients[0], 8, 69);
  call->overwrite = 0;
  OpContext again = context();
  again.input_gradients[2] = {};
  const std::vector<double> dbeta = values(call->gradients[2]);
  call->backward(again);
  EXPECT_NEAR(element(call->gradients[1], 0, 69), 2 * dgamma, 1e-13);
  EXPECT_NEAR(element(call->gradients[0], 8, 69), 2 * dx, 1e-13);
  EXPECT_EQ(values(call->gradients[2]), dbeta);
}

INSTANTIATE_TEST_SUITE_P(Modes, BatchNormTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Training" : "Inference"; });

class BatchNormCommitTest : public BatchNormTest {};

TEST_P(BatchNormCommitTest, MovesTheRunningStatisticsTowardsTheUnbiasedOnes) {
  std::vector<Column> before;
  for (Index j = 0; j < kColumns; ++j) before.emplace_back(*call, j, true);
  call->forward(context());
  call->commit(context());
  for (Index j = 0; j < kColumns; ++j) {
    const Column& c = before[static_cast<std::size_t>(j)];
    const long double unbiased = c.variance * kRows / (kRows - 1);
    EXPECT_NEAR(element(call->inputs[3], 0, j),
                static_cast<double>((1 - kMomentum) * c.running_mean + kMomentum * c.mean), 1e-14);
    EXPECT_NEAR(element(call->inputs[4], 0, j),
                static_cast<double>((1 - kMomentum) * c.running_variance + kMomentum * unbiased),
                1e-14);
  }
}

INSTANTIATE_TEST_SUITE_P(Training, BatchNormCommitTest, ::testing::Values(true));

TEST(BatchNormEdgeTest, OneRowCountsAsVarianceZeroAndNoRowsChangeNothing) {
  Graph g;
  const Value y = batch_norm(g.input("x", {kBatch, 1}), g.parameter("gamma", {1}),
                             g.parameter("beta", {1}), g.state("mean", {1}, zeros()),
                             g.state("variance", {1}, ones()), {.momentum = 0.5});
  for (const Index rows : {0, 1}) {
    OpCall call(y, rows, DType::kFloat64);
    if (rows == 1) testing::set(call.inputs[0], {6});
    testing::set(call.inputs[4], {1});
    call.forward();
    call.backward();
    call.commit(call.context());
    EXPECT_THAT(values(call.inputs[3]), ElementsAre(rows == 1 ? 3 : 0));
    EXPECT_THAT(values(call.inputs[4]), ElementsAre(rows == 1 ? 0.5 : 1));
  }
}

}  // namespace
}  // namespace chainrule
