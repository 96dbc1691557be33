// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "plan_data.hpp"

namespace chainrule::internal {

/// When the scheduler may place a piece of work.
enum class Timing : std::uint8_t {
  kAsap,    ///< as soon as its operands are there
  kUpdate,  ///< after all kAsap work: nothing can fail any more
  kCommit,  ///< after the updates
};

/// One piece of work before it has a phase: an instruction or a group of weight tiles.
struct Draft {
  PhaseKind kind = PhaseKind::kWholeBatch;
  Timing timing = Timing::kAsap;
  Instruction instruction;
  TileGroup group;  ///< when kind == kWeightTiles
};

/// Calls `visit(buffer, writes)` for every operand of an instruction.
template <class Visit>
void for_each_operand(const Instruction& instruction, Visit&& visit) {
  const auto maybe = [&](BufferId buffer, bool writes) {
    if (buffer != kNoBuffer) visit(buffer, writes);
  };
  const bool forward = instruction.kind == InstructionKind::kForward;
  const bool makes_output = forward || instruction.kind == InstructionKind::kGather ||
                            instruction.kind == InstructionKind::kFinish ||
                            instruction.kind == InstructionKind::kSeed ||
                            instruction.kind == InstructionKind::kCotangent ||
                            instruction.kind == InstructionKind::kClear ||
                            instruction.kind == InstructionKind::kAddTangent;
  for (const BufferId buffer : instruction.inputs) maybe(buffer, false);
  maybe(instruction.output, makes_output);
  maybe(instruction.saved, forward);
  maybe(instruction.mirror, instruction.kind == InstructionKind::kTranspose);
  maybe(instruction.output_gradient, false);
  if (instruction.tangents != nullptr) {
    for (const BufferId buffer : instruction.tangents->inputs) maybe(buffer, false);
    maybe(instruction.tangents->mirror, false);
    maybe(instruction.tangents->output_gradient, false);
    maybe(instruction.tangents->output, true);
  }
  if (instruction.fusion != nullptr) {
    maybe(instruction.fusion->bias, false);
    maybe(instruction.fusion->source, false);
  }
  for (const BufferId buffer : instruction.input_gradients) maybe(buffer, true);
  maybe(instruction.partial, forward);
  maybe(instruction.workspace, forward);
}

/// The same for a draft.
template <class Visit>
void for_each_operand(const Draft& draft, Visit&& visit) {
  if (draft.kind != PhaseKind::kWeightTiles) {
    for_each_operand(draft.instruction, visit);
    return;
  }
  for (const Instruction& contribution : draft.group.contributions) {
    for_each_operand(contribution, visit);
  }
  if (draft.group.gradient != kNoBuffer) visit(draft.group.gradient, true);
  if (draft.group.parameter != kNoBuffer) visit(draft.group.parameter, true);
}

/// Distributes the drafts, given in a valid serial order, over as few phases as their dependences
/// allow.
std::vector<Phase> schedule(std::vector<Draft> drafts, const std::vector<Buffer>& buffers);

/// Lets calls that accept an epilogue do the work of the elementwise calls after them, where nobody
/// else sees what is between.
void fuse_epilogues(PlanData& plan, const Graph& graph);

/// Chooses regions and offsets of all workspace buffers from their lifetimes.
void assign_memory(PlanData& plan);

}  // namespace chainrule::internal
