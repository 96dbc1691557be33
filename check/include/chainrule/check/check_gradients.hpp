// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "chainrule/runtime/differentiate.hpp"

namespace chainrule {

/// What was found at one element, from best to worst.
enum class Verdict : std::uint8_t {
  kAgree,
  kKink,        ///< the one-sided slopes differ, and the gradient lies between them
  kUnresolved,  ///< the numeric gradient is too uncertain to say anything
  kDisagree,
};

/// "agree", "kink", "unresolved" or "disagree".
CHAINRULE_API std::string_view to_string(Verdict verdict) noexcept;

struct GradientCheckOptions {
  /// The dtype whose backward is checked; differences are always taken in float64.
  DType dtype = DType::kFloat64;
  /// Parameters and real inputs to differentiate; empty: all that influence the output.
  std::vector<Value> with_respect_to{};
  /// Values whose gradient is identically zero, such as a bias in front of batch_norm. Any other
  /// gradient that is zero everywhere is a failure.
  std::vector<Value> zero_gradients{};
  /// Values that may sit at a kink; elsewhere a kink is a failure. Ignored while `accept_kinks`.
  std::vector<Value> kinks{};
  bool accept_kinks = true;
  /// Names of values whose unresolved elements are no failure; they are counted as waived. A value
  /// of which nothing at all is resolved stays a failure.
  std::vector<std::string> waive_unresolved{};

  /// First step, relative to max(|x|, mean |x| of the tensor).
  double first_step = 0.2;
  double relative_tolerance = 1e-9;
  /// Tolerance in multiples of the numeric gradient's own error bar.
  double error_bars = 10;
  /// Rounding errors of an output, in multiples of eps |y|.
  double roundings = 8;
  /// Tolerance of float32 in multiples of n u S; see check_gradients().
  double float32_factor = 4;
  /// S is at least this: the terms that backward adds up may be larger than their sum. S is that of
  /// the whole, |dy/dx|, and does not see terms of several branches that cancel: of x - tanh(x) for
  /// small x, 1 and -1 + x^2, whose rounding, 2^-24, may make a right gradient x^2 disagree. Say 1.
  double float32_terms = 0;
  /// A numeric gradient is resolved when its tolerance is below this part of the largest gradient
  /// of the tensor: much smaller elements are not compared any more exactly than that.
  double resolution = 1e-4;

  /// Where outputs x elements are no more than this, the whole Jacobian is compared, entry by
  /// entry, with as many backward passes as there are outputs.
  Index max_jacobian = 4096;
  /// Otherwise tensors of up to so many elements are checked element by element; of larger ones
  /// `samples` elements drawn at random and `directions` random directions.
  Index max_elements = 256;
  Index samples = 48;
  Index directions = 6;
  std::uint64_t seed = 1;
  /// Comparisons that failed to list for each value, the worst first.
  Index max_failures = 10;
  /// Null: default_kernels().
  const KernelTable* kernels = nullptr;
};

/// Why a comparison is unresolved, or, the last one, why it disagrees.
enum class Reason : std::uint8_t {
  kNone,       ///< it is not, or there is nothing to add
  kDomain,     ///< no step stays where the outputs are finite
  kDiverges,   ///< estimates from different steps do not agree: a jump, an infinite slope, noise
  kSaturated,  ///< the outputs do not move, but only because of rounding, theirs or in between
  kRounding,   ///< the rounding of the outputs hides the gradient
  kKink,       ///< a kink where none was declared
  kScales,     ///< large and small steps tell different derivatives: edges nearby, coarse rounding
  kNotZero,    ///< declared to be zero, which differences say it is not, whatever was given
};

/// "saturated: no step moves the outputs" and so on; empty for kNone.
CHAINRULE_API std::string_view to_string(Reason reason) noexcept;

/// One comparison: of an element, of an entry of the Jacobian, or along a random direction.
struct ElementCheck {
  Verdict verdict = Verdict::kAgree;
  Index row = -1;  ///< of the element; -1 along a random direction
  Index column = -1;
  Index output = -1;    ///< of a Jacobian's entry: which output, row-major; else -1
  double analytic = 0;  ///< what backward gave
  double numeric = 0;   ///< what differences gave; of float32, what float64 gave if that agrees
  double error = 0;  ///< |analytic - numeric|, of kNotZero the larger of both; infinite when either
                     ///< is not finite
  double tolerance = 0;   ///< the largest error that counts as agreement
  double error_bar = 0;   ///< estimated error of the differences
  double step = 0;        ///< the smallest step that they came from
  double left_slope = 0;  ///< one-sided slopes, for a kink
  double right_slope = 0;
  Reason reason = Reason::kNone;  ///< why it is unresolved, or declared wrongly
};

/// One equation <v, J u> = <J^T v, u>, without any step size: its left side from the jvp of the
/// ops, its right side from their backward.
struct ForwardProduct {
  Index row = -1;  ///< of an entry of the Jacobian, where u and v are unit vectors; -1 where both
  Index column = -1;  ///< are random
  Index output = -1;
  double forward = 0;    ///< <v, J u>
  double backward = 0;   ///< <J^T v, u>
  double error = 0;      ///< |forward - backward|; infinite when either is not finite
  double tolerance = 0;  ///< what rounding may do to them
};

/// Backward of one value against forward mode.
struct ForwardCheck {
  Index products = 0;  ///< with random signed u and v
  Index jacobian = 0;  ///< entries of the Jacobian
  Index disagree = 0;  ///< how many of both are off by more than rounding
  Index unresolved =
      0;  ///< how many jvp overflows in, of a value that differences leave unresolved
  ForwardProduct worst;  ///< the largest error / tolerance, of those that disagree if any do

  Index comparisons() const noexcept { return products + jacobian; }
};

/// The gradient of one parameter or input.
struct CHAINRULE_API ValueCheck {
  Value value;  ///< empty for a function of one's own
  std::string name;
  Shape shape;             ///< with the rows of the batch filled in
  Index elements = 0;      ///< compared one by one
  Index directions = 0;    ///< random directions compared
  Index jacobian = 0;      ///< entries of the Jacobian compared
  Index float32_only = 0;  ///< further elements compared between float32 and float64 alone
  Index agree = 0;         ///< how many of all these got which verdict
  Index unseen = 0;  ///< how many agree, but are not 0 and within the tolerance of it: so would
                     ///< anything of their size, of either sign
  Index kinks = 0;
  Index unresolved = 0;
  Index disagree = 0;
  Index waived = 0;                   ///< how many of the unresolved are no failure
  bool all_zero = false;              ///< every element that backward gave is exactly 0
  Verdict verdict = Verdict::kAgree;  ///< of differences: the worst of them, the waived left out
  ElementCheck worst;  ///< of the worst verdict the one with the largest error / tolerance
  std::vector<ElementCheck> failures;  ///< at most GradientCheckOptions::max_failures
  std::string hint;  ///< what gradient_hint() makes of a gradient that disagrees; may be empty
  ForwardCheck forward_mode;  ///< not part of the counts and the verdict above

  /// The verdict on the gradient: kDisagree where forward mode disagrees, else that of differences;
  /// kUnresolved where these compared nothing.
  Verdict overall_verdict() const noexcept;
  /// All comparisons with differences.
  Index comparisons() const noexcept { return elements + directions + jacobian + float32_only; }
};

struct CHAINRULE_API GradientReport {
  DType dtype = DType::kFloat64;
  std::string architecture;
  std::vector<ValueCheck> values;
  /// Why the check failed, one line each; empty when all is well.
  std::vector<std::string> failures;
  /// Why some of the values were not compared with forward mode: the op that has no jvp, which
  /// define_op() does not let pass: only an OpDef put together by hand. Empty where all were.
  std::string without_forward_mode;

  /// True when every comparison agrees (or is an accepted kink), there was at least one, and no
  /// gradient was zero everywhere without being declared so.
  bool ok() const noexcept { return failures.empty() && !values.empty(); }
  /// Elements, directions and entries of Jacobians compared.
  Index comparisons() const noexcept;
  /// The worst ValueCheck::overall_verdict(); kUnresolved when there are none.
  Verdict verdict() const noexcept;
  /// The comparison with differences that has the worst verdict and, among those, the largest
  /// error / tolerance; null when there was none.
  const ElementCheck* worst() const noexcept;
  /// A line for each value and each failure.
  std::string to_text() const;
};

/// Compares what backward computes with finite differences of forward.
///
/// The objective is f = sum_i v_i y_i over all elements of `output`, with fixed random signed v_i,
/// 1/2 <= |v_i| < 1 (1 for a single output); and where they are few (`max_jacobian`), each y_i for
/// itself, so that a small entry of the Jacobian cannot hide behind large ones. Each is
/// differentiated in float64 by central differences with Ridders' extrapolation (Ridders 1982,
/// "Accurate computation of F'(x) and F'(x)F''(x)", Adv. Eng. Software 4), from starting steps that
/// must agree (a step that jumps over a pole does not), smaller ones until they do. It agrees with
/// backward when
///
///   |analytic - numeric| <= error_bars * bar + noise + relative_tolerance * max(|a|, |n|),
///
/// noise = roundings * eps sum |v_i| max|y_i| / h over the y_i that moved. At a kink, where the
/// slopes from both sides differ, the gradient must lie between them: any value between is
/// accepted, so a check that met kinks alone has proved little (ValueCheck::kinks counts them).
/// Whether a bend that is narrower than rounding lets differences see is a kink cannot be told.
///
/// Before it disagrees, steps of all sizes are looked at again, with series extrapolated only as
/// far as their convergence shows in those very steps, and with the function's noise as it is
/// measured there. These steps have as many digits as x + h leaves room for: those of few share the
/// rounding of 1 + x + h, say, and look exact. It disagrees when every estimate that is exact
/// enough to tell refutes the gradient. Estimates that contradict each other, beside an edge or
/// where a factor of the function is rounded coarsely, make it unresolved.
///
/// Outputs that no step moves say that the gradient is within their rounding over the step, and of
/// an element beside much larger ones over a fifth of max(|x|, min(mean |x|, 1)). Where a nearby
/// step moves them by a jump, one of several, that may be the rounding of what they are computed
/// from, and the jump over its distance is what it may hide.
///
/// A random direction that does not agree is divided into halves of its elements: a mistake stays
/// in one of them, down to an element, which is then compared by itself, and the edges that so many
/// elements have inside the steps do not. Elements at a kink are found so too and left out of all
/// directions; where they are too many, up to `max_elements` elements are compared instead.
///
/// Agreement is agreement within the tolerance. An element that is smaller than what the tolerance
/// hides, such as 1e-11 beside 1 in the gradient of a log-sum-exp, agrees with anything of its
/// size (ValueCheck::unseen counts them); the tolerance is below `resolution` of the tensor's
/// largest gradient, not of each element.
///
/// The backward of float32 is compared, at every element, with that of float64 at the same rounded
/// point, which in turn is compared with differences:
///
///   |g32 - g64| <= float32_factor n u S,   u = 2^-24,
///
/// n the longest dimension of a value between, S the tensor's largest sum_i |v_i dy_i/dx|, but not
/// less than float32_terms. What exceeds this is compared with how far float64 gradients move when
/// every input and parameter moves by a few u: a gradient that is that ill-conditioned, or at a
/// kink within rounding, is not float32's fault.
///
/// Where every op in between has a jvp, backward is compared with forward mode as well, which needs
/// no step: <v, J u> = <J^T v, u> with several random signed u and v in `options.dtype`, and in
/// float64 each entry of a Jacobian of up to `max_jacobian` entries, up to rounding,
///
///   |forward - backward| <= 32 eps sum |delta| |tangent| over the values between;
///
/// what exceeds this is compared with how far it moves when all that is read is rounded. Backward
/// and jvp are written independently of each other, so a mistake in either shows.
///
/// `feed` may be float32 or float64; values are rounded to `options.dtype` first. `output` may be a
/// loss or any other value. Nothing is printed; whatever is wrong stands in the report: a check
/// that compared nothing, gradients that are zero without being declared so, outputs that are not
/// finite and gradients that differ when computed twice are failures too. Throws ArgumentError for
/// a value that is no parameter or real input or does not influence the output, for a waiver that
/// names no value checked, for an empty output, for options that make no sense (a first step of 0,
/// a negative number, a tolerance that is not finite), and whatever compile() and run throw.
CHAINRULE_API GradientReport check_gradients(const Graph& graph, Value output, const Feed& feed,
                                             const GradientCheckOptions& options = {});

}  // namespace chainrule
