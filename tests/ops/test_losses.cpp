// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/losses.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/activations.hpp"
#include "chainrule/ops/arithmetic.hpp"
#include "chainrule/ops/columns.hpp"
#include "chainrule/ops/reductions.hpp"
#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::Each;
using testing::OpCall;
using testing::set;
using testing::values;

using Real = long double;

struct LossCase {
  std::string name;
  std::function<Value(const Value& x, const Value& t)> build;  ///< with Reduction::kNone
  std::function<Real(Real x, Real t)> f;
  std::function<Real(Real x, Real t)> gradient;
  double target_low, target_high;
};

Real log1p_exp(Real x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
Real logistic(Real x) { return 1 / (1 + std::exp(-x)); }

constexpr Real kDelta = 0.75;
constexpr Real kShape = 2.5;
constexpr Real kDispersion = 0.4L;

std::vector<LossCase> loss_cases() {
  constexpr Reduction kNone = Reduction::kNone;
  return {
      {"MeanSquaredError",
       [](auto& x, auto& t) { return mean_squared_error(x, t, {.reduction = kNone}); },
       [](Real x, Real t) { return (x - t) * (x - t); }, [](Real x, Real t) { return 2 * (x - t); },
       -2, 2},
      {"MeanAbsoluteError",
       [](auto& x, auto& t) { return mean_absolute_error(x, t, {.reduction = kNone}); },
       [](Real x, Real t) { return std::abs(x - t); },
       [](Real x, Real t) -> Real { return x > t ? 1 : -1; }, -2, 2},
      {"Huber", [](auto& x, auto& t) { return huber(x, t, {.delta = 0.75, .reduction = kNone}); },
       [](Real x, Real t) {
         const Real d = std::abs(x - t);
         return d <= kDelta ? d * d / 2 : kDelta * (d - kDelta / 2);
       },
       [](Real x, Real t) { return std::min(std::max(x - t, -kDelta), kDelta); }, -2, 2},
      {"BinaryCrossEntropy",
       [](auto& x, auto& t) { return binary_cross_entropy(x, t, {.reduction = kNone}); },
       [](Real x, Real t) { return log1p_exp(x) - t * x; },
       [](Real x, Real t) { return logistic(x) - t; }, 0, 1},
      {"Hinge", [](auto& x, auto& t) { return hinge(x, t, {.reduction = kNone}); },
       [](Real x, Real t) { return std::max(Real{0}, 1 - t * x); },
       [](Real x, Real t) { return t * x < 1 ? -t : Real{0}; }, -1, 1},
      {"Poisson", [](auto& x, auto& t) { return poisson_nll(x, t, {.reduction = kNone}); },
       [](Real x, Real t) { return std::exp(x) - t * x; },
       [](Real x, Real t) { return std::exp(x) - t; }, 0, 5},
      {"Gamma",
       [](auto& x, auto& t) { return gamma_nll(x, t, {.shape = 2.5, .reduction = kNone}); },
       [](Real x, Real t) { return kShape * (x + t * std::exp(-x)); },
       [](Real x, Real t) { return kShape * (1 - t * std::exp(-x)); }, 0.1, 5},
      {"NegativeBinomial",
       [](auto& x, auto& t) {
         return negative_binomial_nll(x, t, {.dispersion = 0.4, .reduction = kNone});
       },
       [](Real x, Real t) {
         return (t + 1 / kDispersion) * std::log1p(kDispersion * std::exp(x)) - t * x;
       },
       [](Real x, Real t) { return (std::exp(x) - t) / (1 + kDispersion * std::exp(x)); }, 0, 5},
  };
}

class RowLossTest : public ::testing::TestWithParam<LossCase> {};

TEST_P(RowLossTest, IsTheMeanOfTheDocumentedFormulaAndItsGradient) {
  const LossCase& loss = GetParam();
  constexpr Index kRows = 6, kColumns = 5;
  Graph g;
  const Value x = g.input("x", {kBatch, kColumns}), t = g.input("t", {kBatch, kColumns});
  OpCall call(loss.build(x, t), kRows, DType::kFloat64);
  call.fill(call.inputs[0], -3, 3, 1);
  call.fill(call.inputs[1], loss.target_low, loss.target_high, 2);
  call.fill(call.output_gradient, 0.5, 2, 3);
  call.forward();
  call.backward();
  for (Index i = 0; i < kRows; ++i) {
    Real mean = 0;
    for (Index j = 0; j < kColumns; ++j) {
      const Real xij = element(call.inputs[0], i, j), tij = element(call.inputs[1], i, j);
      mean += loss.f(xij, tij) / kColumns;
      const Real expected =
          element(call.output_gradient, i, 0) * loss.gradient(xij, tij) / kColumns;
      EXPECT_NEAR(element(call.gradients[0], i, j), static_cast<double>(expected), 1e-13);
    }
    EXPECT_NEAR(element(call.output, i, 0), static_cast<double>(mean), 1e-13);
  }
}

TEST_P(RowLossTest, NoNanFromHugeFiniteLogitsAndNoGradientWhereNoneComesIn) {
  const LossCase& loss = GetParam();
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    Graph g;
    OpCall call(loss.build(g.input("x", {kBatch, 1}), g.input("t", {kBatch})), 4, dtype);
    set(call.inputs[0], {1e4, -1e4, 1e4, -1e4});
    set(call.inputs[1], {0, 0, 1, 1});
    call.forward();
    EXPECT_THAT(values(call.output), Each(::testing::Not(::testing::IsNan()))) << to_string(dtype);
    call.backward();  // output_gradient is 0
    EXPECT_THAT(values(call.gradients[0]), Each(0.0)) << to_string(dtype);
  }
}

INSTANTIATE_TEST_SUITE_P(Losses, RowLossTest, ::testing::ValuesIn(loss_cases()),
                         [](const auto& info) { return info.param.name; });

class CrossEntropyTest : public ::testing::Test {
 protected:
  /// sum_k p_k (log sum exp x - x_k) of row i, with p from `target`.
  static Real expected(const OpCall& call, Index i, const std::function<Real(Index)>& target,
                       Real smoothing) {
    const Index classes = call.inputs[0].columns();
    Real sum = 0, loss = 0;
    for (Index k = 0; k < classes; ++k) sum += std::exp(Real{element(call.inputs[0], i, k)});
    for (Index k = 0; k < classes; ++k) {
      const Real p = (1 - smoothing) * target(k) + smoothing / static_cast<Real>(classes);
      loss += p * (std::log(sum) - element(call.inputs[0], i, k));
    }
    return loss;
  }

  Graph g;
  Value x = g.input("x", {kBatch, 5});
  Value t = g.input("t", {kBatch, 5});
  Value labels = g.labels("labels");
};

TEST_F(CrossEntropyTest, LabelsAndProbabilitiesWithSmoothing) {
  for (const double smoothing : {0.0, 0.2}) {
    const CrossEntropyOptions options{.label_smoothing = smoothing, .reduction = Reduction::kNone};
    OpCall hard(softmax_cross_entropy(x, labels, options), 6, DType::kFloat64);
    OpCall soft(softmax_cross_entropy(x, t, options), 6, DType::kFloat64);
    EXPECT_EQ(&hard.op(), &kSoftmaxCrossEntropyOp);
    EXPECT_EQ(&soft.op(), &kSoftmaxCrossEntropyProbabilitiesOp);
    for (OpCall* call : {&hard, &soft}) {
      call->fill_inputs(0, 1);
      call->fill(call->inputs[0], -3, 3, 5);
      call->forward();
    }
    for (Index i = 0; i < 6; ++i) {
      const auto label = [&](Index k) -> Real {
        return element(hard.inputs[1], i, 0) == static_cast<double>(k) ? 1 : 0;
      };
      const auto probability = [&](Index k) -> Real { return element(soft.inputs[1], i, k); };
      EXPECT_NEAR(element(hard.output, i, 0),
                  static_cast<double>(expected(hard, i, label, smoothing)), 1e-14);
      EXPECT_NEAR(element(soft.output, i, 0),
                  static_cast<double>(expected(soft, i, probability, smoothing)), 1e-13);
    }
  }
}

TEST_F(CrossEntropyTest, InferenceWithoutSavedGivesTheSameBits) {
  for (const double smoothing : {0.0, 0.2}) {
    for (const Value& target : {labels, t}) {
      const Value loss = softmax_cross_entropy(
          x, target, {.label_smoothing = smoothing, .reduction = Reduction::kNone});
      OpCall training(loss, 6, DType::kFloat32), inference(loss, 6, DType::kFloat32);
      for (OpCall* call : {&training, &inference}) call->fill_inputs(0.1, 1);
      training.forward();
      inference.mode = Mode::kInference;
      OpContext context = inference.context();
      context.saved = {};
      inference.forward(context);
      EXPECT_EQ(values(inference.output), values(training.output));
    }
  }
}

TEST_F(CrossEntropyTest, ALabelOutsideTheClassesIsNamedWithItsRow) {
  OpCall call(softmax_cross_entropy(x, labels, {.reduction = Reduction::kNone}), 4,
              DType::kFloat32);
  for (const int bad : {-1, 5}) {
    set(call.inputs[1], {0, 4, 2, static_cast<double>(bad)});
    EXPECT_NO_THROW(call.forward(call.context(0, 3)));
    try {
      call.forward(call.context(2, 2));
      ADD_FAILURE() << "no exception for label " << bad;
    } catch (const ArgumentError& error) {
      EXPECT_EQ(std::string(error.what()), "softmax_cross_entropy: label of row 3 is " +
                                               std::to_string(bad) + ", expected 0 <= label < 5");
    }
  }
}

class LossGraphTest : public ::testing::Test {
 protected:
  const Node& input(const Value& value, std::size_t i) { return g.node(value.node().inputs[i]); }

  Graph g;
  Value x = g.input("x", {kBatch, 1});
  Value t = g.input("t", {kBatch, 1});
  Value w = g.input("w", {kBatch});
};

TEST_F(LossGraphTest, UnweightedReductions) {
  const Value mean = mean_squared_error(x, t);
  EXPECT_EQ(mean.node().op, &kBatchMeanOp);
  EXPECT_EQ(input(mean, 0).op, &kMeanSquaredErrorOp);
  EXPECT_EQ(mean.node().inputs.size(), 1U);
  EXPECT_EQ(hinge(x, t, {.reduction = Reduction::kSum}).node().op, &kBatchSumOp);
  EXPECT_EQ(hinge(x, t, {.reduction = Reduction::kNone}).node().op, &kHingeOp);
}

TEST_F(LossGraphTest, AWeightedMeanHasItsTotalAsANode) {
  const Value mean = huber(x, t, {.weights = w});
  ASSERT_EQ(mean.node().inputs.size(), 3U);
  EXPECT_EQ(mean.node().op, &kBatchMeanOp);
  EXPECT_EQ(mean.node().inputs[1], w.id());
  EXPECT_EQ(input(mean, 2).op, &kBatchSumOp);
  EXPECT_EQ(input(mean, 2).inputs, std::vector<NodeId>{w.id()});
  EXPECT_EQ(input(mean, 2).shape, Shape{});
}

TEST_F(LossGraphTest, AWeightedSumHasNoTotal) {
  const Value sum = huber(x, t, {.weights = w, .reduction = Reduction::kSum});
  EXPECT_EQ(sum.node().op, &kBatchSumOp);
  EXPECT_EQ(sum.node().inputs.size(), 2U);
}

TEST_F(LossGraphTest, OffsetAndLogOfExposureAreAddedToTheLogits) {
  const Value offset = g.input("offset", {kBatch, 1}), exposure = g.input("exposure", {kBatch});
  const Value rows =
      poisson_nll(x, t, {.offset = offset, .exposure = exposure, .reduction = Reduction::kNone});
  const Node& with_exposure = input(rows, 0);
  ASSERT_EQ(with_exposure.op, &kAddOp);
  const Node& with_offset = g.node(with_exposure.inputs[0]);
  EXPECT_EQ(with_offset.op, &kAddOp);
  EXPECT_EQ(with_offset.inputs, (std::vector<NodeId>{x.id(), offset.id()}));
  const Node& column = g.node(with_exposure.inputs[1]);  // [batch] laid out as [batch, 1]
  EXPECT_EQ(column.op, &kConcatOp);
  const Node& logarithm = g.node(column.inputs[0]);
  EXPECT_EQ(logarithm.op, &kLogOp);
  EXPECT_EQ(logarithm.inputs, std::vector<NodeId>{exposure.id()});
}

TEST_F(LossGraphTest, ReduceLossTakesARowLossOfTheUser) {
  const Value mean = reduce_loss(mul(x, t), {.weights = w});
  EXPECT_EQ(mean.node().op, &kBatchMeanOp);
  EXPECT_EQ(input(mean, 0).op, &kMulOp);
}

}  // namespace
}  // namespace chainrule
