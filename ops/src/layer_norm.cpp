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

  /// mean moves by mean(tx), rstd by -rstd^2 mean(h tx), where h = (x - mean) rstd.
  template <class T>
  static void jvp(const OpContext& context) {
    const MatrixView<const T> x = context.input<T>(0);
    const MatrixView<const T> tx = context.in_tangent<T>(0);
    const MatrixView<const T> stats = context.saved.as<T>();
    const MatrixView<T> ty = context.out_tangent<T>();
    const T* const gamma = context.input<T>(1).data;
    const T* const tgamma = context.in_tangent<T>(1).data;
    const T* const tbeta = context.in_tangent<T>(2).data;
    const T count = static_cast<T>(x.columns);
    for (Index i = 0; i < x.rows; ++i) {
      const T rstd = stats(i, 1);
      const auto h = [&](Index j) { return (x(i, j) - stats(i, 0)) * rstd; };
      T tmean = 0, product = 0;
      for (Index j = 0; j < x.columns; ++j) {
        tmean += tx(i, j) / count;
        product += h(j) * tx(i, j) / count;
      }
      for (Index j = 0; j < x.columns; ++j) {
        const T th = rstd * (tx(i, j) - tmean - h(j) * product);
        ty(i, j) = th * gamma[j] + h(j) * tgamma[j] + tbeta[j];
      }
    }
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
