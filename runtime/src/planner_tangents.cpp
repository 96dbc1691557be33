// SPDX-License-Identifier: Apache-2.0
// Forward mode: tangents of values beside forward, and those of gradients beside backward.
#include <fmt/format.h>

#include <utility>

#include "chainrule/core/error.hpp"
#include "planner.hpp"

namespace chainrule::internal {

void Planner::mark_tangents() {
  if (options_.tangents.empty() && options_.output_tangents.empty() &&
      options_.gradient_tangents.empty()) {
    return;
  }
  if (options_.update) {
    throw ArgumentError("compile: a plan has an update or tangents, not both");
  }
  for (const Value& value : options_.tangents) {
    const NodeId id = check(value, "a value with a tangent");
    if (node(id).kind == NodeKind::kIndexInput || !state(id).needed) {
      throw ArgumentError(
          fmt::format("compile: {} cannot have a tangent: {}", describe(node(id)),
                      state(id).needed ? "it holds indices" : "nothing asked for depends on it"));
    }
    state(id).tangent_bound = true;
  }
  for (const Value& value : options_.gradient_tangents) {
    const NodeId id = check(value, "a value whose gradient's tangent to keep");
    if (!state(id).wanted) {
      throw ArgumentError(fmt::format(
          "compile: the tangent of the gradient of {} is asked for, but not the gradient",
          describe(node(id))));
    }
    state(id).carries_tangent = true;
  }
  mark_moving();
  mark_second_order();
  mark_needed_tangents();
}

void Planner::mark_moving() {
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) {
    state(id).moves = state(id).tangent_bound || any_input(id, &NodeState::moves);
  }
}

bool Planner::any_input(NodeId id, bool NodeState::*flag) const {
  const Node& n = node(id);
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (differentiable(*n.op, i) && state(n.inputs[i]).*flag) return true;
  }
  return false;
}

// Where the gradient of an op's output moves, or backward of the op depends on something that does,
// the gradients of its inputs move.
void Planner::mark_second_order() {
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) {
    state(id).carries_tangent |= any_input(id, &NodeState::carries_tangent);
  }
  for (NodeId id = static_cast<NodeId>(graph_.size()) - 1; id >= 0; --id) {
    const NodeState& s = state(id);
    if (!s.reached || !any_input(id, &NodeState::carries_tangent)) continue;
    const Node& n = node(id);
    const bool moving = any_input(id, &NodeState::moves);
    const bool curved = moving && !n.op->traits.linear;
    if (curved && !n.op->has_second_order()) {
      throw UnsupportedError(fmt::format(
          "compile: {} has no second derivatives, and they are needed through it", describe(n)));
    }
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      if (!differentiable(*n.op, i)) continue;
      NodeState& in = state(n.inputs[i]);
      in.tangent_needed |= curved && in.moves;
      if (!in.carries_tangent) continue;
      in.gradient_touched |= s.gradient_touched || moving;
      in.gradient_moves |= s.gradient_moves || curved;
    }
  }
  for (const Value& value : options_.gradient_tangents) {
    if (state(value.id()).gradient_touched) continue;
    throw ArgumentError(
        fmt::format("compile: the tangent of the gradient of {} is asked for, but nothing it "
                    "depends on has one",
                    describe(node(value.id()))));
  }
}

void Planner::mark_needed_tangents() {
  for (const Value& value : options_.output_tangents) {
    NodeState& s = state(value.id());
    if (!s.moves) {
      throw ArgumentError(
          fmt::format("compile: the tangent of {} is asked for, but it depends on nothing that has "
                      "one",
                      describe(node(value.id()))));
    }
    s.tangent_needed = true;
  }
  for (NodeId id = static_cast<NodeId>(graph_.size()) - 1; id >= 0; --id) {
    const Node& n = node(id);
    if (!state(id).tangent_needed || !any_input(id, &NodeState::moves)) continue;
    if (!n.op->has_gradient()) {
      throw UnsupportedError(fmt::format(
          "compile: {} has no gradient, and a tangent is needed through it", describe(n)));
    }
    if (n.op->jvp[dtype_index(options_.dtype)] == nullptr) {
      throw UnsupportedError(
          fmt::format("compile: {} has no jvp, and a tangent is needed through it", describe(n)));
    }
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      NodeState& in = state(n.inputs[i]);
      in.tangent_needed |= differentiable(*n.op, i) && in.moves;
    }
  }
}

BufferId Planner::add_zeros(NodeId id, std::string name, const Shape& shape) {
  Instruction clear;
  clear.kind = InstructionKind::kClear;
  clear.node = id;
  clear.row_block = shape.is_batched();
  clear.output = add_buffer(std::move(name), Region::kFixed, shape, options_.dtype);
  emit(clear);
  return clear.output;
}

void Planner::emit_tangent(NodeId id) {
  const Node& n = node(id);
  NodeState& s = state(id);
  BufferId bound = kNoBuffer;
  if (s.tangent_bound) {
    bound = add_input(id, "tangent of " + n.name, n.shape, options_.dtype, InputRole::kTangent);
  }
  if (!s.tangent_needed) return;
  if (!any_input(id, &NodeState::moves)) {
    s.tangent = bound;
    return;
  }
  TangentBuffers tangents;
  tangents.inputs = input_tangents(id);
  tangents.output = s.tangent = add_buffer("t " + n.name, Region::kFixed, n.shape, options_.dtype);
  Instruction jvp;
  jvp.kind = InstructionKind::kJvp;
  jvp.function = n.op->jvp[dtype_index(options_.dtype)];
  jvp.node = id;
  jvp.row_block = is_row_work(id) && n.op->traits.kind == OpKind::kRowwise;
  jvp.input_count = static_cast<int>(n.inputs.size());
  for (std::size_t i = 0; i < n.inputs.size(); ++i) jvp.inputs[i] = state(n.inputs[i]).value;
  jvp.output = s.value;
  jvp.saved = s.saved;
  jvp.workspace = s.workspace;
  jvp.tangents = std::make_shared<const TangentBuffers>(tangents);
  emit(jvp);
  count_flops(id);
  if (bound == kNoBuffer) return;
  Instruction add;
  add.kind = InstructionKind::kAddTangent;
  add.node = id;
  add.row_block = n.shape.is_batched();
  add.input_count = 1;
  add.inputs[0] = bound;
  add.output = s.tangent;
  emit(add);
}

// An op's functions see a tangent of every differentiable input.
std::array<BufferId, kMaxInputs> Planner::input_tangents(NodeId id) {
  const Node& n = node(id);
  TangentBuffers tangents;
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (differentiable(*n.op, i)) tangents.inputs[i] = tangent_of(n.inputs[i]);
  }
  return tangents.inputs;
}

BufferId Planner::tangent_of(NodeId id) {
  NodeState& s = state(id);
  if (s.tangent == kNoBuffer) s.tangent = add_zeros(id, "t " + node(id).name, node(id).shape);
  return s.tangent;
}

BufferId Planner::tangent_mirror_of(NodeId id) {
  NodeState& s = state(id);
  if (s.tangent_mirror != kNoBuffer) return s.tangent_mirror;
  std::string name = "t " + node(id).name + " transposed";
  const Shape& shape = node(id).shape;
  s.tangent_mirror = s.moves ? add_transpose(id, std::move(name), s.tangent, false)
                             : add_zeros(id, std::move(name), Shape{shape.columns(), shape.rows()});
  return s.tangent_mirror;
}

// What backward adds changes with dY: that is backward of dY's tangent; and, unless the op is
// linear, with what moves among its inputs.
void Planner::emit_backward_of_tangents(NodeId id) {
  const NodeState& s = state(id);
  const Node& n = node(id);
  const bool curved = any_input(id, &NodeState::moves) && !n.op->traits.linear;
  if (!curved && !s.gradient_moves) return;
  if (!any_input(id, &NodeState::carries_tangent)) return;
  Instruction backward = backward_of(id);
  if (!curved) {
    backward.output_gradient = sum_buffer(id, kGradientTangents);
  } else {
    TangentBuffers tangents;
    tangents.inputs = input_tangents(id);
    tangents.output_gradient = s.gradient_moves ? sum_buffer(id, kGradientTangents)
                                                : add_zeros(id, "t d " + n.name, n.shape);
    backward.kind = InstructionKind::kBackwardJvp;
    backward.function = n.op->backward_jvp[dtype_index(options_.dtype)];
    backward.prepare = nullptr;
    backward.tangents = std::make_shared<const TangentBuffers>(tangents);
  }
  emit_backward(id, backward, kGradientTangents);
}

void Planner::keep_tangents() {
  for (const Value& value : options_.output_tangents) {
    keep(value.id(), state(value.id()).tangent, plan_->tangents);
  }
  for (const Value& value : options_.gradient_tangents) {
    Sum& sum = state(value.id()).gradient_tangent;
    if (!sum.written) {  // the gradient is the same everywhere along the directions
      sum.buffer = add_zeros(value.id(), "t d " + node(value.id()).name, value.shape());
      sum.written = true;
    }
    keep(value.id(), sum.buffer, plan_->gradient_tangents);
  }
}

}  // namespace chainrule::internal
