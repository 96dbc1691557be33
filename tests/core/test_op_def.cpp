// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/op_def.hpp"

#include <gtest/gtest.h>

#include <array>
#include <type_traits>

#include "chainrule/core/tensor.hpp"

namespace chainrule {
namespace {

/// y = a x, the smallest complete op.
struct Twice {
  static constexpr std::string_view kName = "twice";
  static constexpr OpTraits kTraits{
      .backward_reads = {}, .elementwise = true, .linear = true, .handles_overwrite = true};

  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  static double flops_per_row(const InferContext& context) {
    return static_cast<double>(context.inputs[0].columns());
  }
  template <class T>
  static void forward(const OpContext& context) {
    combine(context.input<T>(0), context.out<T>(), false);
  }
  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    combine(context.out_gradient<T>(), context.in_gradient<T>(0), context.accumulates(0));
  }
  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }

 private:
  template <class T>
  static void combine(MatrixView<const T> from, MatrixView<T> to, bool add) {
    for (Index i = 0; i < from.rows; ++i) {
      for (Index j = 0; j < from.columns; ++j) {
        to(i, j) = (add ? to(i, j) : T{0}) + T{2} * from(i, j);
      }
    }
  }
};

struct Sign {
  static constexpr std::string_view kName = "sign";
  static constexpr OpTraits kTraits{};
  static constexpr bool kNoGradient = true;

  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  template <class T>
  static void forward(const OpContext&) {}
};

/// Has every member there is.
struct Everything {
  static constexpr std::string_view kName = "everything";
  static constexpr OpTraits kTraits{.kind = OpKind::kBatchReduction,
                                    .min_inputs = 3,
                                    .max_inputs = 3,
                                    .weight_input = 1,
                                    .state_input = 2};

  static Shape infer(const InferContext&) { return {}; }
  static Shape saved(const InferContext&) { return {kBatch, 1}; }
  static double flops_per_row(const InferContext&) { return 3; }
  template <class T>
  static void forward(const OpContext&) {}
  template <class T>
  static void backward(const OpContext&) {}
  template <class T>
  static void jvp(const OpContext&) {}
  template <class T>
  static void backward_jvp(const OpContext&) {}
  template <class T>
  static void weight_gradient_jvp(const OpContext&, Index, Index) {}
  template <class T>
  static void finish(const OpContext&) {}
  template <class T>
  static void commit(const OpContext&) noexcept {}
  template <class T>
  static void weight_gradient(const OpContext&, Index, Index) {}
};

constexpr OpDef kTwice = define_op<Twice>();
constexpr OpDef kSign = define_op<Sign>();
constexpr OpDef kEverything = define_op<Everything>();

TEST(DefineOp, TakesTheNameTheTraitsAndTheRules) {
  EXPECT_EQ(kTwice.name, "twice");
  EXPECT_TRUE(kTwice.traits.elementwise);
  EXPECT_EQ(kTwice.traits.kind, OpKind::kRowwise);
  const std::array<Shape, 1> inputs = {Shape{kBatch, 3}};
  const Attributes attributes;
  EXPECT_EQ(kTwice.infer({inputs, attributes}), inputs[0]);
  EXPECT_EQ(kTwice.flops_per_row({inputs, attributes}), 3);
  EXPECT_EQ(kEverything.saved({inputs, attributes}), (Shape{kBatch, 1}));
}

TEST(DefineOp, LeavesNullWhatTheOpDoesNotHave) {
  EXPECT_TRUE(kTwice.has_gradient());
  EXPECT_FALSE(kSign.has_gradient());
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const std::size_t t = dtype_index(dtype);
    EXPECT_NE(kSign.forward[t], nullptr);
    EXPECT_EQ(kSign.backward[t], nullptr);
    EXPECT_EQ(kSign.jvp[t], nullptr);
    EXPECT_NE(kTwice.jvp[t], nullptr);
    EXPECT_EQ(kTwice.backward_jvp[t], nullptr);
    EXPECT_EQ(kTwice.weight_gradient_jvp[t], nullptr);
    EXPECT_NE(kEverything.backward_jvp[t], nullptr);
    EXPECT_NE(kEverything.weight_gradient_jvp[t], nullptr);
    EXPECT_EQ(kTwice.finish[t], nullptr);
    EXPECT_EQ(kTwice.commit[t], nullptr);
    EXPECT_EQ(kTwice.weight_gradient[t], nullptr);
    EXPECT_NE(kEverything.backward[t], nullptr);
    EXPECT_NE(kEverything.finish[t], nullptr);
    EXPECT_NE(kEverything.commit[t], nullptr);
    EXPECT_NE(kEverything.weight_gradient[t], nullptr);
  }
  EXPECT_EQ(kTwice.saved, nullptr);
  EXPECT_EQ(kSign.flops_per_row, nullptr);
}

TEST(DefineOp, KnowsWhoHasSecondDerivatives) {
  EXPECT_TRUE(kTwice.has_second_order());  // linear: backward is its own derivative
  EXPECT_TRUE(kEverything.has_second_order());
  EXPECT_FALSE(kSign.has_second_order());
}

TEST(DefineOp, OrdersTheFunctionsByDType) {
  EXPECT_EQ(kTwice.forward[dtype_index(DType::kFloat32)], &Twice::forward<float>);
  EXPECT_EQ(kTwice.forward[dtype_index(DType::kFloat64)], &Twice::forward<double>);
  EXPECT_EQ(kTwice.backward[dtype_index(DType::kFloat32)], &Twice::backward<float>);
  EXPECT_EQ(kTwice.backward[dtype_index(DType::kFloat64)], &Twice::backward<double>);
  EXPECT_EQ(kTwice.jvp[dtype_index(DType::kFloat32)], &Twice::jvp<float>);
  EXPECT_EQ(kTwice.jvp[dtype_index(DType::kFloat64)], &Twice::jvp<double>);
}

template <class T>
void expect_twice_runs() {
  const std::array<T, 4> values = {1, -2, 3, 0.5};
  const Tensor x = Tensor::from<T>({2, 2}, values);
  Tensor y({2, 2}, kDTypeOf<T>);
  Tensor dx({2, 2}, kDTypeOf<T>);
  OpContext context;
  context.inputs[0] = x;
  context.output = y;
  const std::size_t t = dtype_index(kDTypeOf<T>);
  kTwice.forward[t](context);
  EXPECT_EQ(element(y, 0, 1), -4);
  EXPECT_EQ(element(y, 1, 1), 1);

  context.output_gradient = x;
  kTwice.backward[t](context);  // wants nothing
  EXPECT_EQ(element(dx, 1, 0), 0);
  context.input_gradients[0] = dx;
  kTwice.backward[t](context);
  kTwice.backward[t](context);
  EXPECT_EQ(element(dx, 1, 0), 12);
  context.overwrite = 1;
  EXPECT_FALSE(context.accumulates(0));
  EXPECT_TRUE(context.accumulates(1));
  kTwice.backward[t](context);
  EXPECT_EQ(element(dx, 1, 0), 6);
}

template <class T>
void expect_tangents() {
  const std::array<T, 2> values = {3, -5};
  const Tensor tx = Tensor::from<T>({1, 2}, values);
  Tensor ty({1, 2}, kDTypeOf<T>);
  Tensor of_gradient({1, 1}, kDTypeOf<T>);
  TangentOperands tangents;
  tangents.inputs[0] = tx;
  tangents.output = ty;
  tangents.output_gradient = tx;
  tangents.input_gradients[1] = of_gradient;
  OpContext context;
  context.tangents = &tangents;
  kTwice.jvp[dtype_index(kDTypeOf<T>)](context);
  EXPECT_EQ(element(ty, 0, 0), 6);
  EXPECT_EQ(element(ty, 0, 1), -10);
  EXPECT_EQ(context.out_gradient_tangent<T>()(0, 1), -5);
  EXPECT_FALSE(context.wants_tangent(0));
  EXPECT_TRUE(context.wants_tangent(1));
  EXPECT_EQ(context.in_gradient_tangent<T>(1).data, of_gradient.data());
}

TEST(OpContext, CarriesTangents) {
  expect_tangents<float>();
  expect_tangents<double>();
}

TEST(OpContext, CarriesOneCallOfAnOp) {
  expect_twice_runs<float>();
  expect_twice_runs<double>();
}

TEST(OpContext, RunsTiles) {
  struct Calls {
    Index count = 0;
  } calls;
  TileRunner runner;
  runner.self = &calls;
  runner.run = [](void* self, Index count, void (*body)(void*, Index), void* argument) {
    for (Index tile = 0; tile < count; ++tile) body(argument, tile);
    static_cast<Calls*>(self)->count += count;
  };
  Index sum = 0;
  runner(5, [&sum](Index tile) { sum += tile; });
  EXPECT_EQ(sum, 10);
  EXPECT_EQ(calls.count, 5);
}

static_assert(kTwice.name == "twice", "an OpDef is a constant expression");
static_assert(std::is_trivially_copyable_v<OpDef> && std::is_trivially_copyable_v<OpContext>);

}  // namespace
}  // namespace chainrule
