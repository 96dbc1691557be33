// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/arithmetic.hpp"

#include <gmock/gmock.h>

#include "chainrule/ops/add_bias.hpp"
#include "op_call.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::OpCall;
using testing::set;
using testing::values;

class ArithmeticTest : public ::testing::Test {
 protected:
  OpCall make(Value (*build)(const Value&, const Value&, Where)) {
    const Value a = g.input("a", {kBatch, 2}), b = g.input("b", {kBatch, 2});
    OpCall call(build(a, b, Where::current()), 2, DType::kFloat32);
    set(call.inputs[0], {1, 2, 3, 4});
    set(call.inputs[1], {10, 20, 30, 40});
    set(call.output_gradient, {1, -1, 2, -2});
    return call;
  }

  /// Runs backward with the gradient of `input` in the memory of the output's.
  static OpCall& backward_in_place(OpCall& call, std::size_t input) {
    OpContext context = call.context();
    context.input_gradients[input] = call.output_gradient.view();
    call.backward(context);
    return call;
  }

  Graph g;
};

TEST_F(ArithmeticTest, Add) {
  OpCall call = make(add);
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.output), ElementsAre(11, 22, 33, 44));
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(1, -1, 2, -2));
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(1, -1, 2, -2));
}

TEST_F(ArithmeticTest, Sub) {
  OpCall call = make(sub);
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.output), ElementsAre(-9, -18, -27, -36));
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(1, -1, 2, -2));
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(-1, 1, -2, 2));
}

TEST_F(ArithmeticTest, Mul) {
  OpCall call = make(mul);
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.output), ElementsAre(10, 40, 90, 160));
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(10, -20, 60, -80));
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(1, -2, 6, -8));
}

TEST_F(ArithmeticTest, SubInPlace) {
  OpCall call = make(sub);
  EXPECT_THAT(values(backward_in_place(call, 0).gradients[1]), ElementsAre(-1, 1, -2, 2));
  EXPECT_THAT(values(call.output_gradient), ElementsAre(1, -1, 2, -2));
}

TEST_F(ArithmeticTest, MulInPlaceOfTheFirstGradient) {
  OpCall first = make(mul);
  EXPECT_THAT(values(backward_in_place(first, 0).gradients[1]), ElementsAre(1, -2, 6, -8));
  EXPECT_THAT(values(first.output_gradient), ElementsAre(10, -20, 60, -80));
}

TEST_F(ArithmeticTest, MulInPlaceOfTheSecondGradient) {
  OpCall second = make(mul);
  EXPECT_THAT(values(backward_in_place(second, 1).gradients[0]), ElementsAre(10, -20, 60, -80));
  EXPECT_THAT(values(second.output_gradient), ElementsAre(1, -2, 6, -8));
}

TEST_F(ArithmeticTest, ASquareAddsBothItsGradients) {
  const Value x = g.input("x", {kBatch, 2});
  OpCall call(mul(x, x), 1, DType::kFloat64);
  set(call.inputs[0], {3, -5});
  set(call.inputs[1], {3, -5});
  set(call.output_gradient, {1, 2});
  OpContext context = call.context();
  context.input_gradients[1] = context.input_gradients[0];
  context.overwrite = 0b01;
  call.backward(context);
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(6, -20));
}

TEST_F(ArithmeticTest, ScaleTakesItsFactorFromTheAttributes) {
  OpCall call(scale(g.input("x", {kBatch, 2}), -0.5), 1, DType::kFloat64);
  set(call.inputs[0], {3, -5});
  set(call.output_gradient, {1, 4});
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.output), ElementsAre(-1.5, 2.5));
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(-0.5, -2));
}

TEST_F(ArithmeticTest, AddBiasBroadcastsAndSumsItsGradient) {
  OpCall call(add_bias(g.input("z", {kBatch, 2}), g.parameter("b", {2})), 3, DType::kFloat32);
  set(call.inputs[0], {1, 2, 3, 4, 5, 6});
  set(call.inputs[1], {10, 20});
  set(call.output_gradient, {1, 2, 3, 4, 5, 6});
  call.forward();
  call.backward();
  EXPECT_THAT(values(call.output), ElementsAre(11, 22, 13, 24, 15, 26));
  EXPECT_THAT(values(call.gradients[0]), ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(values(call.gradients[1]), ElementsAre(9, 12));
}

}  // namespace
}  // namespace chainrule
