// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/softmax.hpp"

#include "op_support.hpp"

namespace chainrule {
namespace {

template <bool kLog>
struct Softmax {
  static constexpr std::string_view kName = kLog ? "log_softmax" : "softmax";
  static constexpr OpTraits kTraits{.backward_reads = {.inputs = 0, .output = true},
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    internal::require_matrix(kName, "x", context.inputs[0]);
    return context.inputs[0];
  }

  static double flops_per_row(const InferContext& context) {
    return 22 * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    const Kernels<T>& k = internal::kernels<T>(context);
    (kLog ? k.log_softmax : k.softmax)(context.input<T>(0), context.out<T>());
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    const Kernels<T>& k = internal::kernels<T>(context);
    (kLog ? k.log_softmax_backward : k.softmax_backward)(
        context.out<T>(), context.out_gradient<T>(), context.in_gradient<T>(0),
        context.accumulates(0));
  }

  /// Along tx, log y moves by tx - sum_k softmax_k tx_k.
  template <class T>
  static void jvp(const OpContext& context) {
    const MatrixView<const T> tx = context.in_tangent<T>(0);
    const MatrixView<T> y = context.out<T>();
    const MatrixView<T> ty = context.out_tangent<T>();
    MatrixView<const T> softmax = y;
    if constexpr (kLog) {
      const auto exp = static_cast<std::size_t>(UnaryKernel::kExp);
      internal::kernels<T>(context).unary[exp](y, ty, nullptr);
      softmax = ty;
    }
    for (Index i = 0; i < ty.rows; ++i) {
      T mean = 0;
      for (Index j = 0; j < ty.columns; ++j) mean += softmax(i, j) * tx(i, j);
      for (Index j = 0; j < ty.columns; ++j) {
        ty(i, j) = kLog ? tx(i, j) - mean : y(i, j) * (tx(i, j) - mean);
      }
    }
  }
};

}  // namespace

constinit const OpDef kSoftmaxOp = define_op<Softmax<false>>();
constinit const OpDef kLogSoftmaxOp = define_op<Softmax<true>>();

Value softmax(const Value& x, Where where) {
  return internal::graph_of("softmax", "x", x, where).apply(kSoftmaxOp, {x}, {}, where);
}

Value log_softmax(const Value& x, Where where) {
  return internal::graph_of("log_softmax", "x", x, where).apply(kLogSoftmaxOp, {x}, {}, where);
}

}  // namespace chainrule
