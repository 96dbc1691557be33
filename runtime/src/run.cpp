// SPDX-License-Identifier: Apache-2.0
#include "run.hpp"

#include <algorithm>

namespace chainrule::internal {

Run::Run(WorkspaceData& workspace, const Bindings::Data& bindings, Team& team) noexcept
    : workspace_(workspace),
      plan_(workspace.data()),
      bindings_(bindings),
      partition_(workspace.partition()),
      team_(team) {
  workspace_.run = this;
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
  refresh_mirrors();
  if (team_.helpers() == 0 && !workspace_.chain().empty()) {
    for (const PreparedCall* call : workspace_.chain()) (*call)();
  } else {
    run_phases();
  }
  if (plan_.writes_parameters) {
    // Our mirrors were updated with the weights; everybody else's are stale now.
    bindings_.mutable_parameters->touch();
    workspace_.mirror_version = bindings_.mutable_parameters->version();
  }
}

void Run::run_phases() {
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
             .count = partition_.stripes});
}

void Run::run_stripe(const Phase& phase, Index stripe, int worker) {
  const Index first = stripe * partition_.stripe_blocks;
  const Index count = std::min(partition_.stripe_blocks, partition_.blocks - first);
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
  BoundCalls& calls = workspace_.calls(worker);
  const RowWindow all = blocks(first_block, count);
  calls.move_to(phase, all, count > 1);
  for (const Step& step : calls.steps(phase)) {
    if (count > 1 && step.instruction->block_by_block) {
      for (Index block = 0; block < count; ++block) {
        run_instruction(*step.instruction,
                        blocks(first_block + block, 1, block * partition_.block_rows), worker);
      }
    } else if (step.call != nullptr) {
      step.call->run();
    } else {
      run_instruction(*step.instruction, all, worker);
    }
  }
}

void Run::run_whole_batch(const Phase& phase) {
  for (const Step& step : workspace_.calls(0).steps(phase)) {
    if (step.call != nullptr) {
      step.call->run();
    } else {
      run_instruction(*step.instruction, whole(), 0);
    }
  }
}

void Run::run_weight_tiles(const Phase& phase) {
  if (team_.helpers() == 0) {
    for (const TileGroup& group : phase.groups) {
      for (Index tile = 0; tile < group.count; ++tile) run_tile(group, tile, 0);
    }
    return;
  }
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
  for (const PreparedCall& call : workspace_.calls(worker).tile(plan_, group, number)) call();
}

TensorView Run::window(BufferId id, const RowWindow& rows, int worker) const noexcept {
  if (id == kNoBuffer) return {};
  const Buffer& b = buffer(id);
  const Address& address = workspace_.addresses(worker)[id];
  return {address.at(rows), b.dtype, b.batched ? rows.count : b.rows, b.columns, address.ld};
}

}  // namespace chainrule::internal
