// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "chainrule/core/op_context.hpp"
#include "plan_data.hpp"

namespace chainrule::internal {

struct Address;

/// An operand of which every block of rows has its own window.
struct Move {
  const void** data;
  Index* rows;  ///< null: all blocks have as many
  const std::byte* base;
  Index row_bytes;
  Index part_bytes;
};

/// An instruction's context for one worker, complete but for what depends on the block of rows.
class BoundCall {
 public:
  OpContext& context() noexcept { return context_; }
  /// Where the gradient of an input, or in forward mode its tangent, goes.
  TensorView& gradient(std::size_t input) noexcept {
    return tangents_ != nullptr ? tangents_->input_gradients[input]
                                : context_.input_gradients[input];
  }

  /// Points the operands at rows [first_row, first_row + rows) of the batch, block `block`.
  void move_to(Index first_row, Index rows, Index block) noexcept {
    if (first_row == context_.first_row && rows == context_.rows) return;
    context_.first_row = first_row;
    context_.rows = rows;
    for (const Move& move : moves_) {
      *move.data = move.base + first_row * move.row_bytes + block * move.part_bytes;
      if (move.rows != nullptr) *move.rows = rows;
    }
    context_.partial = reinterpret_cast<double*>(partial_ + block * partial_bytes_);
  }

 private:
  friend class CallBinder;
  friend class BoundCalls;

  OpContext context_;
  std::unique_ptr<TangentOperands> tangents_;  ///< of instructions of forward mode
  std::span<const Move> moves_;
  std::byte* partial_ = nullptr;
  Index partial_bytes_ = 0;
};

/// All calls of a plan for one worker: made once, bound again when the operands' addresses or the
/// rows of the batch change, and then nothing but windows moves from block to block and step to
/// step.
class BoundCalls {
 public:
  explicit BoundCalls(const PlanData& plan);

  /// `addresses` has one for each buffer. Allocates nothing.
  void bind(const PlanData& plan, const Address* addresses, Index batch_rows,
            const TileRunner& tiles) noexcept;
  /// The random numbers of the next step.
  void draw(const PlanData& plan, RandomKey key) noexcept;

  BoundCall& operator[](const Instruction& instruction) noexcept {
    return calls_[static_cast<std::size_t>(instruction.call)];
  }

 private:
  std::vector<BoundCall> calls_;
  std::vector<Move> moves_;
};

}  // namespace chainrule::internal
