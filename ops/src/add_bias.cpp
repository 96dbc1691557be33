// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/add_bias.hpp"

#include "op_support.hpp"

namespace chainrule {
namespace {

struct AddBias {
  static constexpr std::string_view kName = "add_bias";
  static constexpr OpTraits kTraits{.min_inputs = 2,
                                    .max_inputs = 2,
                                    .backward_reads = {.inputs = 0, .output = false},
                                    .linear = true,
                                    .output_may_alias_input = true,
                                    .gradient_may_alias = true,
                                    .handles_overwrite = true,
                                    .epilogue = EpilogueKind::kBias};

  static Shape infer(const InferContext& context) {
    internal::require_matrix(kName, "z", context.inputs[0]);
    internal::require_vector(kName, "b", context.inputs[1], context.inputs[0]);
    return context.inputs[0];
  }

  static double flops_per_row(const InferContext& context) {
    return static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).add_bias(context.input<T>(0), context.input<T>(1).data,
                                           context.out<T>());
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (context.wants(1)) {
      internal::kernels<T>(context).column_sum(
          context.out_gradient<T>(), context.in_gradient<T>(1).data, context.accumulates(1));
    }
    if (context.wants(0)) internal::pass_gradient<T>(context, 0);
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

}  // namespace

constinit const OpDef kAddBiasOp = define_op<AddBias>();

Value add_bias(const Value& z, const Value& b, Where where) {
  return internal::graph_of("add_bias", "z", z, where).apply(kAddBiasOp, {z, b}, {}, where);
}

}  // namespace chainrule
