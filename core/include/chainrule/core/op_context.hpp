// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

struct KernelTable;  // ops/kernels; core only passes the pointer on

/// Training keeps what backward needs, draws dropout masks and uses batch statistics.
enum class Mode : std::uint8_t { kTraining, kInference };

/// The numbers a node carries beside its inputs; each op's header says what its own mean.
struct Attributes {
  std::array<double, 4> real{};
  std::array<Index, 4> integer{};

  bool operator==(const Attributes&) const = default;
};

/// Inputs an op may have.
inline constexpr int kMaxInputs = 8;

/// Runs `body(tile)` for every tile in [0, count), on however many threads there are. Which thread
/// runs a tile is unspecified; a result may not depend on it.
struct TileRunner {
  void* self = nullptr;
  void (*run)(void* self, Index count, void (*body)(void* argument, Index tile),
              void* argument) = nullptr;

  template <class Body>
  void operator()(Index count, Body&& body) const {
    run(
        self, count,
        [](void* argument, Index tile) {
          (*static_cast<std::remove_reference_t<Body>*>(argument))(tile);
        },
        const_cast<void*>(static_cast<const void*>(&body)));
  }
};

/// Cholesky's a = L L^T.
struct Factor {
  double jitter = 0;           ///< what was added to each diagonal element
  double log_determinant = 0;  ///< of a, with the jitter
};

/// Dense linear algebra over the whole batch, float64, by tiles on the threads of a run; filled in
/// by the runtime, whose parallel_linear_algebra.hpp says what each function does and throws. The
/// bits depend on the shapes alone.
struct BatchAlgebra {
  using In = MatrixView<const double>;
  using Out = MatrixView<double>;

  /// c = alpha op(a) op(b) + beta c, op a transpose where the flag says so.
  void (*gemm)(const TileRunner& tiles, double alpha, In a, bool transpose_a, In b,
               bool transpose_b, double beta, Out c) = nullptr;
  /// The lower triangle of c = alpha a a^T + beta c.
  void (*syrk)(const TileRunner& tiles, double alpha, In a, double beta, Out c) = nullptr;
  /// The lower triangle of a becomes L; what is above it keeps its values. `who` is named in the
  /// error.
  Factor (*cholesky)(const TileRunner& tiles, std::string_view who, Out a,
                     double max_jitter) = nullptr;
  /// b becomes (L L^T)^-1 b.
  void (*solve)(const TileRunner& tiles, In l, Out b) = nullptr;
  /// inverse = (L L^T)^-1, both triangles.
  void (*invert)(const TileRunner& tiles, In l, Out inverse) = nullptr;
};

/// What forward mode adds to a call of OpDef::jvp, backward_jvp and weight_gradient_jvp: the
/// derivatives of values and gradients along the direction that the user bound, each with the shape
/// and the window of what it is the tangent of.
struct TangentOperands {
  std::array<ConstTensorView, kMaxInputs> inputs;  ///< data == nullptr: no differentiable input
  TensorView output;                               ///< what jvp() writes
  // The rest is for the derivatives of backward.
  ConstTensorView mirror;  ///< the transpose of the tangent of input OpTraits::mirror_input
  ConstTensorView output_gradient;
  std::array<TensorView, kMaxInputs> input_gradients;  ///< data == nullptr: not wanted
};

/// What a call also does to its result: the work of elementwise ops that the planner has fused into
/// it, see OpTraits::accepts_epilogue.
struct Epilogue {
  ConstTensorView bias;                    ///< first, one number a column; data == nullptr: none
  int function = -1;                       ///< then OpTraits::epilogue_function of an op; -1: none
  const Attributes* attributes = nullptr;  ///< of that op
  ConstTensorView source;  ///< in backward: the function's input or output, whichever it reads
  /// In weight_gradient: these weights, a window of the gradient's shape, take the step of an
  /// UpdateDef::is_plain_sgd with these scalars; what the gradient's memory holds then is
  /// unspecified. data == nullptr: the gradient is stored.
  TensorView descending;
  const double* sgd = nullptr;
};

/// Everything one call of an op's function sees. Plain data, filled in by the executor.
///
/// Batched operands are windows on the rows of this call; operands without a batch dimension are
/// whole. In a backward call the gradients of batched inputs are windows on the same rows, those of
/// inputs without a batch dimension are this call's partial sums.
struct OpContext {
  const KernelTable* kernels = nullptr;
  const Attributes* attributes = nullptr;
  DType dtype = DType::kFloat32;
  Mode mode = Mode::kTraining;
  int input_count = 0;
  std::uint32_t overwrite = 0;  ///< bit i: input_gradients[i] (or its tangent) holds nothing yet
  Index first_row = 0;          ///< position in the batch of this call's first row
  Index rows = 0;               ///< rows of this call
  Index batch_rows = 0;         ///< rows of the whole batch
  RandomKey random;             ///< of this node in this step

  std::array<ConstTensorView, kMaxInputs> inputs;
  TensorView output;
  TensorView saved;        ///< what forward keeps for backward; see OpDef::saved
  ConstTensorView mirror;  ///< the transpose of input OpTraits::mirror_input, where it is read
  ConstTensorView output_gradient;
  std::array<TensorView, kMaxInputs> input_gradients;  ///< data == nullptr: not wanted
  double* partial = nullptr;  ///< batch reductions: sums of this block, one per output column

  Epilogue epilogue;
  const TileRunner* tiles = nullptr;          ///< whole-batch ops only
  const BatchAlgebra* algebra = nullptr;      ///< whole-batch ops only
  double* workspace = nullptr;                ///< of OpDef::workspace doubles, 64-byte aligned
  const TangentOperands* tangents = nullptr;  ///< forward mode only

  template <class T>
  MatrixView<const T> input(int i) const noexcept {
    return inputs[static_cast<std::size_t>(i)].as<T>();
  }
  template <class T>
  MatrixView<T> out() const noexcept {
    return output.as<T>();
  }
  template <class T>
  MatrixView<const T> out_gradient() const noexcept {
    return output_gradient.as<T>();
  }
  template <class T>
  MatrixView<T> in_gradient(int i) const noexcept {
    return input_gradients[static_cast<std::size_t>(i)].as<T>();
  }
  template <class T>
  MatrixView<const T> in_tangent(int i) const noexcept {
    return tangents->inputs[static_cast<std::size_t>(i)].as<T>();
  }
  template <class T>
  MatrixView<T> out_tangent() const noexcept {
    return tangents->output.as<T>();
  }
  template <class T>
  MatrixView<const T> out_gradient_tangent() const noexcept {
    return tangents->output_gradient.as<T>();
  }
  template <class T>
  MatrixView<T> in_gradient_tangent(int i) const noexcept {
    return tangents->input_gradients[static_cast<std::size_t>(i)].as<T>();
  }
  /// The same call with the tangents in place of the values: jvp of a linear op is forward of that.
  OpContext along_tangents() const noexcept {
    OpContext moved = *this;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (tangents->inputs[i].data != nullptr) moved.inputs[i] = tangents->inputs[i];
    }
    moved.output = tangents->output;
    moved.saved = {};
    return moved;
  }
  /// State input i (running statistics) for writing; in commit() only.
  template <class T>
  MatrixView<T> state(int i) const noexcept {
    const MatrixView<const T> view = input<T>(i);
    return {const_cast<T*>(view.data), view.rows, view.columns, view.ld};
  }
  bool wants(int i) const noexcept {
    return input_gradients[static_cast<std::size_t>(i)].data != nullptr;
  }
  bool wants_tangent(int i) const noexcept {
    return tangents->input_gradients[static_cast<std::size_t>(i)].data != nullptr;
  }
  /// True when the gradient of input i (or its tangent) already holds a sum to add to.
  bool accumulates(int i) const noexcept { return ((overwrite >> i) & 1U) == 0; }
};

}  // namespace chainrule
