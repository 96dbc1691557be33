// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <memory>
#include <utility>

#include "draft.hpp"

namespace chainrule::internal {
namespace {

// Who touches a buffer: how many instructions, and where it is first written. The phases of a plan
// have one long numbering.
struct Touches {
  int count = 0;
  Index first_write = -1;
};

class Fuser {
 public:
  Fuser(PlanData& plan, const Graph& graph)
      : plan_(plan), graph_(graph), touches_(plan.buffers.size()) {
    for (const Phase& phase : plan.phases) {
      for (const Instruction& instruction : phase.instructions) note(instruction);
      for (const TileGroup& group : phase.groups) {
        Draft draft;
        draft.kind = PhaseKind::kWeightTiles;
        draft.group = group;
        for_each_operand(draft, [&](BufferId id, bool) { ++touches(id).count; });
      }
    }
    for (const Instruction& mirror : plan.mirrors) note(mirror);
  }

  void run() {
    position_ = 0;
    for (Phase& phase : plan_.phases) {
      if (phase.kind == PhaseKind::kRowSegment) fuse(phase.instructions);
      position_ += static_cast<Index>(phase.instructions.size());
      for (TileGroup& group : phase.groups) group.descends = can_descend(group);
    }
  }

 private:
  Touches& touches(BufferId id) { return touches_[static_cast<std::size_t>(id)]; }
  const OpDef& op(const Instruction& instruction) const {
    return *graph_.node(instruction.node).op;
  }
  const OpTraits& traits(const Instruction& instruction) const { return op(instruction).traits; }

  void note(const Instruction& instruction) {
    for_each_operand(instruction, [&](BufferId id, bool writes) {
      Touches& t = touches(id);
      ++t.count;
      if (writes && t.first_write < 0) t.first_write = position_;
    });
    ++position_;
  }

  void fuse(std::vector<Instruction>& instructions) {
    std::vector<bool> replaced(instructions.size());
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      if (replaced[i] || !accepts(instructions[i])) continue;
      for (std::size_t j = i + 1; j < instructions.size(); ++j) {
        if (!replaced[j] && absorb(instructions[i], instructions[j], position_ + Index(i))) {
          replaced[j] = true;
        }
      }
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      if (!replaced[i]) instructions[kept++] = std::move(instructions[i]);
    }
    position_ += static_cast<Index>(instructions.size() - kept);
    instructions.resize(kept);
  }

  // True when the op that completes a gradient which nobody else reads can take the step as well.
  bool can_descend(const TileGroup& group) const {
    if (!group.update || group.gradient != kNoBuffer || !plan_.update->is_plain_sgd) return false;
    const Instruction& last = group.contributions.back();
    return last.kind == InstructionKind::kWeightGradient && traits(last).accepts_epilogue &&
           op(last).is_as_defined();
  }

  bool accepts(const Instruction& instruction) const {
    const bool forward = instruction.kind == InstructionKind::kForward;
    const bool backward = instruction.kind == InstructionKind::kBackward &&
                          instruction.input_gradients[0] != kNoBuffer &&
                          (instruction.overwrite & 1U) != 0;
    return (forward || backward) && traits(instruction).accepts_epilogue &&
           op(instruction).is_as_defined();
  }

  // True when `first`, at `position`, now does the work of `next` as well.
  bool absorb(Instruction& first, const Instruction& next, Index position) {
    if (next.kind != first.kind || next.fusion != nullptr || !op(next).is_as_defined()) {
      return false;
    }
    const bool forward = first.kind == InstructionKind::kForward;
    Fusion fusion = first.fusion != nullptr ? *first.fusion : Fusion{};
    const bool fits =
        forward ? take_forward(first, next, fusion) : take_backward(first, next, fusion);
    if (!fits) return false;
    const auto ready = [&](BufferId id) {
      return id == kNoBuffer || touches(id).first_write < position;
    };
    if (!ready(fusion.bias) || !ready(fusion.source)) return false;
    fusion.replaced.push_back(next);
    (forward ? first.output : first.input_gradients[0]) =
        forward ? next.output : next.input_gradients[0];
    first.fusion = std::make_shared<const Fusion>(std::move(fusion));
    return true;
  }

  // Nobody but its writer and one reader sees it.
  bool is_private(BufferId id) {
    const Buffer& b = plan_.buffers[static_cast<std::size_t>(id)];
    return touches(id).count == 2 && !b.keep;
  }

  bool take_forward(const Instruction& first, const Instruction& next, Fusion& fusion) {
    if (next.inputs[0] != first.output || !is_private(first.output)) return false;
    const OpTraits& t = traits(next);
    if (t.epilogue == EpilogueKind::kBias && fusion.bias == kNoBuffer && fusion.function < 0) {
      fusion.bias = next.inputs[1];
      return true;
    }
    return take_function(next, fusion);
  }

  bool take_backward(const Instruction& first, const Instruction& next, Fusion& fusion) {
    const BufferId gradient = first.input_gradients[0];
    if (next.output_gradient != gradient || !is_private(gradient) || (next.overwrite & 1U) == 0 ||
        next.input_gradients[0] == kNoBuffer || !take_function(next, fusion)) {
      return false;
    }
    fusion.source = traits(next).backward_reads.output ? next.output : next.inputs[0];
    return true;
  }

  bool take_function(const Instruction& next, Fusion& fusion) {
    if (traits(next).epilogue != EpilogueKind::kFunction || fusion.function >= 0) return false;
    fusion.function = traits(next).epilogue_function;
    fusion.function_node = next.node;
    return true;
  }

  PlanData& plan_;
  const Graph& graph_;
  std::vector<Touches> touches_;
  Index position_ = 0;
};

}  // namespace

void fuse_epilogues(PlanData& plan, const Graph& graph) { Fuser(plan, graph).run(); }

}  // namespace chainrule::internal
