// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "draft.hpp"

namespace chainrule::internal {

/// Turns a graph and options into drafts: forward, then backward in reverse order, then updates.
class Planner {
 public:
  Planner(const Graph& graph, const CompileOptions& options);

  std::shared_ptr<const PlanData> build();

 private:
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
    BufferId gradient = kNoBuffer;
    BufferId mirror = kNoBuffer;
    bool gradient_written = false;
    std::vector<Instruction> contributions;  // to a gradient without batch dimension
  };

  NodeState& state(NodeId id) { return states_[static_cast<std::size_t>(id)]; }
  const Node& node(NodeId id) const { return graph_.node(id); }
  void add_node(NodeId id);
  void check_batch(const Node& n, bool batched_inputs) const;
  NodeId check(Value value, std::string_view role) const;

  void mark_roots();
  void mark_paths();
  void mark_reach();

  BufferId add_buffer(std::string name, Region region, const Shape& shape, DType dtype);
  BufferId add_input(NodeId id, std::string name, const Shape& shape, DType dtype,
                     bool is_cotangent);
  BufferId gradient_buffer(NodeId id);
  void emit(const Instruction& instruction, Timing timing = Timing::kAsap);

  void emit_values();
  void emit_leaf(NodeId id);
  void emit_forward(NodeId id);
  void emit_reduction_finish(NodeId id, const Instruction& forward);
  void emit_seeds();
  void emit_gradients();
  void emit_backward(NodeId id);
  void add_weight_contribution(NodeId id, int input);
  BufferId want_input_gradient(NodeId id, int input, Instruction& backward);
  BufferId mirror_of(NodeId id);
  void emit_tile_group(NodeId id);
  void add_tile_group(NodeId id, bool update);
  bool may_fuse_update(const std::vector<Instruction>& contributions) const;
  void emit_update_checks();
  void emit_commits();
  void keep_results();
  void count_flops(NodeId id);

  bool is_row_work(NodeId id) const;
  double forward_flops(NodeId id) const;

  const Graph& graph_;
  const CompileOptions& options_;
  std::shared_ptr<PlanData> plan_;
  std::vector<NodeState> states_;
  std::vector<Draft> drafts_;
  NodeId loss_ = -1;
  std::vector<NodeId> cotangents_;
};

}  // namespace chainrule::internal
