// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <utility>

#include "numeric.hpp"
#include "planner.hpp"

namespace chainrule::internal {
namespace {

// Weight tiles are sized so that the gradient's tile stays in L1, and what it is made of, windows
// of columns of x and dY, in L2: 112 rows of 256 bytes. Where an op gives whole rows only, fewer.
constexpr Index kTileRows = 112;
constexpr Index kTileRowBytes = 256;
constexpr Index kWholeRowsBytes = 65536;
constexpr Index kMinTileRows = 8;

Index fitting_rows(Index row_bytes) {
  const Index fitting = kWholeRowsBytes / std::max<Index>(row_bytes, 1) / kMinTileRows;
  return std::clamp(fitting * kMinTileRows, kMinTileRows, kTileRows);
}

template <class T>
void store_one(const OpContext& context) {
  context.out<T>()(0, 0) = 1;
}

bool is_vector(const Shape& shape) { return shape.rows() == 1 || shape.columns() == 1; }

bool has_bit(std::uint32_t mask, std::size_t bit) { return ((mask >> bit) & 1U) != 0; }

}  // namespace

constinit const Planner::Target Planner::kGradients{&NodeState::gradient, &NodeState::carries,
                                                    "d "};
constinit const Planner::Target Planner::kGradientTangents{&NodeState::gradient_tangent,
                                                           &NodeState::carries_tangent, "t d "};

void Planner::emit_seeds() {
  const auto seed = [&](NodeId id, Instruction instruction) {
    instruction.node = id;
    instruction.output = gradient_buffer(id);
    instruction.row_block = node(id).shape.is_batched();
    state(id).gradient.written = true;
    emit(instruction);
  };
  for (const NodeId id : cotangents_) {
    if (!state(id).reached) continue;
    Instruction copy;
    copy.kind = InstructionKind::kCotangent;
    copy.input_count = 1;
    copy.inputs[0] = add_input(id, "cotangent of " + node(id).name, node(id).shape, options_.dtype,
                               InputRole::kCotangent);
    seed(id, copy);
  }
  if (loss_ >= 0 && state(loss_).reached && !state(loss_).gradient.written) {
    Instruction one;
    one.kind = InstructionKind::kSeed;
    by_dtype(options_.dtype, [&](auto zero) { one.function = &store_one<decltype(zero)>; });
    seed(loss_, one);
  }
}

void Planner::emit_gradients() {
  for (NodeId id = static_cast<NodeId>(graph_.size()) - 1; id >= 0; --id) {
    if (!state(id).reached) continue;
    emit_tile_groups(id);
    if (node(id).kind != NodeKind::kOp) continue;
    emit_backward(id, backward_of(id), kGradients);
    emit_backward_of_tangents(id);
  }
}

Instruction Planner::backward_of(NodeId id) {
  const Node& n = node(id);
  const OpTraits& traits = n.op->traits;
  Instruction backward;
  backward.kind = InstructionKind::kBackward;
  backward.function = n.op->backward[dtype_index(options_.dtype)];
  backward.prepare = prepared(*n.op, n.op->prepare_backward);
  backward.node = id;
  backward.row_block = is_row_work(id);
  backward.input_count = static_cast<int>(n.inputs.size());
  backward.output_gradient = gradient_buffer(id);
  if (traits.backward_reads.output) backward.output = state(id).value;
  backward.saved = state(id).saved;
  backward.workspace = state(id).workspace;
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    if (has_bit(traits.backward_reads.inputs, i)) backward.inputs[i] = state(n.inputs[i]).value;
  }
  return backward;
}

void Planner::emit_backward(NodeId id, Instruction backward, const Target& target) {
  const Node& n = node(id);
  const OpTraits& traits = n.op->traits;
  std::vector<std::pair<NodeId, Instruction>> partial_sums;
  bool any = false;
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    const NodeId input = n.inputs[i];
    if (!differentiable(*n.op, i) || !(state(input).*target.carries)) continue;
    if (static_cast<int>(i) == traits.weight_input) {
      add_weight_contribution(id, backward, target);
      continue;
    }
    any = true;
    const BufferId partial = want_input_gradient(id, static_cast<int>(i), backward, target);
    if (partial != kNoBuffer) partial_sums.emplace_back(input, sum_of_parts(id, partial));
  }
  if (!any) return;
  if (traits.mirror_input >= 0) {
    const NodeId mirrored = n.inputs[static_cast<std::size_t>(traits.mirror_input)];
    backward.mirror = mirror_of(mirrored);
    if (backward.tangents != nullptr) {
      TangentBuffers tangents = *backward.tangents;
      tangents.mirror = tangent_mirror_of(mirrored);
      backward.tangents = std::make_shared<const TangentBuffers>(tangents);
    }
  }
  const BufferId first = backward.input_gradients[0];
  backward.in_place =
      traits.gradient_may_alias && backward.tangents == nullptr && has_bit(backward.overwrite, 0) &&
      std::count(backward.input_gradients.begin(), backward.input_gradients.end(), first) == 1;
  emit(backward);
  for (auto& [input, sum] : partial_sums) {
    (state(input).*target.sum).contributions.push_back(sum);
  }
  const double flops = forward_flops(id);
  (backward.row_block ? plan_->flops_per_row : plan_->flops_fixed) += flops;
}

// Gives `backward` a place for the gradient of one input. Returns the buffer of partial sums when
// the input has no batch dimension and the work is done block by block.
BufferId Planner::want_input_gradient(NodeId id, int input, Instruction& backward,
                                      const Target& target) {
  const Node& n = node(id);
  const auto i = static_cast<std::size_t>(input);
  const NodeId source = n.inputs[i];
  const bool partial = backward.row_block && !node(source).shape.is_batched();
  BufferId buffer = kNoBuffer;
  bool first = true;
  if (partial) {
    buffer = add_buffer(std::string(target.prefix) + node(source).name + " parts", Region::kPartial,
                        node(source).shape, options_.dtype);
  } else {
    buffer = sum_buffer(source, target);
    Sum& sum = state(source).*target.sum;
    first = !sum.written;
    sum.written = true;
  }
  if (first && !n.op->traits.handles_overwrite) {
    Instruction clear;
    clear.kind = InstructionKind::kClear;
    clear.node = source;
    clear.row_block = backward.row_block;
    clear.output = buffer;
    emit(clear);
    first = false;
  }
  if (first) backward.overwrite |= 1U << i;
  backward.input_gradients[i] = buffer;
  return partial ? buffer : kNoBuffer;
}

// True when the weight's gradient is made block by block while forward has the rows of a wide input
// in cache: a part of it has to be small beside the block that would be read a second time.
bool Planner::reads_input_once(NodeId id, NodeId weight) const {
  constexpr Index kWideColumns = 64;
  constexpr Index kPartRows = 16;  // of x, that a part may be as large as
  const NodeId x = node(id).inputs[0];
  const Shape& rows = node(x).shape;
  return x != weight && node(x).kind == NodeKind::kInput && is_row_work(id) && rows.is_batched() &&
         rows.columns() >= kWideColumns &&
         node(weight).shape.elements() <= kPartRows * rows.columns();
}

// Emits `gradient` to run block by block; returns the sum of its parts.
Instruction Planner::in_parts(NodeId weight, Instruction gradient, const Target& target) {
  const auto input = static_cast<std::size_t>(node(gradient.node).op->traits.weight_input);
  const BufferId parts = add_buffer(std::string(target.prefix) + node(weight).name + " parts",
                                    Region::kPartial, node(weight).shape, options_.dtype);
  if (gradient.overwrite == 0) {
    Instruction clear;
    clear.kind = InstructionKind::kClear;
    clear.node = weight;
    clear.row_block = true;
    clear.output = parts;
    emit(clear);
  }
  gradient.input_gradients[input] = parts;
  emit(gradient);
  return sum_of_parts(gradient.node, parts);
}

Instruction Planner::sum_of_parts(NodeId id, BufferId parts) {
  Instruction sum;
  sum.kind = InstructionKind::kPartialSum;
  sum.node = id;
  sum.sums_blocks = true;
  sum.partial = parts;
  sum.cannot_fail = true;
  return sum;
}

void Planner::add_weight_contribution(NodeId id, const Instruction& backward,
                                      const Target& target) {
  const OpDef& op = *node(id).op;
  const std::size_t dtype = dtype_index(options_.dtype);
  const bool derivative = backward.tangents != nullptr;
  Instruction contribution;
  contribution.kind =
      derivative ? InstructionKind::kWeightGradientJvp : InstructionKind::kWeightGradient;
  contribution.weight_function =
      derivative ? op.weight_gradient_jvp[dtype] : op.weight_gradient[dtype];
  if (!derivative) contribution.prepare_weight = prepared(op, op.prepare_weight_gradient);
  contribution.node = id;
  contribution.input_count = backward.input_count;
  contribution.inputs = backward.inputs;
  contribution.output_gradient = backward.output_gradient;
  contribution.tangents = backward.tangents;
  if (op.traits.handles_overwrite) contribution.overwrite = 1U << op.traits.weight_input;
  contribution.cannot_fail = op.weight_gradient_cannot_fail;
  const NodeId weight = node(id).inputs[static_cast<std::size_t>(op.traits.weight_input)];
  if (!derivative && reads_input_once(id, weight)) {
    contribution.row_block = true;
    contribution = in_parts(weight, contribution, target);
  }
  (state(weight).*target.sum).contributions.push_back(contribution);
  (is_row_work(id) ? plan_->flops_per_row : plan_->flops_fixed) += forward_flops(id);
}

BufferId Planner::mirror_of(NodeId id) {
  NodeState& s = state(id);
  if (s.mirror != kNoBuffer) return s.mirror;
  const bool parameter = node(id).kind == NodeKind::kParameter;
  const std::string name = node(id).name + " transposed";
  s.mirror = parameter && is_vector(node(id).shape) ? add_transposed_view(id, name)
                                                    : add_transpose(id, name, s.value, parameter);
  return s.mirror;
}

// One row or one column is its own transpose in memory.
BufferId Planner::add_transposed_view(NodeId id, std::string name) {
  const Shape& shape = node(id).shape;
  const BufferId view = add_buffer(std::move(name), Region::kParameter,
                                   Shape{shape.columns(), shape.rows()}, options_.dtype);
  Buffer& buffer = plan_->buffers.back();
  buffer.offset = plan_->buffers[static_cast<std::size_t>(state(id).value)].offset;
  buffer.node = id;
  return view;
}

BufferId Planner::add_transpose(NodeId id, std::string name, BufferId from, bool of_parameter) {
  const Shape& shape = node(id).shape;
  Instruction transpose;
  transpose.kind = InstructionKind::kTranspose;
  transpose.node = id;
  transpose.input_count = 1;
  transpose.inputs[0] = from;
  transpose.mirror = add_buffer(std::move(name), Region::kFixed,
                                Shape{shape.columns(), shape.rows()}, options_.dtype);
  if (of_parameter) {
    plan_->mirrors.push_back(transpose);
  } else {
    emit(transpose);
  }
  return transpose.mirror;
}

void Planner::emit_tile_groups(NodeId id) {
  NodeState& s = state(id);
  if (s.updated && !may_fuse_update(s.gradient.contributions)) {
    add_tile_group(id, kGradients, false);
    s.gradient.contributions.clear();
  }
  if (s.updated || !s.gradient.contributions.empty()) add_tile_group(id, kGradients, s.updated);
  if (!s.gradient_tangent.contributions.empty()) add_tile_group(id, kGradientTangents, false);
}

// False when another tile could update what a gradient still reads, or when one could throw after
// others have been updated: the gradient then has a phase of its own before the update.
bool Planner::may_fuse_update(const std::vector<Instruction>& contributions) const {
  const auto is_parameter = [&](BufferId input) {
    return input != kNoBuffer &&
           plan_->buffers[static_cast<std::size_t>(input)].region == Region::kParameter;
  };
  return std::all_of(contributions.begin(), contributions.end(), [&](const Instruction& c) {
    return c.cannot_fail && std::none_of(c.inputs.begin(), c.inputs.end(), is_parameter);
  });
}

void Planner::cut_in_tiles(TileGroup& group) const {
  const bool by_columns = std::all_of(
      group.contributions.begin(), group.contributions.end(), [&](const Instruction& c) {
        return c.weight_function != nullptr && node(c.node).op->traits.weight_columns;
      });
  const Index element = size_of(options_.dtype);
  group.tile_columns =
      by_columns ? std::min(group.columns, kTileRowBytes / element) : group.columns;
  group.tile_rows = std::min(group.rows, by_columns ? kTileRows : fitting_rows(group.ld * element));
}

void Planner::add_tile_group(NodeId id, const Target& target, bool update) {
  NodeState& s = state(id);
  Sum& sum = s.*target.sum;
  const Shape& shape = node(id).shape;
  TileGroup group;
  group.node = id;
  group.contributions = sum.contributions;
  group.gradient_holds_sum = sum.written;
  group.rows = shape.rows();
  group.columns = shape.columns();
  group.ld = padded_leading_dimension(group.columns, options_.dtype);
  cut_in_tiles(group);
  if (update) {
    group.update = true;
    group.group = s.group;
    group.parameter = s.value;
  }
  // An updated gradient that nobody else reads lives in the worker's scratch tile only.
  if (!update || s.wanted || sum.written) {
    group.gradient = sum_buffer(id, target);
  } else {
    const Index tile_ld = padded_leading_dimension(group.tile_columns, options_.dtype);
    plan_->tile_scratch_bytes =
        std::max(plan_->tile_scratch_bytes, group.tile_rows * tile_ld * size_of(options_.dtype));
  }
  sum.written = true;
  drafts_.push_back({.kind = PhaseKind::kWeightTiles,
                     .timing = update ? Timing::kUpdate : Timing::kAsap,
                     .instruction = {},
                     .group = std::move(group)});
}

void Planner::emit_update_checks() {
  if (!options_.update) return;
  // Mirrors are complete only now, and an update has to write through to them.
  for (Draft& draft : drafts_) {
    const NodeId id = draft.group.node;
    if (draft.group.update && !is_vector(node(id).shape)) draft.group.mirror = state(id).mirror;
  }
  Instruction check;
  check.kind = InstructionKind::kLossCheck;
  check.node = loss_;
  check.input_count = 1;
  check.inputs[0] = state(loss_).value;
  emit(check);
}

void Planner::emit_commits() {
  if (!options_.update || options_.mode != Mode::kTraining) return;
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) {
    const Node& n = node(id);
    if (!state(id).needed || n.op == nullptr || n.op->traits.state_input < 0) continue;
    Instruction commit;
    commit.kind = InstructionKind::kCommit;
    commit.function = n.op->commit[dtype_index(options_.dtype)];
    commit.node = id;
    commit.input_count = static_cast<int>(n.inputs.size());
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      if (!node(n.inputs[i]).shape.is_batched()) commit.inputs[i] = state(n.inputs[i]).value;
    }
    commit.saved = state(id).saved;
    emit(commit, Timing::kCommit);
  }
}

}  // namespace chainrule::internal
