// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <utility>

#include "draft.hpp"

namespace chainrule::internal {
namespace {

// Phases come in cycles of whole-batch, row segment, weight tiles; a slot counts them all.
constexpr Index kCycle = 3;
static_assert(static_cast<Index>(PhaseKind::kWeightTiles) == kCycle - 1);

Index kind_index(PhaseKind kind) { return static_cast<Index>(kind); }

// The first slot of `kind` at or after `slot`.
Index next_slot(PhaseKind kind, Index slot) {
  const Index phase = slot % kCycle;
  return slot + (kind_index(kind) - phase + kCycle) % kCycle;
}

// Where work of `kind` may stand at the earliest when it needs what slot `dependence` makes. Tiles
// of one phase run in any order; the other kinds keep the order of their instructions.
Index earliest_after(PhaseKind kind, Index dependence) {
  const bool same_kind = dependence % kCycle == kind_index(kind);
  return same_kind && kind != PhaseKind::kWeightTiles ? dependence : dependence + 1;
}

}  // namespace

std::vector<Phase> schedule(std::vector<Draft> drafts, const std::vector<Buffer>& buffers) {
  std::vector<Index> written_in(buffers.size(), -1);
  std::map<Index, Phase> slots;
  Index last = 0;

  const auto place = [&](Draft& draft, Index not_before) {
    Index earliest = not_before;
    for_each_operand(draft, [&](BufferId buffer, bool) {
      const Index written = written_in[static_cast<std::size_t>(buffer)];
      if (written >= 0) earliest = std::max(earliest, earliest_after(draft.kind, written));
    });
    const Index slot = next_slot(draft.kind, earliest);
    for_each_operand(draft, [&](BufferId buffer, bool writes) {
      if (writes) written_in[static_cast<std::size_t>(buffer)] = slot;
    });
    last = std::max(last, slot);
    Phase& phase = slots[slot];
    phase.kind = draft.kind;
    if (draft.kind == PhaseKind::kWeightTiles) {
      phase.tiles += draft.group.tiles();
      phase.groups.push_back(std::move(draft.group));
    } else {
      phase.instructions.push_back(draft.instruction);
    }
  };
  const auto place_all = [&](Timing timing, Index not_before) {
    for (Draft& draft : drafts) {
      if (draft.timing == timing) place(draft, not_before);
    }
  };

  place_all(Timing::kAsap, 0);
  place_all(Timing::kUpdate, last + 1);
  place_all(Timing::kCommit, last + 1);

  std::vector<Phase> phases;
  for (auto& [slot, phase] : slots) phases.push_back(std::move(phase));
  return phases;
}

}  // namespace chainrule::internal
