// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "chainrule/core/op_context.hpp"
#include "chainrule/core/prepared_call.hpp"
#include "chainrule/core/shape.hpp"

namespace chainrule {

/// What an op's shape rule sees.
struct InferContext {
  std::span<const Shape> inputs;
  const Attributes& attributes;
};

/// How the rows of an op's output depend on the rows of its inputs.
enum class OpKind : std::uint8_t {
  kRowwise,         ///< row i of the output needs row i of the batched inputs only
  kBatchReduction,  ///< forward sums a block's rows into `partial`; finish() makes the output
  kWholeBatch,      ///< needs all rows at once; ends a row-block segment
};

/// Which values backward reads; the plan keeps these alive and no others.
struct BackwardReads {
  std::uint32_t inputs = 0;  ///< bit i: input i
  bool output = false;
};

/// How an elementwise op may be fused into the one before it.
enum class EpilogueKind : std::uint8_t {
  kNone,
  kBias,      ///< y(i, j) = x(i, j) + input 1 (j)
  kFunction,  ///< y = f(x), f having a number that its producers know
};

/// Bit mask of "every input".
inline constexpr std::uint32_t kAllInputs = (1U << kMaxInputs) - 1;

/// What the planner may assume of an op; it never asks for an op's name.
struct OpTraits {
  OpKind kind = OpKind::kRowwise;
  int min_inputs = 1;
  int max_inputs = 1;
  BackwardReads backward_reads{.inputs = kAllInputs, .output = true};
  std::uint32_t differentiable_inputs = kAllInputs;  ///< bit i: a gradient can reach input i
  std::uint32_t index_inputs = 0;                    ///< bit i: input i holds int32 indices
  bool elementwise = false;  ///< out(i, j) depends on elements (i, j) of inputs only
  bool linear = false;  ///< in the differentiable inputs together: backward depends on none of them
  bool output_may_alias_input = false;  ///< forward works with output and input 0 in one buffer
  bool gradient_may_alias = false;      ///< backward works with input 0's gradient in place of dY
  bool handles_overwrite = false;  ///< backward honours OpContext::overwrite; else it is cleared
  EpilogueKind epilogue = EpilogueKind::kNone;
  int epilogue_function = -1;  ///< the number of a kFunction
  /// forward does what OpContext::epilogue says to its output, backward to the gradient of input 0
  /// when it overwrites that, weight_gradient to the weights; with the bits that the ops and the
  /// update would give.
  bool accepts_epilogue = false;
  int weight_input = -1;  ///< input whose gradient weight_gradient() computes instead of backward()
  /// Column j of that gradient depends on column j of dY alone: weight_gradient() may be called
  /// with windows of columns of both.
  bool weight_columns = false;
  /// Input whose transpose backward() reads as OpContext::mirror; forward() too where
  /// OpDef::forward_reads_mirror says so.
  int mirror_input = -1;
  int state_input = -1;  ///< first of the inputs that commit() may write (running statistics)
};

using OpFunction = void (*)(const OpContext&);
/// Computes rows [first, first + count) of the weight input's gradient from the whole batch; the
/// gradient window in the context starts at row `first`, and with OpTraits::weight_columns it may
/// have fewer columns, those of dY's window.
using WeightGradientFunction = void (*)(const OpContext&, Index first, Index count);

/// What a function of the op would do in this context, with the same bits, as a call: what shapes
/// and flags decide has been decided. When it is made the operands may hold other values and the
/// context may be about other rows.
using PrepareFunction = PreparedCall (*)(const OpContext&);
using PrepareWeightGradientFunction = PreparedCall (*)(const OpContext&, Index first, Index count);

/// An op as data: its contract and its functions, the arrays indexed by dtype (float32, float64).
/// Made by define_op(), which refuses an incomplete op at compile time.
struct OpDef {
  std::string_view name;
  OpTraits traits;
  /// Output shape; throws ShapeError when the inputs do not fit.
  Shape (*infer)(const InferContext&) = nullptr;
  /// Shape of what forward saves for backward (batched or not); null when nothing.
  Shape (*saved)(const InferContext&) = nullptr;
  /// Floating-point operations of forward for one row.
  double (*flops_per_row)(const InferContext&) = nullptr;
  /// Doubles that a whole-batch op works in when the batch has `rows` rows; grows with them. What
  /// forward leaves there, backward and jvp find again. Null: none.
  Index (*workspace)(const InferContext&, Index rows) = nullptr;
  /// What forward of a whole-batch op computes beside flops_per_row, for all rows.
  double (*batch_flops)(const InferContext&, Index rows) = nullptr;

  /// Whether forward is faster where it finds the mirror as well. Null: it does not look.
  std::array<bool (*)(const InferContext&, const KernelTable&), 2> forward_reads_mirror{};

  std::array<OpFunction, 2> forward{};
  std::array<OpFunction, 2> backward{};  ///< null: the op has no gradient
  /// tangents->output = sum_i (d output / d input i) tangents->inputs[i], for ops with a gradient.
  /// Runs after forward (a batch reduction's after finish, over all rows at once) and may read all
  /// that forward read and wrote.
  std::array<OpFunction, 2> jvp{};
  /// What backward adds to each gradient, differentiated along the tangents of the inputs and of dY
  /// and added to tangents->input_gradients; reads what backward reads. Null: see
  /// has_second_order().
  std::array<OpFunction, 2> backward_jvp{};
  std::array<OpFunction, 2> finish{};  ///< batch reductions only
  std::array<OpFunction, 2> commit{};  ///< updates state inputs after a successful step; noexcept
  std::array<WeightGradientFunction, 2> weight_gradient{};
  /// The derivative of weight_gradient; where backward_jvp is and there is a weight input.
  std::array<WeightGradientFunction, 2> weight_gradient_jvp{};
  /// weight_gradient is noexcept, so that weights may be updated tile by tile as it goes.
  bool weight_gradient_cannot_fail = false;

  // Null: that function is not prepared.
  std::array<PrepareFunction, 2> prepare_forward{};
  std::array<PrepareFunction, 2> prepare_backward{};
  std::array<PrepareFunction, 2> prepare_finish{};
  std::array<PrepareWeightGradientFunction, 2> prepare_weight_gradient{};

  /// The functions as define_op() saw them. The traits' promises about epilogues and what prepares
  /// calls are about these: a copy with other functions is neither fused nor prepared.
  std::array<OpFunction, 2> defined_forward{};
  std::array<OpFunction, 2> defined_backward{};
  std::array<WeightGradientFunction, 2> defined_weight_gradient{};

  bool is_as_defined() const noexcept {
    return forward == defined_forward && backward == defined_backward &&
           weight_gradient == defined_weight_gradient;
  }
  bool has_gradient() const noexcept { return backward[0] != nullptr; }
  /// Second derivatives along tangents of the inputs. Of a linear op, backward itself gives them.
  bool has_second_order() const noexcept { return traits.linear || backward_jvp[0] != nullptr; }
};

constexpr std::size_t dtype_index(DType dtype) noexcept { return dtype == DType::kFloat64 ? 1 : 0; }

namespace internal {

template <class Op>
concept HasBackward = requires(const OpContext& context) {
  Op::template backward<float>(context);
  Op::template backward<double>(context);
};
template <class Op>
concept DeclaresNoGradient = requires {
  requires Op::kNoGradient;
};
template <class Op>
concept HasForward = requires(const OpContext& context) {
  Op::template forward<float>(context);
  Op::template forward<double>(context);
};
template <class Op>
concept HasFinish = requires(const OpContext& context) {
  Op::template finish<float>(context);
  Op::template finish<double>(context);
};
template <class Op>
concept HasCommit = requires(const OpContext& context) {
  { Op::template commit<float>(context) }
  noexcept;
  { Op::template commit<double>(context) }
  noexcept;
};
template <class Op>
concept HasWeightGradient = requires(const OpContext& context) {
  Op::template weight_gradient<float>(context, Index{}, Index{});
  Op::template weight_gradient<double>(context, Index{}, Index{});
};
template <class Op>
concept HasJvp = requires(const OpContext& context) {
  Op::template jvp<float>(context);
  Op::template jvp<double>(context);
};
template <class Op>
concept HasBackwardJvp = requires(const OpContext& context) {
  Op::template backward_jvp<float>(context);
  Op::template backward_jvp<double>(context);
};
template <class Op>
concept HasWeightGradientJvp = requires(const OpContext& context) {
  Op::template weight_gradient_jvp<float>(context, Index{}, Index{});
  Op::template weight_gradient_jvp<double>(context, Index{}, Index{});
};

// An op's functions either work at once, and return nothing, or return what works: then calls are
// prepared.

template <auto kFunction, class... Arguments>
constexpr auto call_function() -> void (*)(const OpContext&, Arguments...) {
  using Result = decltype(kFunction(std::declval<const OpContext&>(), Arguments{}...));
  if constexpr (std::is_void_v<Result>) {
    return kFunction;
  } else {
    return [](const OpContext& context, Arguments... arguments) {
      kFunction(context, arguments...)();
    };
  }
}

template <auto kFunction, class... Arguments>
constexpr auto prepare_function() -> PreparedCall (*)(const OpContext&, Arguments...) {
  using Result = decltype(kFunction(std::declval<const OpContext&>(), Arguments{}...));
  if constexpr (std::is_void_v<Result>) {
    return nullptr;
  } else {
    return [](const OpContext& context, Arguments... arguments) -> PreparedCall {
      return kFunction(context, arguments...);
    };
  }
}

}  // namespace internal

/// Builds the OpDef of `Op`, a struct of static members:
///
///     kName, kTraits, infer(), forward<T>(), and backward<T>() with jvp<T>() or kNoGradient = true
///
/// always, and saved(), flops_per_row(), workspace(), batch_flops(), forward_reads_mirror<T>(),
/// finish<T>(), commit<T>(), weight_gradient<T>() where the traits call for them. A missing member
/// is a compile error that says which. With backward_jvp<T>() (and weight_gradient_jvp<T>() beside
/// a weight_gradient) the op has second derivatives.
///
/// forward, backward, finish and weight_gradient may return a function object of plain data, or a
/// PreparedCall, that does the work. The runtime then asks for it when it binds a workspace, and a
/// step is only its calls. Asking throws nothing, and what is returned does not depend on the
/// context's random numbers nor, but for where the operands lie, on its first row; a
/// weight_gradient that is noexcept promises as much of what it returns.
template <class Op>
constexpr OpDef define_op() {
  static_assert(
      requires {
        { Op::kName } -> std::convertible_to<std::string_view>;
      },
      "an op needs `static constexpr std::string_view kName`");
  static_assert(
      requires {
        { Op::kTraits } -> std::convertible_to<OpTraits>;
      },
      "an op needs `static constexpr OpTraits kTraits`");
  static_assert(
      requires(const InferContext& context) {
        { Op::infer(context) } -> std::same_as<Shape>;
      },
      "an op needs `static Shape infer(const InferContext&)`");
  static_assert(internal::HasForward<Op>,
                "an op needs `template <class T> static void forward(const OpContext&)`");
  static_assert(internal::HasBackward<Op> != internal::DeclaresNoGradient<Op>,
                "an op needs either `template <class T> static void backward(const OpContext&)` or "
                "`static constexpr bool kNoGradient = true`");
  static_assert(!internal::HasBackward<Op> || internal::HasJvp<Op>,
                "an op with a backward needs `template <class T> static void jvp(const OpContext&)`"
                ", forward's derivative along the tangents of its inputs");
  static_assert(!internal::HasBackwardJvp<Op> || (internal::HasBackward<Op> && !Op::kTraits.linear),
                "backward_jvp is the derivative of a backward that depends on the inputs: a linear "
                "op needs none");
  static_assert((internal::HasBackwardJvp<Op> && internal::HasWeightGradient<Op>) ==
                    internal::HasWeightGradientJvp<Op>,
                "an op with backward_jvp and a weight input, and no other, needs `template <class "
                "T> static void weight_gradient_jvp(const OpContext&, Index first, Index count)`");
  static_assert((Op::kTraits.kind == OpKind::kBatchReduction) == internal::HasFinish<Op>,
                "a batch reduction, and nothing else, needs "
                "`template <class T> static void finish(const OpContext&)`");
  static_assert(
      Op::kTraits.kind == OpKind::kWholeBatch || !requires { &Op::workspace; },
      "only a whole-batch op has a workspace");
  static_assert((Op::kTraits.weight_input >= 0) == internal::HasWeightGradient<Op>,
                "an op with a weight input, and no other, needs `template <class T> static void "
                "weight_gradient(const OpContext&, Index first, Index count)`");
  static_assert((Op::kTraits.state_input >= 0) == internal::HasCommit<Op>,
                "an op with state inputs, and no other, needs "
                "`template <class T> static void commit(const OpContext&) noexcept`");

  OpDef def;
  def.name = Op::kName;
  def.traits = Op::kTraits;
  def.infer = &Op::infer;
  def.forward = {internal::call_function<&Op::template forward<float>>(),
                 internal::call_function<&Op::template forward<double>>()};
  def.prepare_forward = {internal::prepare_function<&Op::template forward<float>>(),
                         internal::prepare_function<&Op::template forward<double>>()};
  if constexpr (internal::HasBackward<Op>) {
    def.backward = {internal::call_function<&Op::template backward<float>>(),
                    internal::call_function<&Op::template backward<double>>()};
    def.prepare_backward = {internal::prepare_function<&Op::template backward<float>>(),
                            internal::prepare_function<&Op::template backward<double>>()};
  }
  def.defined_forward = def.forward;
  def.defined_backward = def.backward;
  if constexpr (internal::HasJvp<Op>) {
    def.jvp = {&Op::template jvp<float>, &Op::template jvp<double>};
  }
  if constexpr (internal::HasBackwardJvp<Op>) {
    def.backward_jvp = {&Op::template backward_jvp<float>, &Op::template backward_jvp<double>};
  }
  if constexpr (internal::HasWeightGradientJvp<Op>) {
    def.weight_gradient_jvp = {&Op::template weight_gradient_jvp<float>,
                               &Op::template weight_gradient_jvp<double>};
  }
  if constexpr (internal::HasFinish<Op>) {
    def.finish = {internal::call_function<&Op::template finish<float>>(),
                  internal::call_function<&Op::template finish<double>>()};
    def.prepare_finish = {internal::prepare_function<&Op::template finish<float>>(),
                          internal::prepare_function<&Op::template finish<double>>()};
  }
  if constexpr (internal::HasCommit<Op>) {
    def.commit = {&Op::template commit<float>, &Op::template commit<double>};
  }
  if constexpr (internal::HasWeightGradient<Op>) {
    constexpr auto kSingle = &Op::template weight_gradient<float>;
    constexpr auto kDouble = &Op::template weight_gradient<double>;
    def.weight_gradient = {internal::call_function<kSingle, Index, Index>(),
                           internal::call_function<kDouble, Index, Index>()};
    def.prepare_weight_gradient = {internal::prepare_function<kSingle, Index, Index>(),
                                   internal::prepare_function<kDouble, Index, Index>()};
    def.weight_gradient_cannot_fail = noexcept(Op::template weight_gradient<float>(
        std::declval<const OpContext&>(), 0,
        0))&& noexcept(Op::template weight_gradient<double>(std::declval<const OpContext&>(), 0,
                                                            0));
  }
  def.defined_weight_gradient = def.weight_gradient;
  if constexpr (requires { &Op::template forward_reads_mirror<float>; }) {
    static_assert(Op::kTraits.mirror_input >= 0);
    def.forward_reads_mirror = {&Op::template forward_reads_mirror<float>,
                                &Op::template forward_reads_mirror<double>};
  }
  if constexpr (requires { &Op::saved; }) def.saved = &Op::saved;
  if constexpr (requires { &Op::flops_per_row; }) def.flops_per_row = &Op::flops_per_row;
  if constexpr (requires { &Op::workspace; }) def.workspace = &Op::workspace;
  if constexpr (requires { &Op::batch_flops; }) def.batch_flops = &Op::batch_flops;
  return def;
}

}  // namespace chainrule
