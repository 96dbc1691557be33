// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mutex>
#include <string>

#include "chainrule/check/mutants.hpp"
#include "chainrule/core/op_def.hpp"

namespace chainrule::internal {

/// One call of a damaged backward or weight_gradient, as a wrong formula sees it: in float64, with
/// the gradients in zeroed memory of their own (what is left there is added to the real ones).
class Call {
 public:
  Call(const OpDef& original, const OpContext& context) : original_(original), context_(context) {}
  Call(const OpDef& original, const OpContext& context, Index first, Index count)
      : original_(original), context_(context), first_(first), count_(count), weight_(true) {}

  const OpContext& context() const noexcept { return context_; }
  MatrixView<const double> in(int i) const noexcept { return context_.input<double>(i); }
  MatrixView<const double> out() const noexcept { return context_.out<double>(); }
  MatrixView<const double> saved() const noexcept { return context_.saved.as<double>(); }
  MatrixView<const double> dy() const noexcept { return context_.out_gradient<double>(); }
  /// The gradient of input i; data == nullptr when it is not wanted.
  MatrixView<double> gradient(int i) const noexcept;
  const double* real() const noexcept { return context_.attributes->real.data(); }
  Index integer(std::size_t i) const noexcept { return context_.attributes->integer[i]; }
  /// True for the last row of the whole batch.
  bool is_last_row(Index row) const noexcept {
    return context_.first_row + row == context_.batch_rows - 1;
  }
  /// Rows [first, first + count) of the weight are this call's.
  Index first() const noexcept { return first_; }
  Index count() const noexcept { return count_; }

  /// What the op itself computes, from the call's operands or from changed ones.
  void run_original() const { run_original(context_); }
  void run_original(const OpContext& changed) const;

 private:
  const OpDef& original_;
  const OpContext& context_;
  Index first_ = 0;
  Index count_ = 0;
  bool weight_ = false;
};

using WrongBackward = void (*)(const Call&);
/// f'(x), from x and y for elementwise functions, from x and the target for losses.
using WrongDerivative = double (*)(double x, double other, const double* attributes);

/// One way to damage one gradient of an op.
struct Mutant {
  MutantClass kind = MutantClass::kScaled;
  int input = 0;
  std::string description;
  double amount = 0;  ///< relative (kScaled, kOneElement) ...
  double addend = 0;  ///< ... or added to the element (kOneElement)
  Index row = 0;      ///< of the element, in the whole gradient
  Index column = 0;
  int other_input = -1;     ///< where it goes to (kWrongInput)
  bool last_block = false;  ///< kLastRow: the last block of rows
  /// A wrong formula in place of the op's.
  WrongBackward backward = nullptr;
  WrongDerivative derivative = nullptr;
};

/// Damages what the op computed, rather than computing something else.
inline bool is_generic(const Mutant& mutant) noexcept {
  return mutant.backward == nullptr && mutant.derivative == nullptr;
}

/// A copy of the op whose backward does what the current MutantScope says. It may
/// read every operand, and nothing of it shares memory.
OpDef damageable(const OpDef& original);

/// While it lives, damageable copies of `original` are damaged; with null, they compute what the
/// original does. Scopes nest in a thread; other threads wait to begin theirs.
class MutantScope {
 public:
  MutantScope(const OpDef& original, const Mutant* mutant);
  ~MutantScope();
  MutantScope(const MutantScope&) = delete;
  MutantScope& operator=(const MutantScope&) = delete;

 private:
  std::unique_lock<std::recursive_mutex> lock_;
  const OpDef* outer_original_;
  const Mutant* outer_mutant_;
};

}  // namespace chainrule::internal
