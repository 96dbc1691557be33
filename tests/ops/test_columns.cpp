// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/columns.hpp"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::OpCall;
using testing::set;
using testing::values;

class ConcatTest : public ::testing::Test {
 protected:
  ConcatTest()
      : call(concat({g.input("a", {kBatch, 2}), g.input("b", {kBatch}), g.input("c", {kBatch, 3})}),
             2, DType::kFloat32) {
    set(call.inputs[0], {1, 2, 3, 4});
    set(call.inputs[1], {5, 6});
    set(call.inputs[2], {7, 8, 9, 10, 11, 12});
    set(call.output_gradient, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  }

  Graph g;
  OpCall call;
};

TEST_F(ConcatTest, PutsColumnsSideBySide) {
  call.forward();
  EXPECT_THAT(values(call.output), ElementsAre(1, 2, 5, 7, 8, 9, 3, 4, 6, 10, 11, 12));
}

TEST_F(ConcatTest, BackwardNeedsNoInputsAndSkipsUnwantedGradients) {
  OpContext context = call.context();
  context.inputs = {};
  context.input_gradients[1] = {};
  call.backward(context);
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(1, 2, 7, 8));
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(0, 0));
  EXPECT_THAT(values(call.gradients[2]), ElementsAre(4, 5, 6, 10, 11, 12));
}

TEST(ConcatWidthsTest, EightInputsOfDifferentWidths) {
  Graph g;
  std::vector<Value> parts;
  for (Index k = 0; k < kMaxInputs; ++k) {
    parts.push_back(g.input(std::string(1, static_cast<char>('a' + k)), {kBatch, k % 3}));
  }
  OpCall call(concat(parts), 1, DType::kFloat64);
  EXPECT_EQ(call.output.columns(), 0 + 1 + 2 + 0 + 1 + 2 + 0 + 1);
  set(call.output_gradient, {1, 2, 3, 4, 5, 6, 7});
  call.backward();
  EXPECT_THAT(values(call.gradients[2]), ElementsAre(2, 3));
  EXPECT_THAT(values(call.gradients[5]), ElementsAre(5, 6));
  EXPECT_THAT(values(call.gradients[7]), ElementsAre(7));
}

TEST(SliceTest, TakesColumnsAndGivesTheOthersNoGradient) {
  Graph g;
  OpCall call(slice(g.input("x", {kBatch, 4}), 1, 2), 2, DType::kFloat64);
  set(call.inputs[0], {1, 2, 3, 4, 5, 6, 7, 8});
  set(call.output_gradient, {10, 20, 30, 40});
  set(call.gradients[0], {9, 9, 9, 9, 9, 9, 9, 9});
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.output), ElementsAre(2, 3, 6, 7));
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(0, 10, 20, 0, 0, 30, 40, 0));
  call.overwrite = 0;
  call.backward();
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(0, 20, 40, 0, 0, 60, 80, 0));
}

TEST(SliceTest, NoColumnsAtAll) {
  Graph g;
  OpCall call(slice(g.input("x", {kBatch, 2}), 2, 0), 2, DType::kFloat64);
  set(call.gradients[0], {9, 9, 9, 9});
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace chainrule
