// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/dropout.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;
using testing::OpCall;
using testing::values;

OpCall make(Graph& g, Index rows, Index columns, double rate, DType dtype = DType::kFloat64) {
  OpCall call(dropout(g.input("x", {kBatch, columns}), rate), rows, dtype);
  call.fill_inputs(1, 2);
  return call;
}

TEST(DropoutTest, MaskIsTheDocumentedFunctionOfKeyRowAndColumn) {
  Graph g;
  OpCall call = make(g, 5, 7, 0.3);
  call.forward();
  for (Index i = 0; i < 5; ++i) {
    for (Index j = 0; j < 7; ++j) {
      std::uint32_t word = 0;
      fill_random_words(call.random, static_cast<std::uint64_t>(i * 7 + j), {&word, 1});
      const double mask = static_cast<double>(word) >= 0.3 * 4294967296.0 ? 1 / (1 - 0.3) : 0;
      EXPECT_EQ(element(call.saved, i, j), mask) << i << ", " << j;
      EXPECT_EQ(element(call.output, i, j), mask * element(call.inputs[0], i, j));
    }
  }
}

TEST(DropoutTest, BlocksOfRowsGiveTheMaskOfTheWholeBatch) {
  for (const Index columns : {1, 3, 300}) {  // 300: more than are drawn at a time
    Graph g, h;
    OpCall whole = make(g, 11, columns, 0.5), blocks = make(h, 11, columns, 0.5);
    whole.forward();
    for (const auto& [first, rows] : {std::pair<Index, Index>{4, 7}, {0, 1}, {1, 3}}) {
      blocks.forward(blocks.context(first, rows));
    }
    EXPECT_THAT(values(blocks.saved), ElementsAreArray(values(whole.saved)));
    EXPECT_THAT(values(blocks.output), ElementsAreArray(values(whole.output)));
  }
}

TEST(DropoutTest, Float32AndFloat64DropTheSame) {
  Graph g, h;
  OpCall f32 = make(g, 20, 20, 0.5, DType::kFloat32), f64 = make(h, 20, 20, 0.5);
  f32.forward();
  f64.forward();
  EXPECT_THAT(values(f32.saved), ElementsAreArray(values(f64.saved)));  // 0 and 2 are exact in both
}

TEST(DropoutTest, AnotherKeyGivesAnotherMask) {
  Graph g, h;
  OpCall one = make(g, 20, 20, 0.5), two = make(h, 20, 20, 0.5);
  two.random.stream += 1;
  one.forward();
  two.forward();
  EXPECT_NE(values(one.saved), values(two.saved));
}

TEST(DropoutTest, DropsAtTheStatedRate) {
  for (const double rate : {0.0, 0.1, 0.5, 0.9}) {
    Graph g;
    constexpr Index kRows = 400, kColumns = 250;
    OpCall call = make(g, kRows, kColumns, rate);
    call.forward();
    double dropped = 0;
    for (const double mask : values(call.saved)) dropped += mask == 0 ? 1 : 0;
    const double n = kRows * kColumns;
    // Five standard deviations of a binomial count; exactly none at rate 0.
    EXPECT_NEAR(dropped, rate * n, 5 * std::sqrt(n * rate * (1 - rate))) << rate;
  }
}

TEST(DropoutTest, BackwardMasksTheGradient) {
  Graph g;
  OpCall call = make(g, 6, 9, 0.4);
  call.fill(call.output_gradient, -1, 1, 5);
  call.forward();
  call.backward();
  for (Index i = 0; i < 6; ++i) {
    for (Index j = 0; j < 9; ++j) {
      EXPECT_EQ(element(call.gradients[0], i, j),
                element(call.saved, i, j) * element(call.output_gradient, i, j));
    }
  }
}

TEST(DropoutTest, InferenceCopiesWithoutSaving) {
  Graph g;
  OpCall call = make(g, 6, 9, 0.4);
  call.mode = Mode::kInference;
  call.fill(call.output_gradient, -1, 1, 5);
  OpContext context = call.context();
  context.saved = {};
  call.forward(context);
  call.backward(context);
  EXPECT_EQ(values(call.output), values(call.inputs[0]));
  EXPECT_EQ(values(call.gradients[0]), values(call.output_gradient));
}

TEST(DropoutTest, ADroppedInfinityIsZero) {
  Graph g;
  OpCall call = make(g, 30, 30, 0.5);
  const auto x = call.inputs[0].as<double>();
  for (Index i = 0; i < 30; ++i) {
    for (Index j = 0; j < 30; ++j) x(i, j) = std::numeric_limits<double>::infinity();
  }
  call.forward();
  const std::vector<double> y = values(call.output);
  EXPECT_THAT(y, Each(::testing::AnyOf(0.0, std::numeric_limits<double>::infinity())));
  EXPECT_THAT(y, ::testing::Contains(0.0));
}

}  // namespace
}  // namespace chainrule
