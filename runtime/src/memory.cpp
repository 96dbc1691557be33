// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "draft.hpp"

namespace chainrule::internal {
namespace {

constexpr Index kForever = std::numeric_limits<Index>::max();

Index round_up(Index bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

struct Use {
  Index first_position = kForever;
  Index last_position = -1;
  Index first_phase = kForever;
  Index last_phase = -1;
  bool in_row_segment_only = true;
};

// A set of buffers that share one place in memory.
struct Place {
  Index bytes = 0;
  Use use;
  bool keep = false;
  bool block = true;
  Index offset = 0;
};

class MemoryPlanner {
 public:
  explicit MemoryPlanner(PlanData& plan)
      : plan_(plan), uses_(plan.buffers.size()), leader_(plan.buffers.size()) {
    std::iota(leader_.begin(), leader_.end(), BufferId{0});
  }

  void run() {
    record_uses();
    merge_in_place();
    allocate_shared();
    allocate_linear();
  }

 private:
  Buffer& buffer(BufferId id) { return plan_.buffers[static_cast<std::size_t>(id)]; }
  Use& use(BufferId id) { return uses_[static_cast<std::size_t>(id)]; }

  BufferId leader(BufferId id) const {
    while (leader_[static_cast<std::size_t>(id)] != id) id = leader_[static_cast<std::size_t>(id)];
    return id;
  }

  void record(BufferId id, Index position, Index phase, PhaseKind kind) {
    Use& u = use(id);
    u.first_position = std::min(u.first_position, position);
    u.last_position = std::max(u.last_position, position);
    u.first_phase = std::min(u.first_phase, phase);
    u.last_phase = std::max(u.last_phase, phase);
    if (kind != PhaseKind::kRowSegment) u.in_row_segment_only = false;
  }

  void record_uses() {
    Index position = 0;
    for (std::size_t p = 0; p < plan_.phases.size(); ++p) {
      const Phase& phase = plan_.phases[p];
      for (const Instruction& instruction : phase.instructions) {
        for_each_operand(instruction, [&](BufferId id, bool) {
          record(id, position, static_cast<Index>(p), phase.kind);
        });
        ++position;
      }
      for (const TileGroup& group : phase.groups) {
        const Draft draft{.kind = PhaseKind::kWeightTiles,
                          .timing = Timing::kAsap,
                          .instruction = {},
                          .group = group};
        for_each_operand(draft, [&](BufferId id, bool) {
          record(id, position, static_cast<Index>(p), phase.kind);
        });
        ++position;
      }
    }
  }

  // True when `to`, first written at `position`, may take over the memory of `from`.
  bool may_take_over(BufferId from, BufferId to, Index position) {
    const Buffer& a = buffer(from);
    const Buffer& b = buffer(to);
    return from != to && in_workspace(a) && in_workspace(b) && a.batched && b.batched && !a.keep &&
           a.ld == b.ld && a.dtype == b.dtype && use(from).last_position == position &&
           use(to).first_position == position;
  }

  static bool in_workspace(const Buffer& b) {
    return b.region != Region::kInput && b.region != Region::kParameter;
  }

  void merge_in_place() {
    Index position = 0;
    for (const Phase& phase : plan_.phases) {
      for (const Instruction& instruction : phase.instructions) {
        merge(instruction, position++);
      }
      position += static_cast<Index>(phase.groups.size());
    }
  }

  void merge(const Instruction& instruction, Index position) {
    if (!instruction.row_block || !instruction.in_place) return;
    const bool forward = instruction.kind == InstructionKind::kForward;
    const BufferId from = forward ? instruction.inputs[0] : instruction.output_gradient;
    const BufferId to = forward ? instruction.output : instruction.input_gradients[0];
    if (from == kNoBuffer || to == kNoBuffer || !may_take_over(from, to, position)) return;
    leader_[static_cast<std::size_t>(leader(to))] = leader(from);
  }

  void allocate_shared() {
    std::vector<Place> places(plan_.buffers.size());
    for (std::size_t i = 0; i < plan_.buffers.size(); ++i) {
      const Buffer& b = plan_.buffers[i];
      const Use& u = uses_[i];
      if (!b.batched || !in_workspace(b) || u.last_position < 0) continue;
      Place& place = places[static_cast<std::size_t>(leader(static_cast<BufferId>(i)))];
      place.bytes = round_up(b.unit_bytes());
      place.keep |= b.keep;
      place.use.first_position = std::min(place.use.first_position, u.first_position);
      place.use.last_position = std::max(place.use.last_position, u.last_position);
      place.use.first_phase = std::min(place.use.first_phase, u.first_phase);
      place.use.last_phase = std::max(place.use.last_phase, u.last_phase);
      place.use.in_row_segment_only &= u.in_row_segment_only;
    }
    std::vector<Place*> block;
    std::vector<Place*> batch;
    for (Place& place : places) {
      if (place.bytes == 0) continue;
      place.block = place.use.in_row_segment_only && !place.keep &&
                    place.use.first_phase == place.use.last_phase;
      (place.block ? block : batch).push_back(&place);
    }
    // Blocks of rows run one after the other on a worker, so that block memory is free again as
    // soon as the last instruction that reads it is done; the batch's as soon as its phase is.
    plan_.block_unit_bytes = first_fit(block, [](const Place& p) {
      return std::pair{p.use.first_position, p.use.last_position};
    });
    plan_.batch_unit_bytes = first_fit(batch, [](const Place& p) {
      return std::pair{p.use.first_phase, p.keep ? kForever : p.use.last_phase};
    });
    for (std::size_t i = 0; i < plan_.buffers.size(); ++i) {
      Buffer& b = plan_.buffers[i];
      if (!b.batched || !in_workspace(b)) continue;
      const Place& place = places[static_cast<std::size_t>(leader(static_cast<BufferId>(i)))];
      b.region = place.block ? Region::kBlock : Region::kBatch;
      b.offset = place.offset;
    }
  }

  // Gives every place the lowest offset that no other place alive at the same time covers; returns
  // the bytes used. Offsets are in units of one row, so that they scale with the rows.
  template <class Lifetime>
  static Index first_fit(std::vector<Place*>& places, Lifetime lifetime) {
    std::stable_sort(places.begin(), places.end(), [&](const Place* a, const Place* b) {
      return lifetime(*a).first < lifetime(*b).first;
    });
    Index total = 0;
    std::vector<const Place*> done;
    for (Place* place : places) {
      const auto [first, last] = lifetime(*place);
      std::vector<const Place*> rivals;
      for (const Place* other : done) {
        const auto [other_first, other_last] = lifetime(*other);
        if (other_first <= last && first <= other_last) rivals.push_back(other);
      }
      std::sort(rivals.begin(), rivals.end(),
                [](const Place* a, const Place* b) { return a->offset < b->offset; });
      Index offset = 0;
      for (const Place* rival : rivals) {
        if (offset + place->bytes <= rival->offset) break;
        offset = std::max(offset, rival->offset + rival->bytes);
      }
      place->offset = offset;
      total = std::max(total, offset + place->bytes);
      done.push_back(place);
    }
    return total;
  }

  void allocate_linear() {
    for (Buffer& b : plan_.buffers) {
      if (b.batched) continue;
      if (b.region == Region::kFixed) {
        b.offset = plan_.fixed_bytes;
        plan_.fixed_bytes += round_up(b.unit_bytes());
      } else if (b.region == Region::kPartial) {
        b.offset = plan_.partial_unit_bytes;
        plan_.partial_unit_bytes += round_up(b.unit_bytes());
      }
    }
  }

  PlanData& plan_;
  std::vector<Use> uses_;
  std::vector<BufferId> leader_;
};

}  // namespace

void assign_memory(PlanData& plan) { MemoryPlanner(plan).run(); }

}  // namespace chainrule::internal
