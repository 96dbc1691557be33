// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include <algorithm>
#include <cstring>

#include "numeric.hpp"

namespace chainrule::internal {
namespace {

TensorView rows_of(const TensorView& view, Index first, Index count) {
  TensorView part = view;
  part.data = static_cast<std::byte*>(view.data) + first * view.ld * size_of(view.dtype);
  part.rows = count;
  return part;
}

}  // namespace

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
  for (const Instruction& mirror : plan_.mirrors) run_instruction(mirror, 0, 0, 0, 0);
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
                 [](void* argument, Index block, int worker) {
                   const PhaseCall& c = *static_cast<PhaseCall*>(argument);
                   c.run->run_block(*c.phase, block, worker);
                 },
             .argument = &call,
             .count = blocks_});
}

void Run::run_block(const Phase& phase, Index block, int worker) {
  const Index first = block * block_rows_;
  const Index count = std::min(block_rows_, rows_ - first);
  for (const Instruction& instruction : phase.instructions) {
    run_instruction(instruction, first, count, block, worker);
  }
}

void Run::run_whole_batch(const Phase& phase) {
  for (const Instruction& instruction : phase.instructions) {
    run_instruction(instruction, 0, rows_, 0, 0);
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

void Run::run_tile(const TileGroup& group, Index tile, int worker) {
  const Index first = tile * group.tile_rows;
  const Index count = std::min(group.tile_rows, group.rows - first);
  TensorView gradient;
  if (group.gradient != kNoBuffer) {
    gradient = rows_of(window(group.gradient, 0, 0, 0, worker), first, count);
  } else {
    gradient = {workspace_.tile_scratch(worker), plan_.dtype, count, group.columns, group.ld};
  }
  bool accumulate = group.gradient_holds_sum;
  for (const Instruction& contribution : group.contributions) {
    contribute(contribution, gradient, accumulate, first, worker);
    accumulate = true;
  }
  if (group.update) update_tile(group, gradient, first, worker);
}

void Run::contribute(const Instruction& instruction, const TensorView& gradient, bool accumulate,
                     Index first_row, int worker) {
  if (instruction.kind == InstructionKind::kPartialSum) {
    add_parts(instruction, gradient, accumulate, first_row);
    return;
  }
  OpContext& context = workspace_.call(instruction, worker).context();
  const auto target = static_cast<std::size_t>(
      plan_.nodes[static_cast<std::size_t>(instruction.node)].weight_input);
  context.overwrite = accumulate ? 0 : instruction.overwrite;
  if (!accumulate && instruction.overwrite == 0) clear_rows(gradient);
  workspace_.call(instruction, worker).gradient(target) = gradient;
  instruction.weight_function(context, first_row, gradient.rows);
}

// The tree over the parts of rows [first_row, first_row + gradient.rows) of the gradient.
void Run::add_parts(const Instruction& instruction, const TensorView& gradient, bool accumulate,
                    Index first_row) const {
  const Address& address = workspace_.addresses(0)[instruction.partial];
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    const MatrixView<T> out = gradient.as<T>();
    const Index stride = address.part_bytes / static_cast<Index>(sizeof(T));
    for (Index i = 0; i < out.rows; ++i) {
      T* const parts = reinterpret_cast<T*>(address.base) + (first_row + i) * address.ld;
      add_in_tree(parts, stride, blocks_, out.columns);
      for (Index j = 0; j < out.columns; ++j) {
        out(i, j) = accumulate ? out(i, j) + parts[j] : parts[j];
      }
    }
  });
}

void Run::update_tile(const TileGroup& group, const TensorView& gradient, Index first, int worker) {
  UpdateContext context;
  context.kernels = &plan_.kernels;
  context.parameter = rows_of(window(group.parameter, 0, 0, 0, worker), first, gradient.rows);
  context.gradient = gradient;
  const Index offset = buffer(group.parameter).offset;
  for (int slot = 0; slot < plan_.update->state_slots; ++slot) {
    const TensorView whole{bindings_.optimizer->slab(slot) + offset, plan_.dtype, group.rows,
                           group.columns, group.ld};
    context.state[static_cast<std::size_t>(slot)] = rows_of(whole, first, gradient.rows);
  }
  context.scalars = bindings_.scalars.data() + group.group * kUpdateScalars;
  plan_.update->apply[dtype_index(plan_.dtype)](context);
  if (group.mirror == kNoBuffer) return;
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    MatrixView<T> mirror = window(group.mirror, 0, 0, 0, worker).as<T>();
    mirror.data += first;
    mirror.columns = gradient.rows;
    plan_.kernels.get<T>().transpose(context.parameter.as<T>(), mirror);
  });
}

TensorView Run::window(BufferId id, Index first_row, Index rows, Index block,
                       int worker) const noexcept {
  if (id == kNoBuffer) return {};
  const Buffer& b = buffer(id);
  const Address& address = workspace_.addresses(worker)[id];
  return {address.base + first_row * address.row_bytes + block * address.part_bytes, b.dtype,
          b.batched ? rows : b.rows, b.columns, address.ld};
}

}  // namespace chainrule::internal
