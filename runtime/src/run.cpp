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
  for (const Step& step : workspace_.calls(worker).steps(phase)) {
    if (!step.instruction->block_by_block || count == 1) {
      run_step(step, all, worker);
      continue;
    }
    for (Index block = 0; block < count; ++block) {
      run_step(step, blocks(first_block + block, 1, block * block_rows_), worker);
    }
  }
}

void Run::run_whole_batch(const Phase& phase) {
  for (const Step& step : workspace_.calls(0).steps(phase)) run_step(step, whole(), 0);
}

void Run::run_step(const Step& step, const RowWindow& rows, int worker) {
  if (step.call == nullptr) {
    run_instruction(*step.instruction, rows, worker);
    return;
  }
  if (step.instruction->row_block) step.call->move_to(rows);
  step.call->run();
}

void Run::run_weight_tiles(const Phase& phase) {
  PhaseCall call{this, &phase};
  team_.run({.function =
                 [](void* argument, Index tile, int worker) {
                   const PhaseCall& c = *static_cast<PhaseCall*>(argument);
                   for (const TileGroup& group : c.phase->groups) {
                     if (tile < group.count) {
                       c.run->run_tile(group, tile, worker);
                       return;
                     }
                     tile -= group.count;
                   }
                 },
             .argument = &call,
             .count = phase.tiles});
}

void Run::run_tile(const TileGroup& group, Index number, int worker) {
  const BoundTiles& tiles = workspace_.calls(worker).move_to(plan_, group, number);
  bool accumulate = group.gradient_holds_sum;
  for (const Instruction& contribution : group.contributions) {
    contribute(contribution, tiles, accumulate, worker);
    accumulate = true;
  }
  if (!group.update) return;
  if (!group.descends) plan_.update->apply[dtype_index(plan_.dtype)](tiles.update);
  if (group.mirror == kNoBuffer) return;
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    plan_.kernels.get<T>().transpose(tiles.update.parameter.as<T>(), tiles.mirror.as<T>());
  });
}

void Run::contribute(const Instruction& instruction, const BoundTiles& tiles, bool accumulate,
                     int worker) {
  if (instruction.kind == InstructionKind::kPartialSum) {
    add_parts(instruction, tiles.gradient, accumulate, tiles.tile.first_row);
    return;
  }
  if (!accumulate && instruction.overwrite == 0) clear_rows(tiles.gradient);
  instruction.weight_function(workspace_.call(instruction, worker).context(), tiles.tile.first_row,
                              tiles.gradient.rows);
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

TensorView Run::window(BufferId id, const RowWindow& rows, int worker) const noexcept {
  if (id == kNoBuffer) return {};
  const Buffer& b = buffer(id);
  const Address& address = workspace_.addresses(worker)[id];
  return {address.at(rows), b.dtype, b.batched ? rows.count : b.rows, b.columns, address.ld};
}

}  // namespace chainrule::internal
