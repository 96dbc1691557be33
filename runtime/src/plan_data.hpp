// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "chainrule/core/graph.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "chainrule/runtime/parameters.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule::internal {

using BufferId = std::int32_t;
inline constexpr BufferId kNoBuffer = -1;

/// Where a buffer's memory comes from.
enum class Region : std::uint8_t {
  kInput,      ///< bound by the caller at each run
  kParameter,  ///< in the bound Parameters
  kFixed,      ///< workspace, one for the run: no batch dimension
  kBatch,      ///< workspace, all rows of the batch
  kBlock,      ///< workspace, one block of rows per worker
  kPartial,    ///< workspace, one per block: sums to be added in a fixed tree
  kOp,         ///< workspace, what a whole-batch op asks for (OpDef::workspace)
};

struct Buffer {
  std::string name;
  NodeId node = -1;  ///< whose value it is, of kInput and kParameter
  Region region = Region::kFixed;
  DType dtype = DType::kFloat32;
  bool batched = false;
  Index rows = 1;  ///< unless batched
  Index columns = 1;
  Index ld = 1;
  /// Bytes from the region's start. For kBatch and kBlock in units of one row of the batch (block),
  /// for kPartial in units of one block; for kInput the input's number, for kOp that among
  /// PlanData::batch_ops.
  Index offset = 0;
  bool keep = false;  ///< read by the caller after the run

  Index row_bytes() const noexcept { return ld * size_of(dtype); }
  /// Bytes of one row of the batch, or of the whole buffer when not batched.
  Index unit_bytes() const noexcept { return batched ? row_bytes() : rows * row_bytes(); }
};

enum class InstructionKind : std::uint8_t {
  kGather,             ///< output = rows of input 0 in the bound order
  kForward,            ///< op forward; a batch reduction writes its partial
  kFinish,             ///< adds a reduction's partials in a tree and calls finish
  kSeed,               ///< output, the gradient of the loss, = 1
  kCotangent,          ///< output, a gradient, = input 0, the cotangent bound for it
  kClear,              ///< output = 0
  kBackward,           ///< op backward
  kTranspose,          ///< mirror = input 0 transposed
  kLossCheck,          ///< throws when the loss is not finite
  kWeightGradient,     ///< op weight_gradient, one tile
  kPartialSum,         ///< adds a row-wise op's partial gradients in a tree
  kCommit,             ///< op commit
  kJvp,                ///< op jvp
  kAddTangent,         ///< output += input 0, the tangent bound for a value in between
  kBackwardJvp,        ///< op backward_jvp; input_gradients are the tangents of those
  kWeightGradientJvp,  ///< op weight_gradient_jvp, one tile
};

/// What an instruction of forward mode has beside its operands: the tangents of some of them.
struct TangentBuffers {
  std::array<BufferId, kMaxInputs> inputs;
  BufferId output = kNoBuffer;  ///< written
  BufferId mirror = kNoBuffer;
  BufferId output_gradient = kNoBuffer;

  TangentBuffers() { inputs.fill(kNoBuffer); }
};

struct Fusion;

struct Instruction {
  InstructionKind kind = InstructionKind::kForward;
  OpFunction function = nullptr;
  WeightGradientFunction weight_function = nullptr;
  PrepareFunction prepare = nullptr;                       ///< of `function`, if there is one
  PrepareWeightGradientFunction prepare_weight = nullptr;  ///< of `weight_function`
  NodeId node = -1;
  int input_count = 0;
  std::uint32_t overwrite = 0;
  bool row_block = false;       ///< runs once per block of rows; else once per batch
  bool in_place = false;        ///< its result may take over the memory of what it replaces
  bool sums_blocks = false;     ///< its partial has one part per block; else one in all
  bool cannot_fail = false;     ///< a contribution to a weight gradient that throws nothing
  bool block_by_block = false;  ///< writes one part a block, so it never runs over several
  Index call = -1;              ///< its number among the plan's calls; -1: it calls no function
  std::array<BufferId, kMaxInputs> inputs;
  std::array<BufferId, kMaxInputs> input_gradients;
  BufferId output = kNoBuffer;
  BufferId saved = kNoBuffer;
  BufferId mirror = kNoBuffer;
  BufferId output_gradient = kNoBuffer;
  BufferId partial = kNoBuffer;
  BufferId workspace = kNoBuffer;  ///< of a whole-batch op
  /// Of kJvp, kBackwardJvp and kWeightGradientJvp; kept apart, so that the others stay small.
  std::shared_ptr<const TangentBuffers> tangents;
  std::shared_ptr<const Fusion> fusion;  ///< what the call does beside its op, if anything

  Instruction() {
    inputs.fill(kNoBuffer);
    input_gradients.fill(kNoBuffer);
  }

  bool calls() const noexcept { return function != nullptr || weight_function != nullptr; }
  /// Nothing is left to do but to call that, in a batch of so many blocks.
  bool only_calls(Index blocks) const noexcept {
    const bool adds_parts = kind == InstructionKind::kFinish && sums_blocks && blocks != 1;
    return calls() && !adds_parts;
  }
};

/// What an instruction does to its result beside its own op.
struct Fusion {
  std::vector<Instruction> replaced;  ///< the instructions that did it, in order
  BufferId bias = kNoBuffer;
  BufferId source = kNoBuffer;
  int function = -1;
  NodeId function_node = -1;
};

/// A window of a matrix.
struct Tile {
  Index first_row = 0;
  Index rows = 0;
  Index first_column = 0;
  Index columns = 0;

  Tile transposed() const noexcept { return {first_column, columns, first_row, rows}; }
  TensorView of(TensorView view) const noexcept {
    view.data = static_cast<std::byte*>(view.data) +
                (first_row * view.ld + first_column) * size_of(view.dtype);
    view.rows = rows;
    view.columns = columns;
    return view;
  }
};

/// The gradient of one value without a batch dimension, computed and consumed tile by tile: the
/// contributions in order, then the update, then the mirror.
struct TileGroup {
  NodeId node = -1;
  std::vector<Instruction> contributions;
  BufferId gradient = kNoBuffer;    ///< kNoBuffer: lives in the worker's tile scratch only
  bool gradient_holds_sum = false;  ///< whole-batch instructions have written it before
  Index rows = 0;
  Index columns = 0;
  Index ld = 0;
  Index tile_rows = 0;
  Index tile_columns = 0;
  Index number = 0;  ///< among the plan's groups
  Index count = 0;   ///< tiles()
  // The update, when there is one.
  bool update = false;
  bool descends = false;  ///< the last contribution takes the step: nothing is left to apply
  int group = 0;
  BufferId parameter = kNoBuffer;
  BufferId mirror = kNoBuffer;

  bool whole_rows() const noexcept { return tile_columns == columns; }
  Index column_tiles() const noexcept { return (columns + tile_columns - 1) / tile_columns; }
  Index tiles() const noexcept {
    if (rows == 0 || columns == 0) return 0;
    return (rows + tile_rows - 1) / tile_rows * column_tiles();
  }
  Tile tile(Index number) const noexcept {
    if (tile_rows == rows && whole_rows()) return {0, rows, 0, columns};
    const Index across = column_tiles();
    const Index row = number / across * tile_rows, column = number % across * tile_columns;
    return {row, std::min(tile_rows, rows - row), column, std::min(tile_columns, columns - column)};
  }
};

enum class PhaseKind : std::uint8_t { kWholeBatch, kRowSegment, kWeightTiles };

struct Phase {
  PhaseKind kind = PhaseKind::kWholeBatch;
  std::vector<Instruction> instructions;  ///< of kWholeBatch and kRowSegment
  std::vector<TileGroup> groups;          ///< of kWeightTiles
  Index tiles = 0;
  Index number = 0;  ///< among the plan's phases
};

/// What a plan remembers of a graph's node.
struct PlanNode {
  std::string name;
  std::string description;
  NodeKind kind = NodeKind::kOp;
  Index rows = 1;         ///< over which its op runs; kBatch for those of the batch
  int weight_input = -1;  ///< see OpTraits
  Attributes attributes;
};

/// What the caller binds for a value.
enum class InputRole : std::uint8_t { kValue, kCotangent, kTangent };

struct PlanInput {
  NodeId node = -1;
  std::string name;
  DType dtype = DType::kFloat32;
  bool batched = false;
  Index rows = 1;
  Index columns = 1;
  InputRole role = InputRole::kValue;
};

/// A whole-batch op of which memory or work depend on the rows of the batch as it says itself.
struct BatchOp {
  std::vector<Shape> inputs;
  Attributes attributes;
  Index (*workspace)(const InferContext&, Index rows) = nullptr;
  double (*flops)(const InferContext&, Index rows) = nullptr;
  double passes = 1;  ///< forward and what follows from it, in units of forward

  Index workspace_bytes(Index rows) const;
  double flops_of(Index rows) const;
};

struct KeptValue {
  NodeId node = -1;
  BufferId buffer = kNoBuffer;
};

struct PlanData {
  const Graph* graph = nullptr;  ///< to recognize values of another graph; may be gone
  DType dtype = DType::kFloat32;
  Mode mode = Mode::kTraining;
  KernelTable kernels;  ///< a copy: its gemm is OpenBLAS's under GemmPath::kBlas
  GemmPath gemm = GemmPath::kAuto;
  Index stripe_rows = 0;  ///< see CompileOptions
  bool gather = false;

  std::vector<PlanNode> nodes;
  std::vector<Buffer> buffers;
  std::vector<PlanInput> inputs;
  ParameterLayout layout;
  std::vector<Phase> phases;
  /// Transposes of parameters, made again when the bound parameters have changed since.
  std::vector<Instruction> mirrors;

  BufferId loss = kNoBuffer;
  std::vector<KeptValue> outputs;
  std::vector<KeptValue> gradients;
  std::vector<KeptValue> tangents;
  std::vector<KeptValue> gradient_tangents;
  const UpdateDef* update = nullptr;
  int update_groups = 0;
  bool writes_parameters = false;
  bool uses_batch = false;  ///< false: no batched value at all

  std::vector<BatchOp> batch_ops;
  Index row_bytes = 0;  ///< of one row of all the graph's values
  double flops_per_row = 0;
  double flops_fixed = 0;
  // Bytes a workspace needs; of kBatch and kBlock per row, of kPartial per block.
  Index fixed_bytes = 0;
  Index batch_unit_bytes = 0;
  Index block_unit_bytes = 0;
  Index partial_unit_bytes = 0;
  Index tile_scratch_bytes = 0;  ///< per worker
  Index calls = 0;               ///< in all phases; each worker has a context for each
  Index groups = 0;              ///< of weight tiles

  Index block_rows(Index rows) const noexcept;       ///< see Plan
  Index max_stripe_rows(Index rows) const noexcept;  ///< see Plan
  std::size_t weight_input(const Instruction& instruction) const noexcept {
    return static_cast<std::size_t>(nodes[static_cast<std::size_t>(instruction.node)].weight_input);
  }
};

}  // namespace chainrule::internal
