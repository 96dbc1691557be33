// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/arithmetic.hpp"

#include <fmt/format.h>

#include <cmath>

#include "op_support.hpp"

namespace chainrule {
namespace {

constexpr OpTraits binary_traits(std::uint32_t backward_inputs) {
  return {.min_inputs = 2,
          .max_inputs = 2,
          .backward_reads = {.inputs = backward_inputs, .output = false},
          .elementwise = true,
          .linear = backward_inputs == 0,
          .output_may_alias_input = true,
          .gradient_may_alias = true,
          .handles_overwrite = true};
}

Shape infer_same(std::string_view op, const InferContext& context) {
  const Shape& a = context.inputs[0];
  const Shape& b = context.inputs[1];
  if (a != b) {
    internal::throw_shapes(
        op, fmt::format("{} and {}", internal::named("a", a), internal::named("b", b)),
        "two equal shapes");
  }
  return a;
}

struct OneFlopAnElement {
  static double flops_per_row(const InferContext& context) {
    return static_cast<double>(context.inputs[0].columns());
  }
};

/// Runs `gradient(input)` for the inputs that want one, that whose gradient shares dy's memory
/// last.
template <class Gradient>
void for_wanted_inputs(const OpContext& context, const Gradient& gradient) {
  const bool first_is_dy = context.input_gradients[0].data == context.output_gradient.data;
  const int first = first_is_dy ? 1 : 0;
  if (context.wants(first)) gradient(first);
  if (context.wants(1 - first)) gradient(1 - first);
}

struct Add : OneFlopAnElement {
  static constexpr std::string_view kName = "add";
  static constexpr OpTraits kTraits = binary_traits(0);
  static Shape infer(const InferContext& context) { return infer_same(kName, context); }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).add(context.input<T>(0), context.input<T>(1), context.out<T>());
  }
  template <class T>
  static void backward(const OpContext& context) {
    for_wanted_inputs(context, [&](int input) { internal::pass_gradient<T>(context, input)(); });
  }
  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

struct Sub : OneFlopAnElement {
  static constexpr std::string_view kName = "sub";
  static constexpr OpTraits kTraits = binary_traits(0);
  static Shape infer(const InferContext& context) { return infer_same(kName, context); }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).sub(context.input<T>(0), context.input<T>(1), context.out<T>());
  }
  template <class T>
  static void backward(const OpContext& context) {
    for_wanted_inputs(context, [&](int input) {
      internal::kernels<T>(context).scale_into(input == 0 ? T{1} : T{-1}, context.out_gradient<T>(),
                                               context.in_gradient<T>(input),
                                               context.accumulates(input));
    });
  }
  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

struct Mul : OneFlopAnElement {
  static constexpr std::string_view kName = "mul";
  static constexpr OpTraits kTraits = binary_traits(0b11);
  static Shape infer(const InferContext& context) { return infer_same(kName, context); }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).mul(context.input<T>(0), context.input<T>(1), context.out<T>());
  }
  template <class T>
  static void backward(const OpContext& context) {
    for_wanted_inputs(context, [&](int input) {
      internal::kernels<T>(context).mul_into(context.out_gradient<T>(), context.input<T>(1 - input),
                                             context.in_gradient<T>(input),
                                             context.accumulates(input));
    });
  }
  template <class T>
  static void jvp(const OpContext& context) {
    const Kernels<T>& k = internal::kernels<T>(context);
    k.mul(context.in_tangent<T>(0), context.input<T>(1), context.out_tangent<T>());
    k.mul_into(context.input<T>(0), context.in_tangent<T>(1), context.out_tangent<T>(), true);
  }
  /// tda += tdy b + dy tb, tdb += tdy a + dy ta.
  template <class T>
  static void backward_jvp(const OpContext& context) {
    const Kernels<T>& k = internal::kernels<T>(context);
    for (const int input : {0, 1}) {
      if (!context.wants_tangent(input)) continue;
      const MatrixView<T> sum = context.in_gradient_tangent<T>(input);
      k.mul_into(context.out_gradient_tangent<T>(), context.input<T>(1 - input), sum,
                 context.accumulates(input));
      k.mul_into(context.out_gradient<T>(), context.in_tangent<T>(1 - input), sum, true);
    }
  }
};

struct Scale : OneFlopAnElement {
  static constexpr std::string_view kName = "scale";
  static constexpr OpTraits kTraits{.backward_reads = {.inputs = 0, .output = false},
                                    .elementwise = true,
                                    .linear = true,
                                    .output_may_alias_input = true,
                                    .gradient_may_alias = true,
                                    .handles_overwrite = true};
  static Shape infer(const InferContext& context) {
    const double factor = context.attributes.real[0];
    internal::require_attribute(kName, "factor", factor, std::isfinite(factor), "a finite number");
    return context.inputs[0];
  }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).scale_into(static_cast<T>(context.attributes->real[0]),
                                             context.input<T>(0), context.out<T>(), false);
  }
  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    internal::kernels<T>(context).scale_into(static_cast<T>(context.attributes->real[0]),
                                             context.out_gradient<T>(), context.in_gradient<T>(0),
                                             context.accumulates(0));
  }
  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

}  // namespace

constinit const OpDef kAddOp = define_op<Add>();
constinit const OpDef kSubOp = define_op<Sub>();
constinit const OpDef kMulOp = define_op<Mul>();
constinit const OpDef kScaleOp = define_op<Scale>();

Value add(const Value& a, const Value& b, Where where) {
  return internal::graph_of("add", "a", a, where).apply(kAddOp, {a, b}, {}, where);
}

Value sub(const Value& a, const Value& b, Where where) {
  return internal::graph_of("sub", "a", a, where).apply(kSubOp, {a, b}, {}, where);
}

Value mul(const Value& a, const Value& b, Where where) {
  return internal::graph_of("mul", "a", a, where).apply(kMulOp, {a, b}, {}, where);
}

Value scale(const Value& x, double factor, Where where) {
  return internal::graph_of("scale", "x", x, where).apply(kScaleOp, {x}, {.real = {factor}}, where);
}

}  // namespace chainrule
