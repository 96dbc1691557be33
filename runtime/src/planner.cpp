// SPDX-License-Identifier: Apache-2.0
#include "planner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "blas.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "warn_once.hpp"

namespace chainrule::internal {
namespace {

bool is_real(const Node& node) { return node.kind != NodeKind::kIndexInput; }

}  // namespace

Planner::Planner(const Graph& graph, const CompileOptions& options)
    : graph_(graph),
      options_(options),
      plan_(std::make_shared<PlanData>()),
      states_(static_cast<std::size_t>(graph.size())) {}

std::shared_ptr<const PlanData> Planner::build() {
  if (options_.dtype == DType::kInt32) {
    throw ArgumentError("compile: dtype is int32, expected float32 or float64");
  }
  plan_->graph = &graph_;
  plan_->dtype = options_.dtype;
  plan_->mode = options_.mode;
  plan_->gemm = options_.gemm;
  plan_->stripe_rows = options_.gemm == GemmPath::kBlas ? 1 : options_.stripe_rows;
  plan_->gather = options_.gather;
  plan_->kernels = options_.kernels != nullptr ? *options_.kernels : default_kernels();
  if (options_.kernels == nullptr) warn_of_slow_kernels(plan_->kernels.architecture);
  if (options_.gemm == GemmPath::kBlas) use_blas_gemm(plan_->kernels);
  plan_->layout = ParameterLayout(graph_, options_.dtype);
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) add_node(id);

  mark_roots();
  mark_paths();
  mark_reach();
  mark_tangents();
  emit_values();
  emit_seeds();
  emit_gradients();
  emit_update_checks();
  emit_commits();
  keep_results();
  keep_tangents();

  plan_->phases = schedule(std::move(drafts_), plan_->buffers);
  if (options_.gemm != GemmPath::kBlas) fuse_epilogues(*plan_, graph_);
  number_calls();
  assign_memory(*plan_);
  return plan_;
}

void Planner::number_calls() {
  const auto number = [&](std::vector<Instruction>& instructions) {
    for (Instruction& instruction : instructions) {
      if (instruction.calls()) instruction.call = plan_->calls++;
      for_each_operand(instruction, [&](BufferId id, bool) {
        const bool part = plan_->buffers[static_cast<std::size_t>(id)].region == Region::kPartial;
        if (instruction.row_block && part) instruction.block_by_block = true;
      });
    }
  };
  Index phases = 0;
  for (Phase& phase : plan_->phases) {
    phase.number = phases++;
    number(phase.instructions);
    for (TileGroup& group : phase.groups) {
      number(group.contributions);
      group.number = plan_->groups++;
      group.count = group.tiles();
    }
  }
}

void Planner::add_node(NodeId id) {
  const Node& n = node(id);
  PlanNode known{.name = n.name,
                 .description = describe(n),
                 .kind = n.kind,
                 .rows = n.shape.rows(),
                 .weight_input = -1,
                 .attributes = n.attributes};
  if (n.shape.is_batched()) plan_->row_bytes += n.shape.columns() * size_of(options_.dtype);
  if (n.op != nullptr) {
    known.weight_input = n.op->traits.weight_input;
    const bool batched = std::any_of(n.inputs.begin(), n.inputs.end(),
                                     [&](NodeId input) { return node(input).shape.is_batched(); });
    known.rows = batched            ? kBatch
                 : n.inputs.empty() ? n.shape.rows()
                                    : node(n.inputs[0]).shape.rows();
    check_batch(n, batched);
  }
  plan_->nodes.push_back(std::move(known));
}

// Blocks of rows would write the same memory, or none.
void Planner::check_batch(const Node& n, bool batched_inputs) const {
  const OpKind kind = n.op->traits.kind;
  if (kind == OpKind::kWholeBatch) return;
  const bool expected = kind == OpKind::kRowwise && batched_inputs;
  if (n.shape.is_batched() == expected) return;
  throw ShapeError(fmt::format("compile: {} {}, but its op is {}", describe(n),
                               expected ? "has no batch dimension" : "has a batch dimension",
                               kind == OpKind::kRowwise ? "row-wise" : "a batch reduction"));
}

NodeId Planner::check(Value value, std::string_view role) const {
  if (!value || value.graph() != &graph_) {
    throw ArgumentError(fmt::format("compile: {} is {}, expected a value of the compiled graph",
                                    role, value ? "of another graph" : "empty"));
  }
  return value.id();
}

void Planner::mark_roots() {
  if (options_.loss) {
    loss_ = check(options_.loss, "the loss");
    const Shape& shape = node(loss_).shape;
    if (shape.is_batched() || shape.elements() != 1) {
      throw ShapeError(fmt::format("compile: the loss is {}, expected a scalar (reduce it first)",
                                   describe(node(loss_))));
    }
    state(loss_).needed = true;
  }
  for (const Value& value : options_.outputs) state(check(value, "an output")).needed = true;
  for (const Value& value : options_.output_tangents) {
    state(check(value, "a value whose tangent to keep")).needed = true;
  }
  for (const Value& value : options_.cotangents) {
    const NodeId id = check(value, "a value with a cotangent");
    if (std::count(cotangents_.begin(), cotangents_.end(), id) == 0) cotangents_.push_back(id);
    state(id).needed = true;
  }
  for (const Value& value : options_.gradients) {
    state(check(value, "a value to differentiate by")).wanted = true;
  }
  if (options_.update) {
    if (loss_ < 0 || options_.update->def == nullptr) {
      throw ArgumentError("compile: an update needs a loss and an UpdateDef");
    }
    plan_->update = options_.update->def;
    for (const auto& target : options_.update->targets) {
      const NodeId id = check(target.parameter, "a parameter to update");
      if (node(id).kind != NodeKind::kParameter || target.group < 0) {
        throw ArgumentError(
            fmt::format("compile: cannot update {}, expected a parameter and a "
                        "group >= 0",
                        describe(node(id))));
      }
      state(id).updated = true;
      state(id).group = target.group;
      plan_->update_groups = std::max(plan_->update_groups, target.group + 1);
    }
    plan_->writes_parameters = true;
  }
}

void Planner::mark_paths() {
  for (NodeId id = static_cast<NodeId>(graph_.size()) - 1; id >= 0; --id) {
    if (!state(id).needed) continue;
    for (const NodeId input : node(id).inputs) state(input).needed = true;
  }
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) {
    NodeState& s = state(id);
    s.carries = s.wanted || s.updated;
    const Node& n = node(id);
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      s.carries |= differentiable(*n.op, i) && state(n.inputs[i]).carries;
    }
  }
}

void Planner::mark_reach() {
  if (loss_ >= 0) state(loss_).reached = state(loss_).carries;
  for (const NodeId id : cotangents_) state(id).reached = state(id).carries;
  for (NodeId id = static_cast<NodeId>(graph_.size()) - 1; id >= 0; --id) {
    const Node& n = node(id);
    if (!state(id).reached) continue;
    for (std::size_t i = 0; i < n.inputs.size(); ++i) {
      if (!differentiable(*n.op, i) || !state(n.inputs[i]).carries) continue;
      if (!n.op->has_gradient()) {
        throw UnsupportedError(
            fmt::format("compile: {} has no gradient, and one is needed through it", describe(n)));
      }
      state(n.inputs[i]).reached = true;
    }
  }
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) {
    const NodeState& s = state(id);
    if ((s.wanted || s.updated) && !s.reached) {
      throw ArgumentError(fmt::format(
          "compile: the gradient of {} is asked for, but nothing differentiated depends "
          "on it",
          describe(node(id))));
    }
  }
}

BufferId Planner::add_buffer(std::string name, Region region, const Shape& shape, DType dtype) {
  Buffer buffer;
  buffer.name = std::move(name);
  buffer.region = region;
  buffer.dtype = dtype;
  buffer.batched = shape.is_batched();
  buffer.rows = buffer.batched ? kBatch : shape.rows();
  buffer.columns = shape.columns();
  buffer.ld = padded_leading_dimension(buffer.columns, dtype);
  plan_->uses_batch |= buffer.batched;
  plan_->buffers.push_back(std::move(buffer));
  return static_cast<BufferId>(plan_->buffers.size() - 1);
}

BufferId Planner::add_input(NodeId id, std::string name, const Shape& shape, DType dtype,
                            InputRole role) {
  const BufferId buffer = add_buffer(name, Region::kInput, shape, dtype);
  plan_->buffers.back().offset = static_cast<Index>(plan_->inputs.size());
  plan_->buffers.back().node = id;
  plan_->inputs.push_back({.node = id,
                           .name = std::move(name),
                           .dtype = dtype,
                           .batched = shape.is_batched(),
                           .rows = shape.rows(),
                           .columns = shape.columns(),
                           .role = role});
  return buffer;
}

BufferId Planner::sum_buffer(NodeId id, const Target& target) {
  Sum& sum = state(id).*target.sum;
  if (sum.buffer == kNoBuffer) {
    sum.buffer = add_buffer(std::string(target.prefix) + node(id).name, Region::kFixed,
                            node(id).shape, options_.dtype);
  }
  return sum.buffer;
}

void Planner::emit(const Instruction& instruction, Timing timing) {
  drafts_.push_back(
      {.kind = instruction.row_block ? PhaseKind::kRowSegment : PhaseKind::kWholeBatch,
       .timing = timing,
       .instruction = instruction,
       .group = {}});
}

// Row work runs block by block; work of whole-batch ops, and of any op whose inputs have no batch
// dimension, runs once.
bool Planner::is_row_work(NodeId id) const {
  return node(id).op->traits.kind != OpKind::kWholeBatch &&
         plan_->nodes[static_cast<std::size_t>(id)].rows == kBatch;
}

void Planner::emit_values() {
  for (NodeId id = 0; id < static_cast<NodeId>(graph_.size()); ++id) {
    if (!state(id).needed) continue;
    if (node(id).kind == NodeKind::kOp) {
      emit_forward(id);
    } else {
      emit_leaf(id);
    }
    emit_tangent(id);
  }
}

void Planner::emit_leaf(NodeId id) {
  const Node& n = node(id);
  NodeState& s = state(id);
  if (n.kind == NodeKind::kParameter || n.kind == NodeKind::kState) {
    s.value = add_buffer(n.name, Region::kParameter, n.shape, options_.dtype);
    const Index entry = plan_->layout.index_of(id);
    plan_->buffers.back().offset = plan_->layout.entries[static_cast<std::size_t>(entry)].offset;
    plan_->buffers.back().node = id;
    return;
  }
  const DType dtype = is_real(n) ? options_.dtype : DType::kInt32;
  s.value = add_input(id, n.name, n.shape, dtype, InputRole::kValue);
  if (!options_.gather || !n.shape.is_batched()) return;
  Instruction gather;
  gather.kind = InstructionKind::kGather;
  gather.node = id;
  gather.row_block = true;
  gather.input_count = 1;
  gather.inputs[0] = s.value;
  gather.output = s.value = add_buffer(n.name + " rows", Region::kFixed, n.shape, dtype);
  emit(gather);
}

void Planner::emit_forward(NodeId id) {
  const Node& n = node(id);
  NodeState& s = state(id);
  Instruction forward;
  forward.kind = InstructionKind::kForward;
  forward.function = n.op->forward[dtype_index(options_.dtype)];
  forward.prepare = prepared(*n.op, n.op->prepare_forward);
  forward.node = id;
  forward.row_block = is_row_work(id);
  forward.in_place = n.op->traits.output_may_alias_input;
  forward.input_count = static_cast<int>(n.inputs.size());
  std::vector<Shape> shapes;
  for (std::size_t i = 0; i < n.inputs.size(); ++i) {
    forward.inputs[i] = state(n.inputs[i]).value;
    shapes.push_back(node(n.inputs[i]).shape);
  }
  if (n.op->saved != nullptr) {
    const Shape shape = n.op->saved({.inputs = shapes, .attributes = n.attributes});
    s.saved = add_buffer(n.name + " saved", Region::kFixed, shape, options_.dtype);
    forward.saved = s.saved;
  }
  const auto reads_mirror = n.op->forward_reads_mirror[dtype_index(options_.dtype)];
  if (reads_mirror != nullptr && n.op->is_as_defined() &&
      reads_mirror({.inputs = shapes, .attributes = n.attributes}, plan_->kernels)) {
    forward.mirror = mirror_of(n.inputs[static_cast<std::size_t>(n.op->traits.mirror_input)]);
  }
  add_batch_op(id, shapes);
  forward.workspace = s.workspace;
  s.value = add_buffer(n.name, Region::kFixed, n.shape, options_.dtype);
  if (n.op->traits.kind == OpKind::kBatchReduction) {
    forward.partial = add_buffer(n.name + " parts", Region::kPartial, Shape{1, n.shape.columns()},
                                 DType::kFloat64);
    emit(forward);
    emit_reduction_finish(id, forward);
  } else {
    forward.output = s.value;
    emit(forward);
  }
  count_flops(id);
}

// What an op says of the whole batch's memory and work; how much it is, the batch decides.
void Planner::add_batch_op(NodeId id, const std::vector<Shape>& shapes) {
  const OpDef& op = *node(id).op;
  if (op.workspace == nullptr && op.batch_flops == nullptr) return;
  NodeState& s = state(id);
  if (op.workspace != nullptr) {
    s.workspace = add_buffer(node(id).name + " workspace", Region::kOp, Shape{}, DType::kFloat64);
    plan_->buffers.back().offset = std::ssize(plan_->batch_ops);
  }
  // Backward takes about as long as two forwards, a jvp as one.
  const double passes = 1.0 + (s.reached ? 2.0 : 0.0) + (s.tangent_needed ? 1.0 : 0.0);
  plan_->batch_ops.push_back({.inputs = shapes,
                              .attributes = node(id).attributes,
                              .workspace = op.workspace,
                              .flops = op.batch_flops,
                              .passes = passes});
}

void Planner::emit_reduction_finish(NodeId id, const Instruction& forward) {
  Instruction finish = forward;
  finish.kind = InstructionKind::kFinish;
  finish.function = node(id).op->finish[dtype_index(options_.dtype)];
  finish.prepare = prepared(*node(id).op, node(id).op->prepare_finish);
  finish.sums_blocks = forward.row_block;
  finish.row_block = false;
  finish.in_place = false;
  finish.saved = kNoBuffer;
  finish.output = state(id).value;
  if (forward.row_block) {
    for (std::size_t i = 0; i < node(id).inputs.size(); ++i) {
      if (node(node(id).inputs[i]).shape.is_batched()) finish.inputs[i] = kNoBuffer;
    }
  }
  emit(finish);
}

double Planner::forward_flops(NodeId id) const {
  const Node& n = node(id);
  std::vector<Shape> shapes;
  for (const NodeId input : n.inputs) shapes.push_back(node(input).shape);
  const InferContext context{.inputs = shapes, .attributes = n.attributes};
  return n.op->flops_per_row != nullptr ? n.op->flops_per_row(context)
                                        : static_cast<double>(n.shape.columns());
}

void Planner::count_flops(NodeId id) {
  const double flops = forward_flops(id);
  if (is_row_work(id) || node(id).shape.is_batched()) {
    plan_->flops_per_row += flops;
  } else {
    plan_->flops_fixed += flops * static_cast<double>(node(id).shape.rows());
  }
}

void Planner::keep(NodeId id, BufferId buffer, std::vector<KeptValue>& list) {
  plan_->buffers[static_cast<std::size_t>(buffer)].keep = true;
  list.push_back({.node = id, .buffer = buffer});
}

void Planner::keep_results() {
  if (loss_ >= 0) {
    plan_->loss = state(loss_).value;
    keep(loss_, state(loss_).value, plan_->outputs);
  }
  for (const Value& value : options_.outputs) {
    keep(value.id(), state(value.id()).value, plan_->outputs);
  }
  for (const Value& value : options_.gradients) {
    keep(value.id(), gradient_buffer(value.id()), plan_->gradients);
  }
}

}  // namespace chainrule::internal

namespace chainrule {

Plan compile(const Graph& graph, const CompileOptions& options) {
  return Plan(internal::Planner(graph, options).build());
}

}  // namespace chainrule
