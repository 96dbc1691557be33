// SPDX-License-Identifier: Apache-2.0
#include "snake.hpp"

#include <chainrule/check/gtest.hpp>
#include <chainrule/runtime/differentiate.hpp>
#include <cmath>

#include "snake_with_mean.hpp"

namespace {

using chainrule::GradientCheckOptions;
using chainrule::GradientSubject;
using chainrule::HasCorrectGradients;
using ::testing::HasSubstr;
using ::testing::Not;

class SnakeTest : public ::testing::Test {
 protected:
  chainrule::Graph graph_;
  const chainrule::Value x_ = graph_.input("x", {chainrule::kBatch, 3});
  const chainrule::Value a_ = graph_.parameter("a", {3}, chainrule::ones());
};

TEST_F(SnakeTest, IsTheFormula) {
  const chainrule::Value y = snake(x_, a_);
  const double numbers[] = {0.5, -1, 2};
  const chainrule::Parameters parameters(graph_, chainrule::DType::kFloat64);
  const chainrule::ConstTensorView view(numbers, chainrule::DType::kFloat64, 1, 3, 3);
  const chainrule::Tensor result =
      chainrule::evaluate(graph_, y, {.inputs = {{x_, view}}, .parameters = &parameters});
  for (chainrule::Index j = 0; j < 3; ++j) {
    const double x = numbers[j];
    EXPECT_DOUBLE_EQ(result.as<double>()(0, j), x + (1 - std::cos(2 * x)) / 2);
  }
}

TEST_F(SnakeTest, WantsANumberForEachColumn) {
  EXPECT_THROW(snake(x_, graph_.parameter("wide", {4})), chainrule::ShapeError);
}

// The last op of the graph, at random numbers.
TEST_F(SnakeTest, HasCorrectGradients) {
  snake(x_, a_);
  EXPECT_THAT(graph_, HasCorrectGradients());
  EXPECT_THAT(graph_,
              HasCorrectGradients(GradientCheckOptions{.dtype = chainrule::DType::kFloat32}));
}

// At numbers of one's own: many rows, which come in several blocks.
TEST_F(SnakeTest, HasCorrectGradientsInABatchOfManyRows) {
  const chainrule::Value y = snake(x_, a_);
  const chainrule::RandomFeed many(y, {.rows = 1000});
  EXPECT_THAT((GradientSubject{y, many.feed()}), HasCorrectGradients());
}

TEST_F(SnakeTest, AWrongBackwardIsCaught) {
  graph_.apply(kSnakeWithMeanOp, {x_, a_});
  EXPECT_THAT(graph_, Not(HasCorrectGradients()));
}

// What a failing EXPECT_THAT(graph_, HasCorrectGradients()) says.
TEST_F(SnakeTest, AWrongBackwardIsExplained) {
  graph_.apply(kSnakeWithMeanOp, {x_, a_});
  ::testing::StringMatchResultListener listener;
  EXPECT_FALSE(::testing::ExplainMatchResult(HasCorrectGradients(), graph_, &listener));
  EXPECT_THAT(listener.str(), HasSubstr("gradient of a [3]: 18 of 48 disagree"));
  EXPECT_THAT(listener.str(),
              HasSubstr("hint: backward is 1/5 x what it should be, and 5 is the "
                        "length of the batch: is it divided by that once too often?"));
}

}  // namespace
