// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/losses.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "chainrule/ops/activations.hpp"
#include "chainrule/ops/arithmetic.hpp"
#include "chainrule/ops/columns.hpp"
#include "chainrule/ops/reductions.hpp"
#include "loss_support.hpp"
#include "op_support.hpp"

namespace chainrule {
namespace {

struct LossInfo {
  std::string_view name;
  double flops;  ///< of one element, roughly
};

/// In the order of LossKernel.
constexpr std::array<LossInfo, static_cast<std::size_t>(LossKernel::kCount)> kLosses = {{
    {"mean_squared_error", 3},
    {"mean_absolute_error", 3},
    {"huber", 6},
    {"binary_cross_entropy", 40},
    {"hinge", 4},
    {"poisson_nll", 20},
    {"gamma_nll", 20},
    {"negative_binomial_nll", 40},
}};

template <LossKernel kKernel>
struct RowLoss {
  static constexpr std::size_t kIndex = static_cast<std::size_t>(kKernel);

  static constexpr std::string_view kName = kLosses[kIndex].name;
  static constexpr OpTraits kTraits{.min_inputs = 2,
                                    .max_inputs = 2,
                                    .backward_reads = {.inputs = 0b11, .output = false},
                                    .differentiable_inputs = 0b01,
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    check_parameter(context.attributes.real[0]);
    const Shape& x = context.inputs[0];
    const Shape& target = context.inputs[1];
    internal::require_batch(kName, "x", x);
    if (x.columns() == 0) {
      internal::throw_shapes(kName, internal::named("x", x), "at least one column");
    }
    if (!internal::same_matrix(x, target)) {
      internal::throw_shapes(
          kName,
          fmt::format("{} and {}", internal::named("x", x), internal::named("target", target)),
          fmt::format("target {}", to_string(x)));
    }
    return {kBatch, 1};
  }

  static double flops_per_row(const InferContext& context) {
    return kLosses[kIndex].flops * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static auto forward(const OpContext& context) {
    return [loss = internal::kernels<T>(context).loss[kIndex], x = context.input<T>(0),
            target = context.input<T>(1), parameters = context.attributes->real.data(),
            y = context.out<T>()] { loss(x, target, parameters, y); };
  }

  template <class T>
  static PreparedCall backward(const OpContext& context) {
    if (!context.wants(0)) return {};
    return [loss_backward = internal::kernels<T>(context).loss_backward[kIndex],
            x = context.input<T>(0), target = context.input<T>(1),
            parameters = context.attributes->real.data(), dy = context.out_gradient<T>(),
            dx = context.in_gradient<T>(0), accumulate = context.accumulates(0)] {
      loss_backward(x, target, parameters, dy, dx, accumulate);
    };
  }

  template <class T>
  static void jvp(const OpContext& context) {
    internal::kernels<T>(context).loss_tangent[kIndex](
        context.input<T>(0), context.input<T>(1), context.attributes->real.data(),
        context.in_tangent<T>(0), context.out_tangent<T>());
  }

  /// tdx += (tdl f' + dl f'' tx) / n.
  template <class T>
  static void backward_jvp(const OpContext& context) {
    if (!context.wants_tangent(0)) return;
    const Kernels<T>& k = internal::kernels<T>(context);
    const double* const parameters = context.attributes->real.data();
    const MatrixView<T> tdx = context.in_gradient_tangent<T>(0);
    k.loss_backward[kIndex](context.input<T>(0), context.input<T>(1), parameters,
                            context.out_gradient_tangent<T>(), tdx, context.accumulates(0));
    k.loss_curvature[kIndex](context.input<T>(0), context.input<T>(1), parameters,
                             context.out_gradient<T>(), context.in_tangent<T>(0), tdx, true);
  }

 private:
  static void check_parameter(double value) {
    const bool holds = value > 0 && std::isfinite(value);
    if constexpr (kKernel == LossKernel::kHuber) {
      internal::require_attribute(kName, "delta", value, holds, "0 < delta < inf");
    } else if constexpr (kKernel == LossKernel::kGamma) {
      internal::require_attribute(kName, "shape", value, holds, "0 < shape < inf");
    } else if constexpr (kKernel == LossKernel::kNegativeBinomial) {
      internal::require_attribute(kName, "dispersion", value, holds, "0 < dispersion < inf");
    }
  }
};

/// [batch] as [batch, 1], anything else as it is.
Value as_column(const Value& value, const Where& where) {
  return value.shape() == Shape{kBatch} ? concat({value}, where) : value;
}

/// x + addend, where [batch] and [batch, 1] go together.
Value shifted(std::string_view op, std::string_view argument, const Value& x, const Value& addend,
              const Where& where) {
  internal::check_at(where, [&] {
    if (internal::same_matrix(x.shape(), addend.shape())) return;
    internal::throw_shapes(op,
                           fmt::format("{} and {}", internal::named("x", x.shape()),
                                       internal::named(argument, addend.shape())),
                           fmt::format("{} {}", argument, to_string(x.shape())));
  });
  if (x.shape() == addend.shape()) return add(x, addend, where);
  return add(as_column(x, where), as_column(addend, where), where);
}

/// x + offset + log(exposure), each where given.
Value linear_predictor(std::string_view op, const Value& x, const Value& offset,
                       const Value& exposure, const Where& where) {
  internal::graph_of(op, "x", x, where);
  Value eta = x;
  if (offset) eta = shifted(op, "offset", eta, offset, where);
  if (exposure) eta = shifted(op, "exposure", eta, log(exposure, where), where);
  return eta;
}

/// Throws unless the weights and the reduction of a loss go together, before any node is added.
void check_weights(std::string_view op, const Value& weights, Reduction reduction,
                   const Where& where) {
  if (!weights) return;
  internal::check_at(where, [&] {
    if (reduction == Reduction::kNone) {
      throw ArgumentError(
          fmt::format("{}: got weights with Reduction::kNone, expected kMean or kSum", op));
    }
    if (!internal::same_matrix(weights.shape(), {kBatch})) {
      internal::throw_shapes(op, internal::named("weights", weights.shape()),
                             "weights [batch] or [batch, 1]");
    }
  });
}

}  // namespace

namespace internal {

Value apply_loss(const OpDef& op, const Value& x, const Value& target, const Attributes& attributes,
                 const Value& weights, Reduction reduction, const Where& where) {
  Graph& graph = graph_of(op.name, "x", x, where);
  check_weights(op.name, weights, reduction, where);
  const Value rows = graph.apply(op, {x, target}, attributes, where);
  return reduce_loss(rows, {.weights = weights, .reduction = reduction}, where);
}

}  // namespace internal

Value reduce_loss(const Value& row_losses, const LossOptions& options, Where where) {
  Graph& graph = internal::graph_of("reduce_loss", "row_losses", row_losses, where);
  check_weights("reduce_loss", options.weights, options.reduction, where);
  const Attributes to_scalar{.integer = {1}};
  if (options.reduction == Reduction::kNone) return row_losses;
  const bool mean = options.reduction == Reduction::kMean;
  if (!options.weights) {
    return graph.apply(mean ? kBatchMeanOp : kBatchSumOp, {row_losses}, to_scalar, where);
  }
  if (!mean) return graph.apply(kBatchSumOp, {row_losses, options.weights}, to_scalar, where);
  const Value total = graph.apply(kBatchSumOp, {options.weights}, to_scalar, where);
  return graph.apply(kBatchMeanOp, {row_losses, options.weights, total}, to_scalar, where);
}

constinit const OpDef kMeanSquaredErrorOp = define_op<RowLoss<LossKernel::kSquaredError>>();
constinit const OpDef kMeanAbsoluteErrorOp = define_op<RowLoss<LossKernel::kAbsoluteError>>();
constinit const OpDef kHuberOp = define_op<RowLoss<LossKernel::kHuber>>();
constinit const OpDef kBinaryCrossEntropyOp = define_op<RowLoss<LossKernel::kBinaryCrossEntropy>>();
constinit const OpDef kHingeOp = define_op<RowLoss<LossKernel::kHinge>>();
constinit const OpDef kPoissonOp = define_op<RowLoss<LossKernel::kPoisson>>();
constinit const OpDef kGammaOp = define_op<RowLoss<LossKernel::kGamma>>();
constinit const OpDef kNegativeBinomialOp = define_op<RowLoss<LossKernel::kNegativeBinomial>>();

Value mean_squared_error(const Value& x, const Value& target, const LossOptions& options,
                         Where where) {
  return internal::apply_loss(kMeanSquaredErrorOp, x, target, {}, options.weights,
                              options.reduction, where);
}

Value mean_absolute_error(const Value& x, const Value& target, const LossOptions& options,
                          Where where) {
  return internal::apply_loss(kMeanAbsoluteErrorOp, x, target, {}, options.weights,
                              options.reduction, where);
}

Value huber(const Value& x, const Value& target, const HuberOptions& options, Where where) {
  return internal::apply_loss(kHuberOp, x, target, {.real = {options.delta}}, options.weights,
                              options.reduction, where);
}

Value binary_cross_entropy(const Value& logits, const Value& target, const LossOptions& options,
                           Where where) {
  return internal::apply_loss(kBinaryCrossEntropyOp, logits, target, {}, options.weights,
                              options.reduction, where);
}

Value hinge(const Value& x, const Value& target, const LossOptions& options, Where where) {
  return internal::apply_loss(kHingeOp, x, target, {}, options.weights, options.reduction, where);
}

Value poisson_nll(const Value& x, const Value& target, const PoissonOptions& options, Where where) {
  const Value eta = linear_predictor(kPoissonOp.name, x, options.offset, options.exposure, where);
  return internal::apply_loss(kPoissonOp, eta, target, {}, options.weights, options.reduction,
                              where);
}

Value gamma_nll(const Value& x, const Value& target, const GammaOptions& options, Where where) {
  const Value eta = linear_predictor(kGammaOp.name, x, options.offset, options.exposure, where);
  return internal::apply_loss(kGammaOp, eta, target, {.real = {options.shape}}, options.weights,
                              options.reduction, where);
}

Value negative_binomial_nll(const Value& x, const Value& target,
                            const NegativeBinomialOptions& options, Where where) {
  const Value eta =
      linear_predictor(kNegativeBinomialOp.name, x, options.offset, options.exposure, where);
  return internal::apply_loss(kNegativeBinomialOp, eta, target, {.real = {options.dispersion}},
                              options.weights, options.reduction, where);
}

}  // namespace chainrule
