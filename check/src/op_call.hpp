// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::internal {

/// How the elements of an operand lie in memory.
enum class OperandLayout : std::uint8_t {
  kDense,    ///< rows one after the other
  kPadded,   ///< as the library lays them out
  kStrided,  ///< farther apart than that, and nothing is aligned
};

/// Memory for one operand. Every byte that is not part of an element holds a pattern, a NaN, that
/// nobody may read into a result or write.
class Operand {
 public:
  Operand(Index rows, Index columns, DType dtype, OperandLayout layout);

  TensorView view() noexcept { return view_; }
  ConstTensorView view() const noexcept { return view_; }
  /// Sets all elements to the pattern as well.
  void clear();
  bool guards_are_intact() const;

 private:
  std::vector<unsigned char> bytes_;
  std::size_t first_ = 0;  // byte of element (0, 0)
  TensorView view_;
};

/// The calls that an executor makes of the op of a case: forward and backward over the whole batch
/// at once, on memory of one's choice.
class OpCall {
 public:
  OpCall(const CaseInstance& instance, const KernelTable& kernels, OperandLayout layout);

  /// With the output in the memory of input 0, or the gradient of input 0 in that of dY.
  enum class Aliasing : std::uint8_t { kNone, kOutput, kGradient };
  /// Forward, and backward unless the output took the memory of the input. Returns the output and
  /// the gradients of all inputs that have one.
  std::vector<Tensor> run(Aliasing aliasing = Aliasing::kNone);

  bool guards_are_intact() const;
  /// True when no input changed since the start.
  bool inputs_are_intact() const;

 private:
  OpContext context();
  void backward(OpContext context) const;
  void make_mirror();

  const OpDef* op_;
  OpFunction function(const std::array<OpFunction, 2>& functions) const;

  const KernelTable* kernels_;
  Attributes attributes_;
  DType dtype_;
  Mode mode_;
  RandomKey random_;
  Index rows_ = 0;
  std::vector<Tensor> given_;  // the inputs
  std::vector<Operand> inputs_;
  std::vector<Operand> output_;  // one
  std::vector<Operand> dy_;      // one
  std::vector<Operand> saved_;   // none or one
  std::vector<Operand> mirror_;  // none or one
  std::vector<Operand> gradients_;
  std::vector<bool> differentiable_;
  std::vector<double> partial_;
  Tensor workspace_;
};

}  // namespace chainrule::internal
