// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/layer_norm.hpp"

#include <cmath>

#include "op_support.hpp"

namespace chainrule {
namespace {

struct LayerNorm {
  static constexpr std::string_view kName = "layer_norm";
  static constexpr OpTraits kTraits{.min_inputs = 3,
                                    .max_inputs = 3,
                                    .backward_reads = {.inputs = 0b011, .output = false},
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    const double epsilon = context.attributes.real[0];
    internal::require_attribute(kName, "epsilon", epsilon, epsilon > 0 && std::isfinite(epsilon),
                                "0 < epsilon < inf");
    internal::require_matrix(kName, "x", context.inputs[0]);
    internal::require_vector(kName, "gamma", context.inputs[1], context.inputs[0]);
    internal::require_vector(kName, "beta", context.inputs[2], context.inputs[0]);
    return context.inputs[0];
  }

  static Shape saved(const InferContext& context) {
    return internal::column_shape(context.inputs[0], 2);
  }

  static double flops_per_row(const InferContext& context) {
    return 8 * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).layer_norm(
        context.input<T>(0), context.input<T>(1).data, context.input<T>(2).data,
        context.attributes->real[0], context.out<T>(), internal::optional_view<T>(context.saved));
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0) && !context.wants(1) && !context.wants(2)) return;
    internal::kernels<T>(context).layer_norm_backward(
        context.input<T>(0), context.input<T>(1).data, internal::optional_view<T>(context.saved),
        context.out_gradient<T>(), internal::wanted_gradient<T>(context, 0), context.accumulates(0),
        internal::wanted_gradient<T>(context, 1).data, context.accumulates(1),
        internal::wanted_gradient<T>(context, 2).data, context.accumulates(2));
  }
};

}  // namespace

constinit const OpDef kLayerNormOp = define_op<LayerNorm>();

Value layer_norm(const Value& x, const Value& gamma, const Value& beta, double epsilon,
                 Where where) {
  return internal::graph_of("layer_norm", "x", x, where)
      .apply(kLayerNormOp, {x, gamma, beta}, {.real = {epsilon}}, where);
}

}  // namespace chainrule
