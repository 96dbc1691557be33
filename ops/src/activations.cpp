// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/activations.hpp"

#include <array>
#include <cmath>

#include "op_support.hpp"

namespace chainrule {
namespace {

struct UnaryInfo {
  std::string_view name;
  double flops;  ///< of one element, roughly
};

/// In the order of UnaryKernel.
constexpr std::array<UnaryInfo, static_cast<std::size_t>(UnaryKernel::kCount)> kUnary = {{
    {"relu", 1},
    {"leaky_relu", 2},
    {"elu", 20},
    {"sigmoid", 20},
    {"tanh", 25},
    {"softplus", 40},
    {"silu", 20},
    {"gelu", 30},
    {"gelu_tanh", 30},
    {"exp", 18},
    {"log", 18},
}};

template <UnaryKernel kKernel>
struct Unary {
  static constexpr std::size_t kIndex = static_cast<std::size_t>(kKernel);
  static constexpr bool kReadsOutput = unary_reads_output(kKernel);

  static constexpr std::string_view kName = kUnary[kIndex].name;
  static constexpr OpTraits kTraits{
      .backward_reads = {.inputs = kReadsOutput ? 0U : 1U, .output = kReadsOutput},
      .elementwise = true,
      .output_may_alias_input = true,
      .gradient_may_alias = true,
      .handles_overwrite = true,
      .epilogue = EpilogueKind::kFunction,
      .epilogue_function = static_cast<int>(kKernel)};

  static Shape infer(const InferContext& context) {
    const double parameter = context.attributes.real[0];
    if constexpr (kKernel == UnaryKernel::kLeakyRelu) {
      internal::require_attribute(kName, "slope", parameter, std::isfinite(parameter),
                                  "a finite number");
    } else if constexpr (kKernel == UnaryKernel::kElu) {
      internal::require_attribute(kName, "alpha", parameter,
                                  parameter >= 0 && std::isfinite(parameter), "0 <= alpha < inf");
    }
    return context.inputs[0];
  }

  static double flops_per_row(const InferContext& context) {
    return kUnary[kIndex].flops * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static auto forward(const OpContext& context) {
    return [unary = internal::kernels<T>(context).unary[kIndex], x = context.input<T>(0),
            y = context.out<T>(),
            parameters = context.attributes->real.data()] { unary(x, y, parameters); };
  }

  template <class T>
  static PreparedCall backward(const OpContext& context) {
    if (!context.wants(0)) return {};
    return
        [unary_backward = internal::kernels<T>(context).unary_backward[kIndex],
         read = source<T>(context), dy = context.out_gradient<T>(), dx = context.in_gradient<T>(0),
         parameters = context.attributes->real.data(), accumulate = context.accumulates(0)] {
          unary_backward(read, dy, dx, parameters, accumulate);
        };
  }

  template <class T>
  static void jvp(const OpContext& context) {
    internal::kernels<T>(context).unary_tangent[kIndex](
        context.input<T>(0), context.in_tangent<T>(0), context.out_tangent<T>(),
        context.attributes->real.data());
  }

  /// tdx += tdy f' + dy f'' tx.
  template <class T>
  static void backward_jvp(const OpContext& context) {
    if (!context.wants_tangent(0)) return;
    const Kernels<T>& k = internal::kernels<T>(context);
    const double* const parameters = context.attributes->real.data();
    const MatrixView<T> tdx = context.in_gradient_tangent<T>(0);
    k.unary_backward[kIndex](source<T>(context), context.out_gradient_tangent<T>(), tdx, parameters,
                             context.accumulates(0));
    k.unary_curvature[kIndex](source<T>(context), context.out_gradient<T>(),
                              context.in_tangent<T>(0), tdx, parameters, true);
  }

 private:
  template <class T>
  static MatrixView<const T> source(const OpContext& context) {
    if constexpr (kReadsOutput) return context.out<T>();
    return context.input<T>(0);
  }
};

struct Identity {
  static constexpr std::string_view kName = "identity";
  static constexpr OpTraits kTraits{.backward_reads = {.inputs = 0, .output = false},
                                    .elementwise = true,
                                    .linear = true,
                                    .output_may_alias_input = true,
                                    .gradient_may_alias = true,
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  static double flops_per_row(const InferContext&) { return 0; }

  template <class T>
  static auto forward(const OpContext& context) {
    return internal::copy_call<T>(context, context.input<T>(0), context.out<T>(), false);
  }

  template <class T>
  static auto backward(const OpContext& context) {
    return internal::pass_gradient<T>(context, 0);
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents())();
  }
};

Value apply_unary(const OpDef& op, const Value& x, double parameter, const Where& where) {
  return internal::graph_of(op.name, "x", x, where).apply(op, {x}, {.real = {parameter}}, where);
}

}  // namespace

constinit const OpDef kIdentityOp = define_op<Identity>();
constinit const OpDef kReluOp = define_op<Unary<UnaryKernel::kRelu>>();
constinit const OpDef kLeakyReluOp = define_op<Unary<UnaryKernel::kLeakyRelu>>();
constinit const OpDef kEluOp = define_op<Unary<UnaryKernel::kElu>>();
constinit const OpDef kSigmoidOp = define_op<Unary<UnaryKernel::kSigmoid>>();
constinit const OpDef kTanhOp = define_op<Unary<UnaryKernel::kTanh>>();
constinit const OpDef kSoftplusOp = define_op<Unary<UnaryKernel::kSoftplus>>();
constinit const OpDef kSiluOp = define_op<Unary<UnaryKernel::kSilu>>();
constinit const OpDef kGeluOp = define_op<Unary<UnaryKernel::kGelu>>();
constinit const OpDef kGeluTanhOp = define_op<Unary<UnaryKernel::kGeluTanh>>();
constinit const OpDef kExpOp = define_op<Unary<UnaryKernel::kExp>>();
constinit const OpDef kLogOp = define_op<Unary<UnaryKernel::kLog>>();

Value identity(const Value& x, Where where) { return apply_unary(kIdentityOp, x, 0, where); }
Value relu(const Value& x, Where where) { return apply_unary(kReluOp, x, 0, where); }

Value leaky_relu(const Value& x, double slope, Where where) {
  return apply_unary(kLeakyReluOp, x, slope, where);
}

Value elu(const Value& x, double alpha, Where where) {
  return apply_unary(kEluOp, x, alpha, where);
}

Value sigmoid(const Value& x, Where where) { return apply_unary(kSigmoidOp, x, 0, where); }
Value tanh(const Value& x, Where where) { return apply_unary(kTanhOp, x, 0, where); }
Value softplus(const Value& x, Where where) { return apply_unary(kSoftplusOp, x, 0, where); }
Value silu(const Value& x, Where where) { return apply_unary(kSiluOp, x, 0, where); }
Value gelu(const Value& x, Where where) { return apply_unary(kGeluOp, x, 0, where); }
Value gelu_tanh(const Value& x, Where where) { return apply_unary(kGeluTanhOp, x, 0, where); }
Value exp(const Value& x, Where where) { return apply_unary(kExpOp, x, 0, where); }
Value log(const Value& x, Where where) { return apply_unary(kLogOp, x, 0, where); }

}  // namespace chainrule
