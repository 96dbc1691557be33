// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chainrule/core/error.hpp"
#include "run.hpp"

namespace chainrule::internal {

// Runs forward again, serially, and looks at every value as it is made: the memory of blocks has
// been reused by the time a loss turns out not to be finite.
void Run::throw_non_finite(const Instruction& check) {
  Team alone(0);
  Run replay(workspace_, bindings_, alone);
  workspace_.forget_bindings();
  std::optional<NonFinite> found;
  for (const Phase& phase : plan_.phases) {
    if (phase.kind == PhaseKind::kWeightTiles) continue;
    const Index blocks = phase.kind == PhaseKind::kRowSegment ? partition_.blocks : 1;
    for (Index block = 0; block < blocks && !found; ++block) {
      replay.look_for_non_finite(phase, block, found);
    }
  }
  const PlanNode& loss = plan_.nodes[static_cast<std::size_t>(check.node)];
  if (!found) {
    found = NonFinite{.name = loss.name, .description = loss.description, .value = NAN};
  }
  throw NonFiniteError(
      fmt::format("the loss '{}' is not finite: the first value that is not is "
                  "{} at row {}, column {} of {}",
                  loss.name, found->value, found->row, found->column, found->description),
      found->name);
}

void Run::look_for_non_finite(const Phase& phase, Index block, std::optional<NonFinite>& found) {
  const bool by_block = phase.kind == PhaseKind::kRowSegment;
  const RowWindow rows = by_block ? blocks(block, 1) : whole();
  for (const Instruction& instruction : phase.instructions) {
    if (instruction.kind == InstructionKind::kLossCheck ||
        instruction.kind == InstructionKind::kCommit) {
      return;
    }
    const bool forward = instruction.kind == InstructionKind::kForward ||
                         instruction.kind == InstructionKind::kFinish ||
                         instruction.kind == InstructionKind::kGather;
    if (!forward) {
      run_instruction(instruction, rows, 0);
      continue;
    }
    found = non_finite_input(instruction, rows);
    if (!found) found = run_and_look(instruction, rows);
    if (found) return;
  }
}

std::optional<Run::NonFinite> Run::non_finite_input(const Instruction& instruction,
                                                    const RowWindow& rows) const {
  for (const BufferId input : instruction.inputs) {
    if (input == kNoBuffer) continue;
    const Buffer& b = buffer(input);
    if (b.region != Region::kInput && b.region != Region::kParameter) continue;
    if (plan_.gather && b.region == Region::kInput && b.batched) continue;
    const PlanNode& node = plan_.nodes[static_cast<std::size_t>(b.node)];
    if (auto found = non_finite_in(input, node, rows)) return found;
  }
  return std::nullopt;
}

// Of an instruction that does the work of several, one after the other.
std::optional<Run::NonFinite> Run::run_and_look(const Instruction& instruction,
                                                const RowWindow& rows) {
  const auto look = [&](const Instruction& at) -> std::optional<NonFinite> {
    if (instruction.output == kNoBuffer) return std::nullopt;
    const PlanNode& node = plan_.nodes[static_cast<std::size_t>(at.node)];
    return non_finite_in(instruction.output, node, rows);
  };
  if (instruction.fusion == nullptr) {
    run_instruction(instruction, rows, 0);
    return look(instruction);
  }
  BoundCall& call = workspace_.call(instruction, 0);
  call.move_to(rows);
  OpContext context = call.context();
  context.epilogue = {};
  instruction.function(context);
  auto found = look(instruction);
  for (const Instruction& next : instruction.fusion->replaced) {
    if (found) break;
    found = non_finite_input(next, rows);
    if (found) break;
    context.attributes = &plan_.nodes[static_cast<std::size_t>(next.node)].attributes;
    context.inputs = {};
    context.inputs[0] = context.output;
    context.inputs[1] = window(next.inputs[1], rows, 0);
    next.function(context);
    found = look(next);
  }
  return found;
}

std::optional<Run::NonFinite> Run::non_finite_in(BufferId id, const PlanNode& node,
                                                 const RowWindow& rows) const {
  const TensorView view = window(id, rows, 0);
  if (view.dtype == DType::kInt32) return std::nullopt;
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) {
      const double value = element(view, i, j);
      if (std::isfinite(value)) continue;
      const Index row = buffer(id).batched ? rows.first + i : i;
      return NonFinite{.name = node.name,
                       .description = node.description,
                       .row = row,
                       .column = j,
                       .value = value};
    }
  }
  return std::nullopt;
}

}  // namespace chainrule::internal
