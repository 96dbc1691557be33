// SPDX-License-Identifier: Apache-2.0
#include "bound_calls.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "draft.hpp"
#include "numeric.hpp"
#include "run.hpp"

namespace chainrule::internal {
namespace {

template <class Visit>
void for_each_call(const PlanData& plan, Visit&& visit) {
  const auto visit_calls = [&](const std::vector<Instruction>& instructions) {
    for (const Instruction& instruction : instructions) {
      if (instruction.call >= 0) visit(instruction);
    }
  };
  for (const Phase& phase : plan.phases) {
    visit_calls(phase.instructions);
    for (const TileGroup& group : phase.groups) visit_calls(group.contributions);
  }
}

bool moves(const Instruction& instruction, const Buffer& buffer) noexcept {
  return instruction.row_block && (buffer.batched || buffer.region == Region::kPartial);
}

// True when the gradient is a sum of parts that nobody else reads: then the first part becomes the
// sum, and is the gradient.
bool is_first_part(const TileGroup& group) noexcept {
  return group.gradient == kNoBuffer && group.contributions.size() == 1 &&
         group.contributions.front().kind == InstructionKind::kPartialSum;
}

}  // namespace

PreparedCall BoundCall::prepare() noexcept {
  if (instruction_->weight_function != nullptr) return prepare_tile(0);
  if (instruction_->prepare != nullptr) return instruction_->prepare(context_);
  return [function = instruction_->function, context = &context_] { function(*context); };
}

PreparedCall BoundCall::prepare_tile(Index first) noexcept {
  const Index count = gradient(weight_input_).rows;
  if (instruction_->prepare_weight != nullptr) {
    return instruction_->prepare_weight(context_, first, count);
  }
  return [function = instruction_->weight_function, context = &context_, first, count] {
    function(*context, first, count);
  };
}

/// Fills in one call.
class CallBinder {
 public:
  CallBinder(const PlanData& plan, const Instruction& instruction, const Address* addresses,
             Index batch_rows, std::vector<Move>& moves)
      : plan_(plan),
        instruction_(instruction),
        addresses_(addresses),
        batch_rows_(batch_rows),
        moves_(moves) {}

  void bind(BoundCall& call, const TileRunner& tiles) {
    const std::size_t first_move = moves_.size();
    call.at_ = {.first = -1};  // move_to() moves
    call.instruction_ = &instruction_;
    if (instruction_.weight_function != nullptr) {
      call.weight_input_ = plan_.weight_input(instruction_);
    }
    bind_values(call.context_, tiles);
    if (instruction_.partial != kNoBuffer) {
      const Address& partial = addresses_[instruction_.partial];
      call.partial_ = partial.base;
      call.partial_bytes_ = instruction_.row_block ? partial.part_bytes : 0;
      call.context_.partial = reinterpret_cast<double*>(partial.base);
    }
    if (call.tangents_ != nullptr) {
      bind_tangents(call.context_, *call.tangents_);
    } else {
      for (std::size_t i = 0; i < kMaxInputs; ++i) {
        place(call.context_.input_gradients[i], instruction_.input_gradients[i]);
      }
    }
    call.output_gradient_ = static_cast<const std::byte*>(call.context_.output_gradient.data);
    if (call.tangents_ != nullptr) {
      call.output_gradient_tangent_ =
          static_cast<const std::byte*>(call.tangents_->output_gradient.data);
    }
    const std::span<Move> moves = std::span(moves_).subspan(first_move);
    const auto others = std::partition(moves.begin(), moves.end(), std::mem_fn(&Move::of_batch));
    call.moves_ = moves;
    call.batch_moves_ = static_cast<std::size_t>(others - moves.begin());
    if (!instruction_.row_block && instruction_.function != nullptr) {
      call.prepared_ = call.prepare();
    }
  }

 private:
  const Buffer& buffer(BufferId id) const { return plan_.buffers[static_cast<std::size_t>(id)]; }

  // Rows of work that runs once: those of the batch, or of inputs without a batch dimension.
  Index own_rows() const {
    const Index rows = plan_.nodes[static_cast<std::size_t>(instruction_.node)].rows;
    return rows == kBatch ? batch_rows_ : rows;
  }

  template <class View>
  void place(View& view, BufferId id) {
    view = {};
    if (id == kNoBuffer) return;
    const Buffer& b = buffer(id);
    const Address& address = addresses_[id];
    view.data = address.base;
    view.dtype = b.dtype;
    view.rows = b.batched ? batch_rows_ : b.rows;
    view.columns = b.columns;
    view.ld = address.ld;
    if (!moves(instruction_, b)) return;
    moves_.push_back({.data = const_cast<const void**>(&view.data),
                      .rows = b.batched ? &view.rows : nullptr,
                      .address = address});
  }

  void bind_values(OpContext& context, const TileRunner& tiles) {
    place(context.output_gradient, instruction_.output_gradient);
    const bool tile = instruction_.weight_function != nullptr;
    context.kernels = &plan_.kernels;
    context.attributes = &plan_.nodes[static_cast<std::size_t>(instruction_.node)].attributes;
    context.dtype = plan_.dtype;
    context.mode = plan_.mode;
    context.input_count = instruction_.input_count;
    context.overwrite = instruction_.overwrite;
    context.first_row = 0;
    context.rows = tile ? context.output_gradient.rows : own_rows();
    context.batch_rows = instruction_.row_block ? batch_rows_ : context.rows;
    context.tiles = &tiles;
    context.algebra = &batch_algebra();
    if (instruction_.workspace != kNoBuffer) {
      context.workspace = reinterpret_cast<double*>(addresses_[instruction_.workspace].base);
    }
    for (std::size_t i = 0; i < kMaxInputs; ++i) {
      place(context.inputs[i], instruction_.inputs[i]);
    }
    place(context.output, instruction_.output);
    place(context.saved, instruction_.saved);
    place(context.mirror, instruction_.mirror);
    if (instruction_.fusion != nullptr) bind_epilogue(context.epilogue, *instruction_.fusion);
  }

  void bind_epilogue(Epilogue& epilogue, const Fusion& fusion) {
    place(epilogue.bias, fusion.bias);
    place(epilogue.source, fusion.source);
    epilogue.function = fusion.function;
    if (fusion.function < 0) return;
    epilogue.attributes = &plan_.nodes[static_cast<std::size_t>(fusion.function_node)].attributes;
  }

  // Where an instruction's gradients go are their tangents.
  void bind_tangents(OpContext& context, TangentOperands& tangents) {
    const TangentBuffers& buffers = *instruction_.tangents;
    for (std::size_t i = 0; i < kMaxInputs; ++i) {
      place(tangents.inputs[i], buffers.inputs[i]);
      place(tangents.input_gradients[i], instruction_.input_gradients[i]);
    }
    place(tangents.output, buffers.output);
    place(tangents.mirror, buffers.mirror);
    place(tangents.output_gradient, buffers.output_gradient);
    context.tangents = &tangents;
  }

  const PlanData& plan_;
  const Instruction& instruction_;
  const Address* addresses_;
  Index batch_rows_;
  std::vector<Move>& moves_;
};

namespace {

BoundTiles::Operands group_operands(const PlanData& plan, const TileGroup& group,
                                    const BoundCalls::Memory& memory) {
  const auto whole = [&](std::byte* data, Index rows, Index columns, Index ld) {
    return TensorView{data, plan.dtype, rows, columns, ld};
  };
  const auto matrix = [&](BufferId id) {
    if (id == kNoBuffer) return TensorView{};
    const Buffer& b = plan.buffers[static_cast<std::size_t>(id)];
    return whole(memory.addresses[id].base, b.rows, b.columns, memory.addresses[id].ld);
  };
  BoundTiles::Operands operands;
  if (is_first_part(group)) {
    operands.gradient = matrix(group.contributions.front().partial);
  } else if (group.gradient != kNoBuffer) {
    operands.gradient = matrix(group.gradient);
  } else {
    operands.gradient = whole(memory.tile_scratch, group.tile_rows, group.tile_columns,
                              padded_leading_dimension(group.tile_columns, plan.dtype));
  }
  if (!group.update) return operands;
  operands.parameter = matrix(group.parameter);
  operands.mirror = matrix(group.mirror);
  const Index offset = plan.buffers[static_cast<std::size_t>(group.parameter)].offset;
  for (int slot = 0; slot < plan.update->state_slots; ++slot) {
    operands.state[static_cast<std::size_t>(slot)] =
        whole(memory.optimizer->slab(slot) + offset, group.rows, group.columns, group.ld);
  }
  return operands;
}

PreparedCall prepare_update(const UpdateDef& def, DType dtype, const UpdateContext& context) {
  const std::size_t index = dtype_index(dtype);
  if (def.prepare[index] != nullptr) return def.prepare[index](context);
  return [apply = def.apply[index], context = &context] { apply(*context); };
}

}  // namespace

BoundCalls::BoundCalls(const PlanData& plan)
    : calls_(static_cast<std::size_t>(plan.calls)), groups_(static_cast<std::size_t>(plan.groups)) {
  std::size_t moving = 0;
  for_each_call(plan, [&](const Instruction& instruction) {
    for_each_operand(instruction, [&](BufferId id, bool) {
      moving += moves(instruction, plan.buffers[static_cast<std::size_t>(id)]) ? 1 : 0;
    });
    if (instruction.tangents != nullptr) {
      calls_[static_cast<std::size_t>(instruction.call)].tangents_ =
          std::make_unique<TangentOperands>();
    }
  });
  moves_.reserve(moving);
  for (const Phase& phase : plan.phases) {
    std::vector<Step>& steps = phases_.emplace_back().steps;
    for (const Instruction& instruction : phase.instructions) {
      steps.emplace_back().instruction = &instruction;
    }
    for (const TileGroup& group : phase.groups) {
      // Each contribution may need its place cleared.
      groups_[static_cast<std::size_t>(group.number)].calls.reserve(2 * group.contributions.size() +
                                                                    2);
    }
  }
}

void BoundCalls::bind(const PlanData& plan, const Memory& memory) noexcept {
  addresses_ = memory.addresses;
  blocks_ = memory.blocks;
  moves_.clear();
  for_each_call(plan, [&](const Instruction& instruction) {
    CallBinder(plan, instruction, memory.addresses, memory.batch_rows, moves_)
        .bind((*this)[instruction], *memory.tiles);
  });
  for (BoundPhase& phase : phases_) {
    phase.at = {.first = -1};
    for (Step& step : phase.steps) {
      const bool calls = step.instruction->only_calls(blocks_);
      step.call = calls ? &(*this)[*step.instruction] : nullptr;
    }
  }
  for (const Phase& phase : plan.phases) {
    for (const TileGroup& group : phase.groups) {
      BoundTiles& tiles = groups_[static_cast<std::size_t>(group.number)];
      tiles.whole = group_operands(plan, group, memory);
      tiles.gradient_of_tile = group.gradient == kNoBuffer && !is_first_part(group);
      tiles.scalars = memory.scalars + group.group * kUpdateScalars;
      tiles.number = -1;
    }
  }
}

void BoundCalls::point_at(const PlanData& plan, const TileGroup& group, Index number,
                          BoundTiles& tiles) noexcept {
  tiles.number = number;
  tiles.calls.clear();
  const Tile tile = group.tile(number);
  tiles.gradient = tiles.whole.gradient;
  if (tiles.gradient_of_tile) {
    tiles.gradient.rows = tile.rows;
    tiles.gradient.columns = tile.columns;
  } else {
    tiles.gradient = tile.of(tiles.gradient);
  }
  if (group.update) {
    tiles.update.kernels = &plan.kernels;
    tiles.update.parameter = tile.of(tiles.whole.parameter);
    tiles.update.gradient = tiles.gradient;
    tiles.update.scalars = tiles.scalars;
    for (std::size_t slot = 0; slot < static_cast<std::size_t>(plan.update->state_slots); ++slot) {
      tiles.update.state[slot] = tile.of(tiles.whole.state[slot]);
    }
  }

  bool accumulate = group.gradient_holds_sum;
  for (const Instruction& contribution : group.contributions) {
    if (contribution.kind == InstructionKind::kPartialSum) {
      add_parts(plan, contribution, tile, accumulate, tiles);
    } else {
      BoundCall& call = (*this)[contribution];
      if (!group.whole_rows()) call.move_to_columns(tile.first_column, tile.columns);
      call.context_.overwrite = accumulate ? 0 : contribution.overwrite;
      call.gradient(call.weight_input_) = tiles.gradient;
      if (group.descends && &contribution == &group.contributions.back()) {
        call.context_.epilogue.descending = tiles.update.parameter;
        call.context_.epilogue.sgd = tiles.scalars;
      }
      if (!accumulate && contribution.overwrite == 0) {
        tiles.calls.emplace_back([gradient = tiles.gradient] { clear_rows(gradient); });
      }
      tiles.calls.push_back(call.prepare_tile(tile.first_row));
    }
    accumulate = true;
  }
  if (!group.update) return;
  if (!group.descends) {
    tiles.calls.push_back(prepare_update(*plan.update, plan.dtype, tiles.update));
  }
  if (group.mirror == kNoBuffer) return;
  by_dtype(plan.dtype, [&](auto zero) {
    using T = decltype(zero);
    tiles.calls.emplace_back(
        [transpose = plan.kernels.get<T>().transpose,
         from = MatrixView<const T>(tiles.update.parameter.as<T>()),
         to = tile.transposed().of(tiles.whole.mirror).as<T>()] { transpose(from, to); });
  });
}

// The tree over the parts of a tile's rows; padding between the rows goes along.
void BoundCalls::add_parts(const PlanData& plan, const Instruction& sum, const Tile& tile,
                           bool accumulate, BoundTiles& tiles) const noexcept {
  const Address& address = addresses_[sum.partial];
  by_dtype(plan.dtype, [&](auto zero) {
    using T = decltype(zero);
    const MatrixView<T> out = tiles.gradient.as<T>();
    if (out.rows == 0) return;
    const MatrixView<T> parts{
        reinterpret_cast<T*>(address.base) + tile.first_row * address.ld + tile.first_column,
        out.rows, out.columns, address.ld};
    const Index stride = address.part_bytes / static_cast<Index>(sizeof(T));
    if (blocks_ != 1) {
      tiles.calls.emplace_back([=, kernels = &plan.kernels.get<T>(), blocks = blocks_] {
        add_in_tree(*kernels, parts.data, stride, blocks,
                    (parts.rows - 1) * parts.ld + parts.columns);
      });
    }
    if (out.data == parts.data) return;
    tiles.calls.emplace_back([=] {
      for (Index i = 0; i < out.rows; ++i) {
        for (Index j = 0; j < out.columns; ++j) {
          out(i, j) = accumulate ? out(i, j) + parts(i, j) : parts(i, j);
        }
      }
    });
  });
}

void BoundCalls::link(const PlanData& plan, const RowWindow& rows, Run* const* run,
                      Chain& chain) noexcept {
  for (const Phase& phase : plan.phases) {
    if (phase.kind == PhaseKind::kRowSegment) move_to(phase, rows, false);
    for (Step& step : phases_[static_cast<std::size_t>(phase.number)].steps) {
      if (step.call == nullptr) {
        step.other = [run, instruction = step.instruction, rows] {
          (*run)->run_instruction(*instruction, rows, 0);
        };
      }
      chain.push_back(step.call != nullptr ? &step.call->prepared() : &step.other);
    }
    for (const TileGroup& group : phase.groups) {
      if (group.count == 0) continue;
      for (const PreparedCall& call : tile(plan, group, 0)) chain.push_back(&call);
    }
  }
}

std::size_t BoundCalls::longest_chain() const noexcept {
  std::size_t calls = 0;
  for (const BoundPhase& phase : phases_) calls += phase.steps.size();
  for (const BoundTiles& tiles : groups_) calls += tiles.calls.capacity();
  return calls;
}

void BoundCalls::draw(const PlanData& plan, RandomKey key) noexcept {
  for_each_call(plan, [&](const Instruction& instruction) {
    (*this)[instruction].context_.random =
        derive(key, static_cast<std::uint64_t>(instruction.node));
  });
}

}  // namespace chainrule::internal
