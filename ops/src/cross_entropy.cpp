// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "chainrule/ops/losses.hpp"
#include "loss_support.hpp"
#include "op_support.hpp"

namespace chainrule {
namespace {

Shape infer_cross_entropy(std::string_view op, const InferContext& context, bool fits,
                          std::string_view expected) {
  const double smoothing = context.attributes.real[0];
  internal::require_attribute(op, "label_smoothing", smoothing, smoothing >= 0 && smoothing < 1,
                              "0 <= label_smoothing < 1");
  const Shape& x = context.inputs[0];
  if (!x.is_batched() || x.rank() != 2 || x.columns() == 0) {
    internal::throw_shapes(op, internal::named("logits", x),
                           "logits [batch, classes] with at least one class");
  }
  if (!fits) {
    internal::throw_shapes(op,
                           fmt::format("{} and {}", internal::named("logits", x),
                                       internal::named("target", context.inputs[1])),
                           std::string(expected));
  }
  return {kBatch, 1};
}

Shape probabilities_shape(const InferContext& context) { return context.inputs[0]; }

constexpr OpTraits cross_entropy_traits(std::uint32_t index_inputs) {
  return {.min_inputs = 2,
          .max_inputs = 2,
          .backward_reads = {.inputs = 0b10, .output = false},
          .differentiable_inputs = 0b01,
          .index_inputs = index_inputs,
          .handles_overwrite = true};
}

/// Row i of the derivative of log sum_k e^x_k along tx: sum_k softmax_k tx_k.
template <class T>
T log_sum_tangent(const OpContext& context, Index i) {
  const MatrixView<const T> tx = context.in_tangent<T>(0);
  const MatrixView<T> softmax = context.saved.as<T>();
  T sum = 0;
  for (Index j = 0; j < tx.columns; ++j) sum += softmax(i, j) * tx(i, j);
  return sum;
}

/// Row i of tdx += dl sum_k p_k (diag(q) - q q^T) tx, q = softmax(x): the Hessian of the loss. As
/// in backward, a dl of 0 contributes 0.
template <class T>
void add_curvature(const OpContext& context, Index i, T target_sum) {
  const T d = context.out_gradient<T>()(i, 0) * target_sum;
  if (d == T{0}) return;
  const MatrixView<const T> tx = context.in_tangent<T>(0);
  const MatrixView<T> softmax = context.saved.as<T>();
  const MatrixView<T> tdx = context.in_gradient_tangent<T>(0);
  const T tlog_sum = log_sum_tangent<T>(context, i);
  for (Index j = 0; j < tdx.columns; ++j) tdx(i, j) += d * softmax(i, j) * (tx(i, j) - tlog_sum);
}

/// p_j of row i: the smoothed target.
template <class T>
T smoothed(const OpContext& context, Index i, Index j) {
  const MatrixView<const T> target = context.input<T>(1);
  const T smoothing = static_cast<T>(context.attributes->real[0]);
  return (1 - smoothing) * target(i, j) + smoothing / static_cast<T>(target.columns);
}

struct LabelCrossEntropy {
  static constexpr std::string_view kName = "softmax_cross_entropy";
  static constexpr OpTraits kTraits = cross_entropy_traits(0b10);

  static Shape infer(const InferContext& context) {
    return infer_cross_entropy(kName, context, internal::same_matrix(context.inputs[1], {kBatch}),
                               "labels [batch] or [batch, 1]");
  }
  static Shape saved(const InferContext& context) { return probabilities_shape(context); }
  static double flops_per_row(const InferContext& context) {
    return 25 * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    const MatrixView<const T> x = context.input<T>(0);
    const MatrixView<const std::int32_t> labels = context.input<std::int32_t>(1);
    for (Index i = 0; i < labels.rows; ++i) {
      const std::int32_t label = labels(i, 0);
      if (label < 0 || label >= x.columns) {
        internal::throw_index(kName, "label", context.first_row + i, label, x.columns);
      }
    }
    internal::kernels<T>(context).cross_entropy(x, labels, context.attributes->real[0],
                                                context.out<T>(),
                                                internal::optional_view<T>(context.saved));
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    internal::kernels<T>(context).cross_entropy_backward(
        context.saved.as<T>(), context.input<std::int32_t>(1), context.attributes->real[0],
        context.out_gradient<T>(), context.in_gradient<T>(0), context.accumulates(0));
  }

  /// l = log sum_k e^x_k - (1 - s) x_label - s mean(x).
  template <class T>
  static void jvp(const OpContext& context) {
    const MatrixView<const T> tx = context.in_tangent<T>(0);
    const MatrixView<const std::int32_t> labels = context.input<std::int32_t>(1);
    const MatrixView<T> tl = context.out_tangent<T>();
    const T smoothing = static_cast<T>(context.attributes->real[0]);
    for (Index i = 0; i < tl.rows; ++i) {
      T mean = 0;
      for (Index j = 0; j < tx.columns; ++j) mean += tx(i, j) / static_cast<T>(tx.columns);
      tl(i, 0) =
          log_sum_tangent<T>(context, i) - (1 - smoothing) * tx(i, labels(i, 0)) - smoothing * mean;
    }
  }

  template <class T>
  static void backward_jvp(const OpContext& context) {
    if (!context.wants_tangent(0)) return;
    const MatrixView<T> tdx = context.in_gradient_tangent<T>(0);
    internal::kernels<T>(context).cross_entropy_backward(
        context.saved.as<T>(), context.input<std::int32_t>(1), context.attributes->real[0],
        context.out_gradient_tangent<T>(), tdx, context.accumulates(0));
    for (Index i = 0; i < tdx.rows; ++i) add_curvature<T>(context, i, T{1});
  }
};

struct ProbabilityCrossEntropy {
  static constexpr std::string_view kName = "softmax_cross_entropy_probabilities";
  static constexpr OpTraits kTraits = cross_entropy_traits(0);

  static Shape infer(const InferContext& context) {
    return infer_cross_entropy(kName, context, context.inputs[0] == context.inputs[1],
                               "labels [batch] or probabilities of the logits' shape");
  }
  static Shape saved(const InferContext& context) { return probabilities_shape(context); }
  static double flops_per_row(const InferContext& context) {
    return 25 * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    internal::kernels<T>(context).soft_cross_entropy(context.input<T>(0), context.input<T>(1),
                                                     context.attributes->real[0], context.out<T>(),
                                                     internal::optional_view<T>(context.saved));
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    internal::kernels<T>(context).soft_cross_entropy_backward(
        context.saved.as<T>(), context.input<T>(1), context.attributes->real[0],
        context.out_gradient<T>(), context.in_gradient<T>(0), context.accumulates(0));
  }

  /// l = sum_k p_k (log sum_m e^x_m - x_k).
  template <class T>
  static void jvp(const OpContext& context) {
    const MatrixView<const T> tx = context.in_tangent<T>(0);
    const MatrixView<T> tl = context.out_tangent<T>();
    for (Index i = 0; i < tl.rows; ++i) {
      const T tlog_sum = log_sum_tangent<T>(context, i);
      T sum = 0;
      for (Index j = 0; j < tx.columns; ++j) {
        sum += smoothed<T>(context, i, j) * (tlog_sum - tx(i, j));
      }
      tl(i, 0) = sum;
    }
  }

  template <class T>
  static void backward_jvp(const OpContext& context) {
    if (!context.wants_tangent(0)) return;
    const MatrixView<T> tdx = context.in_gradient_tangent<T>(0);
    internal::kernels<T>(context).soft_cross_entropy_backward(
        context.saved.as<T>(), context.input<T>(1), context.attributes->real[0],
        context.out_gradient_tangent<T>(), tdx, context.accumulates(0));
    for (Index i = 0; i < tdx.rows; ++i) {
      T target_sum = 0;
      for (Index j = 0; j < tdx.columns; ++j) target_sum += smoothed<T>(context, i, j);
      add_curvature<T>(context, i, target_sum);
    }
  }
};

}  // namespace

constinit const OpDef kSoftmaxCrossEntropyOp = define_op<LabelCrossEntropy>();
constinit const OpDef kSoftmaxCrossEntropyProbabilitiesOp = define_op<ProbabilityCrossEntropy>();

Value softmax_cross_entropy(const Value& logits, const Value& target,
                            const CrossEntropyOptions& options, Where where) {
  internal::graph_of(LabelCrossEntropy::kName, "target", target, where);
  const bool labels = target.node().kind == NodeKind::kIndexInput;
  return internal::apply_loss(labels ? kSoftmaxCrossEntropyOp : kSoftmaxCrossEntropyProbabilitiesOp,
                              logits, target, {.real = {options.label_smoothing}}, options.weights,
                              options.reduction, where);
}

}  // namespace chainrule
