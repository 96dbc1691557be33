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
  static auto forward(const OpContext& context) {
    return [add_bias = internal::kernels<T>(context).add_bias, z = context.input<T>(0),
            b = context.input<T>(1).data, y = context.out<T>()] { add_bias(z, b, y); };
  }

  template <class T>
  static auto backward(const OpContext& context) {
    return [column_sum = internal::kernels<T>(context).column_sum, dy = context.out_gradient<T>(),
            db = internal::wanted_gradient<T>(context, 1).data, accumulate = context.accumulates(1),
            pass = internal::pass_gradient<T>(context, 0)] {
      if (db != nullptr) column_sum(dy, db, accumulate);
      pass();
    };
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents())();
  }
};

}  // namespace

constinit const OpDef kAddBiasOp = define_op<AddBias>();

Value add_bias(const Value& z, const Value& b, Where where) {
  return internal::graph_of("add_bias", "z", z, where).apply(kAddBiasOp, {z, b}, {}, where);
}

}  // namespace chainrule
