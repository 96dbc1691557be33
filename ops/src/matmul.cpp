// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/matmul.hpp"

#include <fmt/format.h>

#include "op_support.hpp"

namespace chainrule {
namespace {

struct Matmul {
  static constexpr std::string_view kName = "matmul";
  static constexpr OpTraits kTraits{.min_inputs = 2,
                                    .max_inputs = 2,
                                    .backward_reads = {.inputs = 0b01, .output = false},
                                    .handles_overwrite = true,
                                    .accepts_epilogue = true,
                                    .weight_input = 1,
                                    .weight_columns = true,
                                    .mirror_input = 1};

  static Shape infer(const InferContext& context) {
    const Shape& x = context.inputs[0];
    const Shape& w = context.inputs[1];
    internal::require_matrix(kName, "x", x);
    if (w.rank() != 2 || w.is_batched() || w.rows() != x.columns()) {
      internal::throw_shapes(
          kName, fmt::format("{} and {}", internal::named("x", x), internal::named("w", w)),
          fmt::format("w [{}, columns], one row a column of x", x.columns()));
    }
    return internal::column_shape(x, w.columns());
  }

  static double flops_per_row(const InferContext& context) {
    const Shape& w = context.inputs[1];
    return 2.0 * static_cast<double>(w.rows()) * static_cast<double>(w.columns());
  }

  template <class T>
  static bool forward_reads_mirror(const InferContext& context, const KernelTable& kernels) {
    const Shape& w = context.inputs[1];
    return kernels.get<T>().prefers_dots(w.columns(), w.rows());
  }

  template <class T>
  static PreparedCall forward(const OpContext& context) {
    const Kernels<T>& k = internal::kernels<T>(context);
    const MatrixView<const T> x = context.input<T>(0);
    const MatrixView<const T> w = context.input<T>(1);
    const GemmFinish<T> ending = finish<T>(context.epilogue);
    if (context.mirror.data != nullptr && k.prefers_dots(w.columns, w.rows)) {
      return k.prepare_dots(x, context.mirror.as<T>(), context.out<T>(), false, ending);
    }
    return k.prepare_gemm({x.data, x.ld, 1}, w, context.out<T>(), false, ending);
  }

  template <class T>
  static PreparedCall backward(const OpContext& context) {
    if (!context.wants(0)) return {};
    const MatrixView<const T> dy = context.out_gradient<T>();
    return internal::kernels<T>(context).prepare_gemm(
        {dy.data, dy.ld, 1}, context.mirror.as<T>(), context.in_gradient<T>(0),
        context.accumulates(0), finish<T>(context.epilogue));
  }

  template <class T>
  static void jvp(const OpContext& context) {
    const Kernels<T>& k = internal::kernels<T>(context);
    const MatrixView<const T> x = context.input<T>(0);
    const MatrixView<const T> tx = context.in_tangent<T>(0);
    k.gemm({tx.data, tx.ld, 1}, context.input<T>(1), context.out_tangent<T>(), false, {});
    k.gemm({x.data, x.ld, 1}, context.in_tangent<T>(1), context.out_tangent<T>(), true, {});
  }

  template <class T>
  static PreparedCall weight_gradient(const OpContext& context, Index first, Index count) noexcept {
    const MatrixView<const T> x = internal::column_window(context.input<T>(0), first, count);
    return internal::kernels<T>(context).prepare_gemm(
        {x.data, 1, x.ld}, context.out_gradient<T>(), context.in_gradient<T>(1),
        context.accumulates(1), finish<T>(context.epilogue));
  }

  /// tdx += tdy w^T + dy tw^T.
  template <class T>
  static void backward_jvp(const OpContext& context) {
    if (!context.wants_tangent(0)) return;
    const Kernels<T>& k = internal::kernels<T>(context);
    const MatrixView<const T> dy = context.out_gradient<T>();
    const MatrixView<const T> tdy = context.out_gradient_tangent<T>();
    const MatrixView<T> tdx = context.in_gradient_tangent<T>(0);
    k.gemm({tdy.data, tdy.ld, 1}, context.mirror.as<T>(), tdx, context.accumulates(0), {});
    k.gemm({dy.data, dy.ld, 1}, context.tangents->mirror.as<T>(), tdx, true, {});
  }

  /// tdw += tx^T dy + x^T tdy.
  template <class T>
  static void weight_gradient_jvp(const OpContext& context, Index first, Index count) noexcept {
    const Kernels<T>& k = internal::kernels<T>(context);
    const MatrixView<const T> x = internal::column_window(context.input<T>(0), first, count);
    const MatrixView<const T> tx = internal::column_window(context.in_tangent<T>(0), first, count);
    const MatrixView<T> tdw = context.in_gradient_tangent<T>(1);
    k.gemm({tx.data, 1, tx.ld}, context.out_gradient<T>(), tdw, context.accumulates(1), {});
    k.gemm({x.data, 1, x.ld}, context.out_gradient_tangent<T>(), tdw, true, {});
  }

 private:
  template <class T>
  static GemmFinish<T> finish(const Epilogue& epilogue) {
    GemmFinish<T> result;
    if (epilogue.bias.data != nullptr) result.bias = epilogue.bias.as<T>().data;
    if (epilogue.source.data != nullptr) result.source = epilogue.source.as<T>();
    if (epilogue.function >= 0) {
      result.function = static_cast<UnaryKernel>(epilogue.function);
      result.parameters = epilogue.attributes->real.data();
    }
    if (epilogue.descending.data != nullptr) {
      result.descending = epilogue.descending.as<T>();
      result.sgd = epilogue.sgd;
    }
    return result;
  }
};

}  // namespace

constinit const OpDef kMatmulOp = define_op<Matmul>();

Value matmul(const Value& x, const Value& w, Where where) {
  return internal::graph_of("matmul", "x", x, where).apply(kMatmulOp, {x, w}, {}, where);
}

}  // namespace chainrule
