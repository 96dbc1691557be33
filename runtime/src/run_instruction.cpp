// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstring>

#include "numeric.hpp"
#include "run.hpp"

namespace chainrule::internal {
namespace {

void copy_row(const void* from, void* to, Index bytes) {
  std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

}  // namespace

void Run::run_instruction(const Instruction& instruction, const RowWindow& rows, int worker) {
  switch (instruction.kind) {
    case InstructionKind::kForward:
    case InstructionKind::kBackward:
    case InstructionKind::kCommit:
    case InstructionKind::kJvp:
    case InstructionKind::kBackwardJvp:
    case InstructionKind::kSeed:
    case InstructionKind::kWeightGradient:  // of one block; else part of a tile
      call_op(instruction, rows, worker);
      break;
    case InstructionKind::kAddTangent:
      add_tangent(instruction, rows, worker);
      break;
    case InstructionKind::kFinish:
      finish(instruction);
      break;
    case InstructionKind::kGather:
      gather(instruction, rows, worker);
      break;
    case InstructionKind::kCotangent:
      copy_rows(instruction, rows, worker);
      break;
    case InstructionKind::kClear:
      clear_rows(window(instruction.output, rows, worker));
      break;
    case InstructionKind::kTranspose:
      by_dtype(plan_.dtype, [&](auto zero) {
        using T = decltype(zero);
        plan_.kernels.get<T>().transpose(window(instruction.inputs[0], {}, worker).as<T>(),
                                         window(instruction.mirror, {}, worker).as<T>());
      });
      break;
    case InstructionKind::kLossCheck:
      check_loss(instruction);
      break;
    case InstructionKind::kWeightGradientJvp:
    case InstructionKind::kPartialSum:
      break;  // part of a tile
  }
}

void Run::call_op(const Instruction& instruction, const RowWindow& rows, int worker) {
  BoundCall& call = workspace_.call(instruction, worker);
  if (instruction.row_block) call.move_to(rows);
  call.run();
}

void Run::finish(const Instruction& instruction) {
  const Address& address = workspace_.addresses(0)[instruction.partial];
  add_in_tree(plan_.kernels.f64, reinterpret_cast<double*>(address.base),
              address.part_bytes / static_cast<Index>(sizeof(double)),
              instruction.sums_blocks ? partition_.blocks : 1, buffer(instruction.partial).columns);
  workspace_.call(instruction, 0).run();
}

void Run::gather(const Instruction& instruction, const RowWindow& rows, int worker) {
  const TensorView from = window(instruction.inputs[0], {}, worker);
  const TensorView to = window(instruction.output, rows, worker);
  const Index element = size_of(to.dtype);
  for (Index i = 0; i < rows.count; ++i) {
    const Index row = bindings_.row_order[static_cast<std::size_t>(rows.first + i)];
    copy_row(static_cast<const std::byte*>(from.data) + row * from.ld * element,
             static_cast<std::byte*>(to.data) + i * to.ld * element, to.columns * element);
  }
}

void Run::copy_rows(const Instruction& instruction, const RowWindow& rows, int worker) {
  const TensorView from = window(instruction.inputs[0], rows, worker);
  const TensorView to = window(instruction.output, rows, worker);
  const Index element = size_of(to.dtype);
  for (Index i = 0; i < to.rows; ++i) {
    copy_row(static_cast<const std::byte*>(from.data) + i * from.ld * element,
             static_cast<std::byte*>(to.data) + i * to.ld * element, to.columns * element);
  }
}

void Run::add_tangent(const Instruction& instruction, const RowWindow& rows, int worker) {
  by_dtype(plan_.dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto sum = window(instruction.output, rows, worker).as<T>();
    const auto bound = window(instruction.inputs[0], rows, worker).as<T>();
    plan_.kernels.get<T>().add(sum, bound, sum);
  });
}

void Run::check_loss(const Instruction& instruction) {
  const void* const loss = workspace_.addresses(0)[instruction.inputs[0]].base;
  bool finite = false;
  by_dtype(plan_.dtype,
           [&](auto zero) { finite = std::isfinite(*static_cast<const decltype(zero)*>(loss)); });
  if (!finite) throw_non_finite(instruction);
}

}  // namespace chainrule::internal
