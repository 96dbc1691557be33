// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <new>
#include <span>
#include <vector>

#include "chainrule/core/op_context.hpp"
#include "chainrule/core/update_def.hpp"
#include "chainrule/runtime/parameters.hpp"
#include "plan_data.hpp"

namespace chainrule::internal {

/// Rows of the batch that a call works on: a block, or some blocks in a row.
struct RowWindow {
  Index first = 0;
  Index count = 0;
  Index block = 0;  ///< the number of the first block
  Index local = 0;  ///< the first row's place in the worker's own memory

  bool operator==(const RowWindow&) const = default;
};

/// Where one buffer is right now.
struct Address {
  std::byte* base = nullptr;
  Index row_bytes = 0;    ///< from one row of the batch to the next; 0 for memory of a worker
  Index local_bytes = 0;  ///< from one row to the next of memory of a worker; else 0
  Index part_bytes = 0;   ///< from one block's partial to the next
  Index ld = 0;

  std::byte* at(const RowWindow& rows) const noexcept {
    return base + rows.first * row_bytes + rows.local * local_bytes + rows.block * part_bytes;
  }
};

/// An operand of which every window of rows has its own.
struct Move {
  const void** data;
  Index* rows;  ///< null: all windows have as many
  Address address;

  /// Not of a worker's own memory, where all blocks have the same place.
  bool of_batch() const noexcept { return address.row_bytes != 0 || address.part_bytes != 0; }
};

/// An instruction's context for one worker, complete but for what depends on the block of rows, and
/// what there is to call for the rows that it is about.
class BoundCall {
 public:
  OpContext& context() noexcept { return context_; }
  /// Where the gradient of an input, or in forward mode its tangent, goes.
  TensorView& gradient(std::size_t input) noexcept {
    return tangents_ != nullptr ? tangents_->input_gradients[input]
                                : context_.input_gradients[input];
  }

  void run() const { prepared_(); }
  const PreparedCall& prepared() const noexcept { return prepared_; }

  /// Points the operands at these rows. From block to block only what is of the batch moves, and a
  /// call of which nothing is stays prepared.
  void move_to(const RowWindow& rows) noexcept {
    if (rows == at_) return;
    const bool as_many = rows.count == at_.count && rows.local == at_.local;
    at_ = rows;
    context_.first_row = rows.first;
    context_.rows = rows.count;
    const std::span<const Move> moves = as_many ? moves_.first(batch_moves_) : moves_;
    for (const Move& move : moves) {
      *move.data = move.address.at(rows);
      if (move.rows != nullptr) *move.rows = rows.count;
    }
    if (as_many && moves.empty() && partial_bytes_ == 0) return;
    context_.partial = reinterpret_cast<double*>(partial_ + rows.block * partial_bytes_);
    ::new (static_cast<void*>(&prepared_)) PreparedCall(prepare());  // in place: it is large
  }

  /// Points dY, and its tangent, at columns [first, first + count).
  void move_to_columns(Index first, Index count) noexcept {
    const auto move = [&](ConstTensorView& view, const std::byte* base) {
      if (base == nullptr) return;
      view.data = base + first * size_of(view.dtype);
      view.columns = count;
    };
    move(context_.output_gradient, output_gradient_);
    if (tangents_ != nullptr) move(tangents_->output_gradient, output_gradient_tangent_);
  }

  /// The call of the weight gradient's rows from `first`, as many as the gradient's window has.
  PreparedCall prepare_tile(Index first) noexcept;

 private:
  friend class CallBinder;
  friend class BoundCalls;

  PreparedCall prepare() noexcept;

  const Instruction* instruction_ = nullptr;
  std::size_t weight_input_ = 0;
  RowWindow at_;
  PreparedCall prepared_;
  OpContext context_;
  std::unique_ptr<TangentOperands> tangents_;  ///< of instructions of forward mode
  std::span<const Move> moves_;
  std::size_t batch_moves_ = 0;                 ///< the first of them: of the batch's memory
  const std::byte* output_gradient_ = nullptr;  ///< column 0 of dY ...
  const std::byte* output_gradient_tangent_ = nullptr;  ///< ... and of its tangent
  std::byte* partial_ = nullptr;
  Index partial_bytes_ = 0;
};

/// A group of tiles: its operands, and the calls of one tile.
struct BoundTiles {
  struct Operands {
    TensorView gradient;
    TensorView parameter;
    std::array<TensorView, kMaxUpdateSlots> state;
    TensorView mirror;
  };

  Operands whole;
  bool gradient_of_tile = false;    ///< whole.gradient is memory for one tile
  const double* scalars = nullptr;  ///< of the update
  Index number = -1;                ///< of the tile that the rest is about
  TensorView gradient;
  UpdateContext update;
  std::vector<PreparedCall> calls;  ///< the contributions, then the update, then the mirror
};

class Run;

/// An instruction of a phase and, where all it does is to run one, its call.
struct Step {
  const Instruction* instruction = nullptr;
  BoundCall* call = nullptr;
  PreparedCall other;  ///< in a chain: what there is to do without a call
};

/// The calls of a whole run.
using Chain = std::vector<const PreparedCall*>;

/// All calls of a plan for one worker: made once, bound again when the operands' addresses or the
/// rows of the batch change. A call is prepared when it is bound, moved to other rows or pointed at
/// another tile; a step in which that happens to none is a list of prepared calls.
class BoundCalls {
 public:
  explicit BoundCalls(const PlanData& plan);

  /// What bind() points at; `addresses` has one for each buffer.
  struct Memory {
    const Address* addresses;
    std::byte* tile_scratch;
    OptimizerState* optimizer;  ///< null: the plan updates nothing
    const double* scalars;      ///< of all groups of parameters
    Index batch_rows;
    Index blocks;
    const TileRunner* tiles;
  };
  /// Allocates nothing.
  void bind(const PlanData& plan, const Memory& memory) noexcept;
  /// The random numbers of the next step.
  void draw(const PlanData& plan, RandomKey key) noexcept;

  BoundCall& operator[](const Instruction& instruction) noexcept {
    return calls_[static_cast<std::size_t>(instruction.call)];
  }
  std::span<const Step> steps(const Phase& phase) const noexcept {
    return phases_[static_cast<std::size_t>(phase.number)].steps;
  }
  /// Points the calls of a row segment at `rows`; of several blocks not those that run block by
  /// block.
  void move_to(const Phase& phase, const RowWindow& rows, bool several_blocks) noexcept {
    BoundPhase& bound = phases_[static_cast<std::size_t>(phase.number)];
    if (bound.at == rows) return;
    bound.at = rows;
    for (const Step& step : bound.steps) {
      if (step.call == nullptr || (several_blocks && step.instruction->block_by_block)) continue;
      step.call->move_to(rows);
    }
  }
  /// What there is to call for a tile.
  std::span<const PreparedCall> tile(const PlanData& plan, const TileGroup& group,
                                     Index number) noexcept {
    BoundTiles& tiles = groups_[static_cast<std::size_t>(group.number)];
    if (tiles.number != number) point_at(plan, group, number, tiles);
    return tiles.calls;
  }

  /// Appends all that a run does to `chain`, when the batch is the one block `rows` and each group
  /// one tile. Instructions that call nothing are left to the `*run` of the day.
  void link(const PlanData& plan, const RowWindow& rows, Run* const* run, Chain& chain) noexcept;
  /// The most that link() appends.
  std::size_t longest_chain() const noexcept;

 private:
  struct BoundPhase {
    std::vector<Step> steps;
    RowWindow at;  ///< where move_to() has pointed the calls
  };

  void point_at(const PlanData& plan, const TileGroup& group, Index number,
                BoundTiles& tiles) noexcept;
  void add_parts(const PlanData& plan, const Instruction& sum, const Tile& tile, bool accumulate,
                 BoundTiles& tiles) const noexcept;

  std::vector<BoundCall> calls_;
  std::vector<Move> moves_;
  std::vector<BoundTiles> groups_;
  std::vector<BoundPhase> phases_;
  const Address* addresses_ = nullptr;
  Index blocks_ = 0;
};

}  // namespace chainrule::internal
