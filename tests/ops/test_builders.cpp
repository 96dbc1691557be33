// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <functional>
#include <limits>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "message_of.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::message_of;

class BuildersTest : public ::testing::Test {
 protected:
  Graph g;
  Value x = g.input("x", {kBatch, 6});
  Value column = g.input("column", {kBatch, 1});
  Value flat = g.input("flat", {kBatch});
  Value w = g.parameter("w", {6, 4});
  Value b6 = g.parameter("b6", {6});
  Value b4 = g.parameter("b4", {4});
  Value matrix = g.parameter("matrix", {5, 6});
  Value labels = g.labels("labels");
  Value pairs = g.indices("pairs", {kBatch, 2});
  Value weights = g.input("weights", {kBatch});

  Graph other;
  Value alien = other.input("alien", {kBatch, 6});
};

TEST_F(BuildersTest, OutputShapes) {
  EXPECT_EQ(matmul(x, w).shape(), (Shape{kBatch, 4}));
  EXPECT_EQ(matmul(matrix, w).shape(), (Shape{5, 4}));
  EXPECT_EQ(add_bias(x, b6).shape(), x.shape());
  EXPECT_EQ(add_bias(matrix, b6).shape(), matrix.shape());
  for (const auto& binary : {add, sub, mul}) {
    EXPECT_EQ(binary(x, x, Where::current()).shape(), x.shape());
    EXPECT_EQ(binary(b6, b6, Where::current()).shape(), b6.shape());
  }
  EXPECT_EQ(scale(x, 2).shape(), x.shape());
  EXPECT_EQ(softmax(x).shape(), x.shape());
  EXPECT_EQ(log_softmax(matrix).shape(), matrix.shape());
  EXPECT_EQ(dropout(flat, 0.5).shape(), flat.shape());
  EXPECT_EQ(layer_norm(x, b6, b6).shape(), x.shape());
  EXPECT_EQ(batch_norm(x, b6, b6, b6, b6).shape(), x.shape());
  EXPECT_EQ(concat({x, flat, column}).shape(), (Shape{kBatch, 8}));
  EXPECT_EQ(concat({matrix, matrix}).shape(), (Shape{5, 12}));
  EXPECT_EQ(slice(x, 2, 3).shape(), (Shape{kBatch, 3}));
  EXPECT_EQ(slice(x, 6, 0).shape(), (Shape{kBatch, 0}));
  EXPECT_EQ(embedding(labels, w).shape(), (Shape{kBatch, 4}));
  EXPECT_EQ(embedding(pairs, w).shape(), (Shape{kBatch, 8}));
}

TEST_F(BuildersTest, ReductionShapes) {
  for (const auto& reduce : {reduce_sum, reduce_mean}) {
    const auto shape = [&](const Value& value, Axis axis) {
      return reduce(value, axis, Where::current()).shape();
    };
    EXPECT_EQ(shape(x, Axis::kBatch), Shape{6});
    EXPECT_EQ(shape(column, Axis::kBatch), Shape{1});
    EXPECT_EQ(shape(flat, Axis::kBatch), Shape{});
    EXPECT_EQ(shape(x, Axis::kFeatures), (Shape{kBatch, 1}));
    EXPECT_EQ(shape(matrix, Axis::kFeatures), (Shape{5, 1}));
    EXPECT_EQ(shape(b6, Axis::kFeatures), Shape{1});
    for (const Value& value : {x, column, flat, matrix, b6}) {
      EXPECT_EQ(shape(value, Axis::kAll), Shape{});
    }
  }
}

TEST_F(BuildersTest, LossShapes) {
  EXPECT_EQ(mean_squared_error(x, x).shape(), Shape{});
  EXPECT_EQ(mean_squared_error(x, x, {.weights = weights}).shape(), Shape{});
  EXPECT_EQ(mean_absolute_error(column, flat, {.reduction = Reduction::kSum}).shape(), Shape{});
  EXPECT_EQ(hinge(x, x, {.reduction = Reduction::kNone}).shape(), (Shape{kBatch, 1}));
  EXPECT_EQ(huber(flat, column, {.weights = column}).shape(), Shape{});
  EXPECT_EQ(softmax_cross_entropy(x, labels).shape(), Shape{});
  EXPECT_EQ(softmax_cross_entropy(x, x, {.label_smoothing = 0.1}).shape(), Shape{});
  EXPECT_EQ(poisson_nll(column, flat, {.offset = flat, .exposure = column}).shape(), Shape{});
}

TEST_F(BuildersTest, NodesRememberTheUsersLine) {
  const Value y = relu(x);
  EXPECT_THAT(y.node().where, HasSubstr("test_builders.cpp:"));
  const Value loss = mean_squared_error(y, x, {.weights = weights});
  EXPECT_THAT(loss.node().where, HasSubstr("test_builders.cpp:"));
  EXPECT_NE(y.node().where, loss.node().where);
}

TEST_F(BuildersTest, WrongShapesNameOpShapesAndPlace) {
  const auto expect = [](const std::function<void()>& build, const std::string& op,
                         const std::string& expected) {
    EXPECT_THAT(message_of<ShapeError>(build),
                AllOf(HasSubstr(op + ": got "), HasSubstr("expected " + expected),
                      HasSubstr("(at test_builders.cpp:")));
  };
  expect([&] { matmul(w, x); }, "matmul", "w [4, columns]");
  expect([&] { matmul(x, matrix); }, "matmul", "w [6, columns]");
  expect([&] { matmul(flat, w); }, "matmul", "a matrix");
  expect([&] { add_bias(x, b4); }, "add_bias", "b [6]");
  expect([&] { add_bias(x, matrix); }, "add_bias", "b [6]");
  expect([&] { add(x, matrix); }, "add", "two equal shapes");
  expect([&] { sub(flat, column); }, "sub", "two equal shapes");
  expect([&] { mul(x, b6); }, "mul", "two equal shapes");
  expect([&] { softmax(b6); }, "softmax", "a matrix");
  expect([&] { log_softmax(flat); }, "log_softmax", "a matrix");
  expect([&] { layer_norm(x, b6, b4); }, "layer_norm", "beta [6]");
  expect([&] { batch_norm(x, b6, b6, b4, b6); }, "batch_norm", "running_mean [6]");
  expect([&] { concat({x, matrix}); }, "concat", "matrices");
  expect([&] { concat({b6}); }, "concat", "matrices");
  expect([&] { slice(b6, 0, 1); }, "slice", "a matrix");
  expect([&] { embedding(labels, b6); }, "embedding", "a matrix [count, width]");
  expect([&] { reduce_sum(matrix, Axis::kBatch); }, "batch_sum", "[batch] or [batch, columns]");
  expect(
      [&] {
        reduce_mean(g.input("cube", {kBatch, 2, 3}), Axis::kAll);
      },
      "reduce_mean", "at most two dimensions");
  expect([&] { g.apply(kTotalSumOp, {x}); }, "total_sum", "a value without a batch");
  expect([&] { g.apply(kBatchSumOp, {x}, {.integer = {1}}); }, "batch_sum", "one column");
}

TEST_F(BuildersTest, WrongLossShapes) {
  const auto expect = [](const std::function<void()>& build, const std::string& op,
                         const std::string& expected) {
    EXPECT_THAT(message_of<ShapeError>(build),
                AllOf(HasSubstr(op + ": got "), HasSubstr("expected " + expected),
                      HasSubstr("(at test_builders.cpp:")));
  };
  expect([&] { mean_squared_error(x, flat); }, "mean_squared_error", "target [batch, 6]");
  expect([&] { mean_absolute_error(matrix, matrix); }, "mean_absolute_error", "[batch]");
  expect([&] { huber(x, x, {.weights = x}); }, "huber", "weights [batch] or [batch, 1]");
  expect([&] { hinge(x, x, {.weights = b6}); }, "hinge", "weights [batch] or [batch, 1]");
  expect([&] { binary_cross_entropy(slice(x, 0, 0), slice(x, 0, 0)); }, "binary_cross_entropy",
         "at least one column");
  expect([&] { softmax_cross_entropy(x, pairs); }, "softmax_cross_entropy", "labels [batch]");
  expect([&] { softmax_cross_entropy(x, column); }, "softmax_cross_entropy_probabilities",
         "labels [batch] or probabilities");
  expect([&] { softmax_cross_entropy(flat, labels); }, "softmax_cross_entropy",
         "logits [batch, classes]");
  expect([&] { poisson_nll(x, x, {.offset = flat}); }, "poisson_nll", "offset [batch, 6]");
  expect([&] { gamma_nll(column, flat, {.exposure = x}); }, "gamma_nll", "exposure [batch, 1]");
  expect([&] { reduce_loss(x); }, "batch_mean", "one column");
}

TEST_F(BuildersTest, AttributesOutsideTheirDomain) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const auto expect = [](const std::function<void()>& build, const std::string& text) {
    EXPECT_THAT(message_of<ArgumentError>(build),
                AllOf(HasSubstr(text), HasSubstr("(at test_builders.cpp:")));
  };
  expect([&] { scale(x, nan); }, "scale: factor is nan");
  expect([&] { leaky_relu(x, inf); }, "leaky_relu: slope is inf");
  expect([&] { elu(x, -1); }, "elu: alpha is -1, expected 0 <= alpha < inf");
  expect([&] { dropout(x, 1); }, "dropout: rate is 1, expected 0 <= rate < 1");
  expect([&] { dropout(x, -0.1); }, "dropout: rate is -0.1");
  expect([&] { dropout(x, nan); }, "dropout: rate is nan");
  expect([&] { layer_norm(x, b6, b6, 0); }, "layer_norm: epsilon is 0");
  expect([&] { batch_norm(x, b6, b6, b6, b6, {.momentum = 1.5}); }, "batch_norm: momentum is 1.5");
  expect([&] { batch_norm(x, b6, b6, b6, b6, {.epsilon = -1}); }, "batch_norm: epsilon is -1");
  expect([&] { slice(x, 4, 3); }, "slice: first 4 and count 3 of x [batch, 6]");
  expect([&] { slice(x, -1, 3); }, "slice: first -1");
  expect([&] { slice(x, std::numeric_limits<Index>::max(), 1); },
         "slice: first 9223372036854775807");
  expect([&] { huber(x, x, {.delta = 0}); }, "huber: delta is 0, expected 0 < delta < inf");
  expect([&] { gamma_nll(x, x, {.shape = inf}); }, "gamma_nll: shape is inf");
  expect([&] { negative_binomial_nll(x, x, {.dispersion = -2}); },
         "negative_binomial_nll: dispersion is -2");
  expect([&] { softmax_cross_entropy(x, labels, {.label_smoothing = 1}); },
         "softmax_cross_entropy: label_smoothing is 1");
  expect([&] { mean_squared_error(x, x, {.weights = weights, .reduction = Reduction::kNone}); },
         "mean_squared_error: got weights with Reduction::kNone");
  expect([&] { concat({}); }, "concat: got 0 values, expected 1 to 8");
  expect([&] { concat({x, x, x, x, x, x, x, x, x}); }, "concat: got 9 values, expected 1 to 8");
  expect([&] { g.apply(kBatchMeanOp, {x, weights}); }, "batch_mean: got weights without");
  expect([&] { g.apply(kConcatOp, {x, x}); }, "concat: the widths in its attributes");
}

TEST_F(BuildersTest, WrongGraphAndNullValues) {
  const auto expect = [](const std::function<void()>& build, const std::string& op) {
    EXPECT_THAT(message_of<ArgumentError>(build),
                AllOf(HasSubstr(op + ": "), HasSubstr("(at test_builders.cpp:")));
  };
  expect([&] { add(x, alien); }, "add");
  expect([&] { matmul(alien, w); }, "matmul");
  expect([&] { concat({x, alien}); }, "concat");
  expect([&] { mean_squared_error(x, alien); }, "mean_squared_error");
  expect([&] { relu(Value{}); }, "relu");
  expect([&] { matmul(x, Value{}); }, "matmul");
  expect([&] { concat({Value{}}); }, "concat");
  expect([&] { concat({x, Value{}}); }, "concat");
  expect([&] { softmax_cross_entropy(x, Value{}); }, "softmax_cross_entropy");
  expect([&] { poisson_nll(Value{}, x); }, "poisson_nll");
  expect([&] { reduce_sum(Value{}, Axis::kAll); }, "reduce_sum");
}

TEST_F(BuildersTest, IndicesAndRealNumbersAreNotMixed) {
  EXPECT_THAT(message_of<ArgumentError>([&] { relu(labels); }), HasSubstr("relu: "));
  EXPECT_THAT(message_of<ArgumentError>([&] { embedding(flat, w); }), HasSubstr("embedding: "));
  EXPECT_THAT(message_of<ArgumentError>([&] { mean_squared_error(column, labels); }),
              HasSubstr("mean_squared_error: "));
  EXPECT_THAT(message_of<ArgumentError>([&] { mean_squared_error(x, x, {.weights = labels}); }),
              HasSubstr("batch_sum: "));
}

TEST_F(BuildersTest, AFailedBuilderOfASingleNodeLeavesTheGraphAsItWas) {
  const Index before = g.size();
  EXPECT_THROW(matmul(x, matrix), ShapeError);
  EXPECT_THROW(dropout(x, 2), ArgumentError);
  EXPECT_THROW(mean_squared_error(x, x, {.weights = x}), ShapeError);
  EXPECT_EQ(g.size(), before);
}

}  // namespace
}  // namespace chainrule
