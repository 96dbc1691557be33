// SPDX-License-Identifier: Apache-2.0
// Instructions of forward mode, apart from the others so that these stay as short as they were.
#include <utility>

#include "numeric.hpp"
#include "run.hpp"

namespace chainrule::internal {

void Run::call_op_on_tangents(const Instruction& instruction, Index first_row, Index rows,
                              Index block, int worker) {
  OpContext context;
  TangentOperands tangents;
  if (!instruction.row_block) rows = own_rows(instruction);
  fill_context(instruction, first_row, rows, block, worker, context);
  fill_tangents(instruction, block, worker, context, tangents);
  instruction.function(context);
}

void Run::add_tangent(const Instruction& instruction, Index first_row, Index rows, int worker) {
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto sum = window(instruction.output, first_row, rows, 0, worker).as<T>();
    const auto bound = window(instruction.inputs[0], first_row, rows, 0, worker).as<T>();
    plan_.kernels.get<T>().add(sum, bound, sum);
  });
}

// Completes a context of forward mode. Where an instruction's gradients go are their tangents.
void Run::fill_tangents(const Instruction& instruction, Index block, int worker, OpContext& context,
                        TangentOperands& tangents) const noexcept {
  const TangentBuffers& buffers = *instruction.tangents;
  const auto view = [&](BufferId id) {
    return window(id, context.first_row, context.rows, block, worker);
  };
  for (int i = 0; i < instruction.input_count; ++i) {
    const auto n = static_cast<std::size_t>(i);
    tangents.inputs[n] = view(buffers.inputs[n]);
  }
  tangents.output = view(buffers.output);
  tangents.mirror = view(buffers.mirror);
  tangents.output_gradient = view(buffers.output_gradient);
  tangents.input_gradients = std::exchange(context.input_gradients, {});
  context.tangents = &tangents;
}

}  // namespace chainrule::internal
