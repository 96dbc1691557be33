// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/random_feed.hpp"

#include <gmock/gmock.h>

#include <set>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

std::vector<double> numbers(const Feed& feed, const Value& value) {
  std::vector<double> result;
  for (const auto& [input, view] : feed.inputs) {
    if (input != value) continue;
    for (Index i = 0; i < view.rows; ++i) {
      for (Index j = 0; j < view.columns; ++j) result.push_back(element(view, i, j));
    }
  }
  return result;
}

TEST(RandomFeed, DrawsInputsOfTheRightShapeAndRange) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 40});
  const Value y = tanh(x);
  const RandomFeed random(y, {.rows = 30});
  const std::vector<double> drawn = numbers(random.feed(), x);
  ASSERT_EQ(drawn.size(), 1200U);
  const auto [low, high] = std::minmax_element(drawn.begin(), drawn.end());
  EXPECT_GE(*low, -2);
  EXPECT_LT(*low, -1.9);
  EXPECT_LT(*high, 2);
  EXPECT_GT(*high, 1.9);
  EXPECT_EQ(std::set<double>(drawn.begin(), drawn.end()).size(), drawn.size());
  const RandomFeed other(y, {.rows = 30, .seed = 2});
  EXPECT_NE(numbers(other.feed(), x), drawn);
  EXPECT_EQ(numbers(RandomFeed(y, {.rows = 30}).feed(), x), drawn);
}

TEST(RandomFeed, StaysPositiveWhereALogarithmNeedsIt) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value y = log(x);
  const RandomFeed random(y);
  for (const double number : numbers(random.feed(), x)) EXPECT_GE(number, 0.25);
  EXPECT_TRUE(check_gradients(graph, y, random.feed()).ok());
}

TEST(RandomFeed, IndicesFitTheirConsumer) {
  Graph graph;
  const Value rows = graph.indices("rows", {kBatch, 2});
  const Value labels = graph.labels("labels");
  const Value table = graph.parameter("table", {7, 3});
  const Value loss = softmax_cross_entropy(embedding(rows, table), labels);
  const RandomFeed random(loss, {.rows = 200});
  const auto seen = [&](const Value& value) {
    const std::vector<double> drawn = numbers(random.feed(), value);
    return std::set<double>(drawn.begin(), drawn.end());
  };
  EXPECT_EQ(seen(rows), (std::set<double>{0, 1, 2, 3, 4, 5, 6}));  // the rows of the table
  EXPECT_EQ(seen(labels), (std::set<double>{0, 1, 2, 3, 4, 5}));   // two embeddings side by side
}

TEST(RandomFeed, NoParameterIsZeroEverywhere) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value w = graph.parameter("w", {3, 2}, zeros());
  const Value b = graph.parameter("b", {2});
  const Value loss = reduce_mean(
      tanh(matmul(tanh(add_bias(matmul(x, w), b)), graph.parameter("v", {2, 1}, zeros()))),
      Axis::kAll);
  const RandomFeed random(loss);
  for (const char* name : {"w", "b", "v"}) {
    const ConstTensorView view = random.feed().parameters->view(name);
    EXPECT_NE(element(view, 0, 0), 0) << name;
    EXPECT_LE(std::abs(element(view, 0, 0)), 0.5) << name;
  }
  const GradientReport report = check_gradients(graph, loss, random.feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
}

TEST(RandomFeed, RefusesNothing) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  EXPECT_THROW(RandomFeed(Value{}), ArgumentError);
  EXPECT_THROW(RandomFeed(x, {.rows = 0}), ArgumentError);
}

}  // namespace
}  // namespace chainrule
