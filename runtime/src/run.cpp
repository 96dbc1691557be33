// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include <algorithm>
#include <cstring>

#include "numeric.hpp"

namespace chainrule::internal {

void clear_rows(const TensorView& view) noexcept {
  const Index element = size_of(view.dtype);
  for (Index i = 0; i < view.rows; ++i) {
    std::memset(static_cast<std::byte*>(view.data) + i * view.ld * element, 0,
                static_cast<std::size_t>(view.columns * element));
  }
}

Run::Run(WorkspaceData& workspace, const Bindings::Data& bindings, Index rows, Team& team) noexcept
    : workspace_(workspace),
      plan_(workspace.data()),
      bindings_(bindings),
      team_(team),
      rows_(rows),
      block_rows_(Plan::block_rows(rows)),
      blocks_((rows + block_rows_ - 1) / block_rows_) {
  const Index largest = Plan::max_stripe_rows(rows);
  const Index fitting = plan_.stripe_rows > 0 ? std::min(plan_.stripe_rows, largest) : largest;
  const Index workers = team.helpers() + 1;
  stripe_blocks_ = std::clamp<Index>((blocks_ + workers - 1) / workers, 1,
                                     std::max<Index>(1, fitting / block_rows_));
  workspace_.tiles.self = &team_;
  workspace_.tiles.run = [](void* self, Index count, void (*body)(void*, Index), void* argument) {
    struct Call {
      void (*body)(void*, Index);
      void* argument;
    } call{body, argument};
    static_cast<Team*>(self)->run({.function =
                                       [](void* c, Index tile, int) {
                                         const Call& inner = *static_cast<Call*>(c);
                                         inner.body(inner.argument, tile);
                                       },
                                   .argument = &call,
                                   .count = count});
  };
}

void Run::execute() {
  workspace_.bind(bindings_, rows_, team_.helpers() + 1);
  refresh_mirrors();
  for (const Phase& phase : plan_.phases) {
    switch (phase.kind) {
      case PhaseKind::kRowSegment:
        run_row_segment(phase);
        break;
      case PhaseKind::kWholeBatch:
        run_whole_batch(phase);
        break;
      case PhaseKind::kWeightTiles:
        run_weight_tiles(phase);
        break;
    }
  }
  if (plan_.writes_parameters) {
    // Our mirrors were updated with the weights; everybody else's are stale now.
    bindings_.mutable_parameters->touch();
    workspace_.mirror_version = bindings_.mutable_parameters->version();
  }
}

void Run::refresh_mirrors() {
  if (plan_.mirrors.empty() || workspace_.mirror_version == bindings_.parameters->version()) return;
  for (const Instruction& mirror : plan_.mirrors) run_instruction(mirror, {}, 0);
  workspace_.mirror_version = bindings_.parameters->version();
}

// The items of a job reach the run and their phase through this.
struct Run::PhaseCall {
  Run* run;
  const Phase* phase;
};

void Run::run_row_segment(const Phase& phase) {
  PhaseCall call{this, &phase};
  team_.run({.function =
                 [](void* argument, Index stripe, int worker) {
                   const PhaseCall& c = *static_cast<PhaseCall*>(argument);
                   c.run->run_stripe(*c.phase, stripe, worker);
                 },
             .argument = &call,
             .count = (blocks_ + stripe_blocks_ - 1) / stripe_blocks_});
}

void Run::run_stripe(const Phase& phase, Index stripe, int worker) {
  const Index first = stripe * stripe_blocks_;
  const Index count = std::min(stripe_blocks_, blocks_ - first);
  try {
    run_blocks(phase, first, count, worker);
  } catch (...) {
    // What the caller is told is the failure of the first block, however blocks were put together.
    for (Index block = first; block < first + count && count > 1; ++block) {
      run_blocks(phase, block, 1, worker);
    }
    throw;
  }
}

void Run::run_blocks(const Phase& phase, Index first_block, Index count, int worker) {
  const RowWindow all = blocks(first_block, count);
  for (const Instruction& instruction : phase.instructions) {
    if (!instruction.block_by_block) {
      run_instruction(instruction, all, worker);
      continue;
    }
    for (Index block = 0; block < count; ++block) {
      run_instruction(instruction, blocks(first_block + block, 1, block * block_rows_), worker);
    }
  }
}

void Run::run_whole_batch(const Phase& phase) {
  for (const Instruction& instruction : phase.instructions) {
    run_instruction(instruction, whole(), 0);
  }
}

void Run::run_weight_tiles(const Phase& phase) {
  PhaseCall call{this, &phase};
  team_.run({.function =
                 [](void* argument, Index tile, int worker) {
                   const PhaseCall& c = *static_cast<PhaseCall*>(argument);
                   for (const TileGroup& group : c.phase->groups) {
                     if (tile < group.tiles()) {
                       c.run->run_tile(group, tile, worker);
                       return;
                     }
                     tile -= group.tiles();
                   }
                 },
             .argument = &call,
             .count = phase.tiles});
}

void Run::run_tile(const TileGroup& group, Index number, int worker) {
  const Tile tile = group.tile(number);
  TensorView gradient = workspace_.tile_operands(group, worker).gradient;
  if (group.gradient != kNoBuffer) {
    gradient = tile.of(gradient);
  } else {  // memory for one tile
    gradient.rows = tile.rows;
    gradient.columns = tile.columns;
  }
  bool accumulate = group.gradient_holds_sum;
  for (const Instruction& contribution : group.contributions) {
    contribute(group, contribution, gradient, accumulate, tile, worker);
    accumulate = true;
  }
  if (!group.update) return;
  if (!group.descends) apply_update(group, gradient, tile, worker);
  if (group.mirror != kNoBuffer) write_mirror(group, tile, worker);
}

void Run::contribute(const TileGroup& group, const Instruction& instruction,
                     const TensorView& gradient, bool accumulate, const Tile& tile, int worker) {
  if (instruction.kind == InstructionKind::kPartialSum) {
    add_parts(instruction, gradient, accumulate, tile.first_row);
    return;
  }
  BoundCall& call = workspace_.call(instruction, worker);
  if (!group.whole_rows()) call.move_to_columns(tile.first_column, tile.columns);
  OpContext& context = call.context();
  context.overwrite = accumulate ? 0 : instruction.overwrite;
  if (!accumulate && instruction.overwrite == 0) clear_rows(gradient);
  call.gradient(weight_input(instruction)) = gradient;
  if (group.descends && &instruction == &group.contributions.back()) {
    context.epilogue.descending = tile.of(workspace_.tile_operands(group, worker).parameter);
    context.epilogue.sgd = scalars(group);
  }
  instruction.weight_function(context, tile.first_row, gradient.rows);
}

// The tree over the parts of rows [first_row, first_row + gradient.rows) of the gradient; padding
// between the rows goes along.
void Run::add_parts(const Instruction& instruction, const TensorView& gradient, bool accumulate,
                    Index first_row) const {
  const Address& address = workspace_.addresses(0)[instruction.partial];
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    const MatrixView<T> out = gradient.as<T>();
    if (out.rows == 0) return;
    const Index stride = address.part_bytes / static_cast<Index>(sizeof(T));
    T* const parts = reinterpret_cast<T*>(address.base) + first_row * address.ld;
    add_in_tree(parts, stride, blocks_, (out.rows - 1) * address.ld + out.columns);
    for (Index i = 0; i < out.rows; ++i) {
      const T* const sum = parts + i * address.ld;
      for (Index j = 0; j < out.columns; ++j) out(i, j) = accumulate ? out(i, j) + sum[j] : sum[j];
    }
  });
}

void Run::apply_update(const TileGroup& group, const TensorView& gradient, const Tile& tile,
                       int worker) {
  const TileOperands& operands = workspace_.tile_operands(group, worker);
  UpdateContext context;
  context.kernels = &plan_.kernels;
  context.parameter = tile.of(operands.parameter);
  context.gradient = gradient;
  for (std::size_t slot = 0; slot < static_cast<std::size_t>(plan_.update->state_slots); ++slot) {
    context.state[slot] = tile.of(operands.state[slot]);
  }
  context.scalars = scalars(group);
  plan_.update->apply[dtype_index(plan_.dtype)](context);
}

void Run::write_mirror(const TileGroup& group, const Tile& tile, int worker) {
  const TileOperands& operands = workspace_.tile_operands(group, worker);
  const TensorView parameter = tile.of(operands.parameter);
  const TensorView mirror = tile.transposed().of(operands.mirror);
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    plan_.kernels.get<T>().transpose(parameter.as<T>(), mirror.as<T>());
  });
}

TensorView Run::window(BufferId id, const RowWindow& rows, int worker) const noexcept {
  if (id == kNoBuffer) return {};
  const Buffer& b = buffer(id);
  const Address& address = workspace_.addresses(worker)[id];
  return {address.at(rows), b.dtype, b.batched ? rows.count : b.rows, b.columns, address.ld};
}

}  // namespace chainrule::internal
