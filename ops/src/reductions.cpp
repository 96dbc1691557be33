// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/reductions.hpp"

#include "op_support.hpp"

namespace chainrule {
namespace {

/// 1 for a sum, 1 / count for a mean, 0 for a mean of nothing.
template <class T>
T factor_of(bool mean, Index count) {
  if (!mean) return T{1};
  return count == 0 ? T{0} : T{1} / static_cast<T>(count);
}

template <class T>
void add_constant(T value, T* to, Index count, bool accumulate) {
  for (Index j = 0; j < count; ++j) to[j] = accumulate ? to[j] + value : value;
}

template <bool kMean>
struct FeatureReduction {
  static constexpr std::string_view kName = kMean ? "feature_mean" : "feature_sum";
  static constexpr OpTraits kTraits{
      .backward_reads = {.inputs = 0, .output = false}, .linear = true, .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    const Shape& x = context.inputs[0];
    if (x.rank() < 1 || x.rank() > 2) {
      internal::throw_shapes(kName, internal::named("x", x), "one or two dimensions");
    }
    if (x.rank() == 1 && !x.is_batched()) return {1};
    return internal::column_shape(x, 1);
  }

  static double flops_per_row(const InferContext& context) {
    return static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    const MatrixView<const T> x = context.input<T>(0);
    const MatrixView<T> y = context.out<T>();
    internal::kernels<T>(context).row_sum(x, y, false);
    const T factor = factor_of<T>(kMean, x.columns);
    for (Index i = 0; i < y.rows; ++i) y(i, 0) *= factor;
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    const MatrixView<const T> dy = context.out_gradient<T>();
    const MatrixView<T> dx = context.in_gradient<T>(0);
    const T factor = factor_of<T>(kMean, dx.columns);
    for (Index i = 0; i < dx.rows; ++i) {
      add_constant(factor * dy(i, 0), dx.row(i), dx.columns, context.accumulates(0));
    }
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

template <bool kMean>
struct TotalReduction {
  static constexpr std::string_view kName = kMean ? "total_mean" : "total_sum";
  static constexpr OpTraits kTraits{
      .backward_reads = {.inputs = 0, .output = false}, .linear = true, .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    if (context.inputs[0].is_batched()) {
      internal::throw_shapes(kName, internal::named("x", context.inputs[0]),
                             "a value without a batch");
    }
    return {};
  }

  static double flops_per_row(const InferContext& context) {
    return static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    const MatrixView<const T> x = context.input<T>(0);
    double sum = 0;
    for (Index i = 0; i < x.rows; ++i) {
      for (Index j = 0; j < x.columns; ++j) sum += static_cast<double>(x(i, j));
    }
    context.out<T>()(0, 0) = static_cast<T>(sum * factor_of<double>(kMean, x.rows * x.columns));
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    const MatrixView<T> dx = context.in_gradient<T>(0);
    const T gradient = context.out_gradient<T>()(0, 0) * factor_of<T>(kMean, dx.rows * dx.columns);
    for (Index i = 0; i < dx.rows; ++i) {
      add_constant(gradient, dx.row(i), dx.columns, context.accumulates(0));
    }
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

Value reduce(std::string_view name, bool mean, const Value& x, Axis axis, const Where& where) {
  Graph& graph = internal::graph_of(name, "x", x, where);
  internal::check_at(where, [&] {
    if (x.shape().rank() <= 2) return;
    internal::throw_shapes(name, internal::named("x", x.shape()), "at most two dimensions");
  });
  const OpDef& features = mean ? kFeatureMeanOp : kFeatureSumOp;
  const OpDef& batch = mean ? kBatchMeanOp : kBatchSumOp;
  const OpDef& total = mean ? kTotalMeanOp : kTotalSumOp;
  if (axis == Axis::kFeatures) return graph.apply(features, {x}, {}, where);
  if (axis == Axis::kBatch) return graph.apply(batch, {x}, {}, where);
  if (!x.shape().is_batched()) return graph.apply(total, {x}, {}, where);
  const Value rows = x.shape().columns() == 1 ? x : graph.apply(features, {x}, {}, where);
  return graph.apply(batch, {rows}, {.integer = {1}}, where);
}

}  // namespace

constinit const OpDef kFeatureSumOp = define_op<FeatureReduction<false>>();
constinit const OpDef kFeatureMeanOp = define_op<FeatureReduction<true>>();
constinit const OpDef kTotalSumOp = define_op<TotalReduction<false>>();
constinit const OpDef kTotalMeanOp = define_op<TotalReduction<true>>();

Value reduce_sum(const Value& x, Axis axis, Where where) {
  return reduce("reduce_sum", false, x, axis, where);
}

Value reduce_mean(const Value& x, Axis axis, Where where) {
  return reduce("reduce_mean", true, x, axis, where);
}

}  // namespace chainrule
