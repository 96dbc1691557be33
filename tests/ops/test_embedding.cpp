// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/embedding.hpp"

#include <gmock/gmock.h>

#include <string>

#include "chainrule/core/error.hpp"
#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::OpCall;
using testing::set;
using testing::values;

class EmbeddingTest : public ::testing::Test {
 protected:
  EmbeddingTest()
      : call(embedding(g.indices("i", {kBatch, 2}), g.parameter("table", {4, 2})), 3,
             DType::kFloat32) {
    set(call.inputs[0], {3, 0, 1, 3, 3, 3});
    set(call.inputs[1], {1, 2, 3, 4, 5, 6, 7, 8});
    set(call.output_gradient, {1, 2, 3, 4, 10, 20, 30, 40, 100, 200, 300, 400});
  }

  Graph g;
  OpCall call;
};

TEST_F(EmbeddingTest, LaysRowsOfTheTableSideBySide) {
  call.forward();
  EXPECT_THAT(values(call.output), ElementsAre(7, 8, 1, 2, 3, 4, 7, 8, 7, 8, 7, 8));
}

TEST_F(EmbeddingTest, WeightGradientScattersInTiles) {
  set(call.gradients[1], {9, 9, 9, 9, 9, 9, 9, 9});
  call.weight_gradient(call.context(), 0, 3);
  call.weight_gradient(call.context(), 3, 1);
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(3, 4, 10, 20, 0, 0, 431, 642));
}

TEST_F(EmbeddingTest, WeightGradientAccumulates) {
  set(call.gradients[1], {9, 9, 9, 9, 9, 9, 9, 9});
  call.overwrite = 0;
  call.weight_gradient(call.context(), 2, 2);
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(9, 9, 9, 9, 9, 9, 440, 651));
}

TEST_F(EmbeddingTest, AnIndexOutsideTheTableIsNamedWithItsRow) {
  for (const int bad : {-1, 4}) {
    set(call.inputs[0], {3, 0, 1, 3, 3, static_cast<double>(bad)});
    try {
      call.forward(call.context(1, 2));  // row 2 of the batch is row 1 of this block
      ADD_FAILURE() << "no exception for index " << bad;
    } catch (const ArgumentError& error) {
      EXPECT_EQ(std::string(error.what()), "embedding: index of row 2 is " + std::to_string(bad) +
                                               ", expected 0 <= index < 4");
    }
  }
}

TEST_F(EmbeddingTest, OneIndexARow) {
  OpCall one(embedding(g.labels("l"), g.parameter("wide", {3, 2})), 2, DType::kFloat64);
  set(one.inputs[0], {2, 1});
  set(one.inputs[1], {1, 2, 3, 4, 5, 6});
  one.forward();
  EXPECT_THAT(values(one.output), ElementsAre(5, 6, 3, 4));
}

}  // namespace
}  // namespace chainrule
