// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "draft.hpp"

namespace chainrule::internal {

/// Turns a graph and options into drafts: forward, then backward in reverse order, then updates.
/// Tangents travel beside the values, and those of gradients beside the gradients.
class Planner {
 public:
  Planner(const Graph& graph, const CompileOptions& options);

  std::shared_ptr<const PlanData> build();

 private:
  // What consumers of a value add up: its gradient, or the tangent of that.
  struct Sum {
    BufferId buffer = kNoBuffer;
    bool written = false;
    std::vector<Instruction> contributions;  // to one without batch dimension
  };

  // What the planner knows of one node.
  struct NodeState {
    bool needed = false;   // on a path to something asked for
    bool carries = false;  // a gradient for something asked for passes through it
    bool reached = false;  // a root's gradient gets here
    bool wanted = false;   // its gradient is asked for
    bool updated = false;
    int group = 0;
    BufferId value = kNoBuffer;
    BufferId saved = kNoBuffer;
    BufferId workspace = kNoBuffer;
    BufferId mirror = kNoBuffer;
    Sum gradient;
    // Forward mode.
    bool tangent_bound = false;     // its direction is bound
    bool moves = false;             // it depends on something with a direction
    bool tangent_needed = false;    // its tangent is asked for, or read on the way to one
    bool carries_tangent = false;   // as `carries`, for the tangents of gradients
    bool gradient_moves = false;    // its gradient may change along the directions ...
    bool gradient_touched = false;  // ... or passes through ops of which something moves
    BufferId tangent = kNoBuffer;   // zeros where it does not move
    BufferId tangent_mirror = kNoBuffer;
    Sum gradient_tangent;
  };

  // What a backward pass is for: one of the sums of the nodes that carry it.
  struct Target {
    Sum NodeState::*sum;
    bool NodeState::*carries;
    std::string_view prefix;
  };
  static const Target kGradients;
  static const Target kGradientTangents;

  NodeState& state(NodeId id) { return states_[static_cast<std::size_t>(id)]; }
  const NodeState& state(NodeId id) const { return states_[static_cast<std::size_t>(id)]; }
  const Node& node(NodeId id) const { return graph_.node(id); }
  void add_node(NodeId id);
  void check_batch(const Node& n, bool batched_inputs) const;
  NodeId check(Value value, std::string_view role) const;

  void mark_roots();
  void mark_paths();
  void mark_reach();
  void mark_tangents();
  void mark_moving();
  void mark_second_order();
  void mark_needed_tangents();

  BufferId add_buffer(std::string name, Region region, const Shape& shape, DType dtype);
  BufferId add_input(NodeId id, std::string name, const Shape& shape, DType dtype, InputRole role);
  BufferId add_zeros(NodeId id, std::string name, const Shape& shape);
  BufferId sum_buffer(NodeId id, const Target& target);
  BufferId gradient_buffer(NodeId id) { return sum_buffer(id, kGradients); }
  void emit(const Instruction& instruction, Timing timing = Timing::kAsap);

  void emit_values();
  void emit_leaf(NodeId id);
  void emit_forward(NodeId id);
  void add_batch_op(NodeId id, const std::vector<Shape>& shapes);
  void emit_reduction_finish(NodeId id, const Instruction& forward);
  void emit_seeds();
  void emit_gradients();
  Instruction backward_of(NodeId id);
  void emit_backward(NodeId id, Instruction backward, const Target& target);
  void add_weight_contribution(NodeId id, const Instruction& backward, const Target& target);
  BufferId want_input_gradient(NodeId id, int input, Instruction& backward, const Target& target);
  BufferId mirror_of(NodeId id);
  BufferId add_transposed_view(NodeId id, std::string name);
  BufferId add_transpose(NodeId id, std::string name, BufferId from, bool of_parameter);
  void emit_tile_groups(NodeId id);
  bool reads_input_once(NodeId id, NodeId weight) const;
  Instruction in_parts(NodeId weight, Instruction gradient, const Target& target);
  static Instruction sum_of_parts(NodeId id, BufferId parts);
  void cut_in_tiles(TileGroup& group) const;
  void add_tile_group(NodeId id, const Target& target, bool update);
  bool may_fuse_update(const std::vector<Instruction>& contributions) const;
  void emit_update_checks();
  void emit_commits();
  void keep_results();
  void number_calls();
  void keep(NodeId id, BufferId buffer, std::vector<KeptValue>& list);

  void emit_tangent(NodeId id);
  BufferId tangent_of(NodeId id);
  BufferId tangent_mirror_of(NodeId id);
  std::array<BufferId, kMaxInputs> input_tangents(NodeId id);
  void emit_backward_of_tangents(NodeId id);
  void keep_tangents();
  void count_flops(NodeId id);

  bool is_row_work(NodeId id) const;
  bool any_input(NodeId id, bool NodeState::*flag) const;
  double forward_flops(NodeId id) const;
  static bool differentiable(const OpDef& op, std::size_t input) {
    return ((op.traits.differentiable_inputs >> input) & 1U) != 0;
  }

  /// What prepares calls of an op's function; null where somebody has put another in its place.
  template <class Prepare>
  Prepare prepared(const OpDef& op, const std::array<Prepare, 2>& functions) const {
    return op.is_as_defined() ? functions[dtype_index(options_.dtype)] : nullptr;
  }

  const Graph& graph_;
  const CompileOptions& options_;
  std::shared_ptr<PlanData> plan_;
  std::vector<NodeState> states_;
  std::vector<Draft> drafts_;
  NodeId loss_ = -1;
  std::vector<NodeId> cotangents_;
};

}  // namespace chainrule::internal
