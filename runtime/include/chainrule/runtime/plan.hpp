// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/core/update_def.hpp"
#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule {

namespace internal {
struct PlanData;
}

/// Who multiplies matrices: our kernels (`kFused`), OpenBLAS (`kBlas`), or whoever is faster for a
/// shape among those that keep the bits (`kAuto`). `kFused` and `kAuto` give a row the same bits
/// alone or in any batch; `kBlas` keeps repeatability and thread-count invariance on one OpenBLAS
/// core type. `kAuto` is `kFused` today: OpenBLAS wins by little, where a product is small, and by
/// more than it would cost nowhere; HACKING.md has the table (benchmarks/gemm_paths).
enum class GemmPath : std::uint8_t { kAuto, kFused, kBlas };

/// "auto", "fused" or "blas"; anything else throws ArgumentError.
CHAINRULE_API GemmPath parse_gemm_path(std::string_view name);
CHAINRULE_API std::string_view to_string(GemmPath path) noexcept;

/// Parameters to change at the end of a step, each with the number of its group of scalars.
struct UpdateOptions {
  struct Target {
    Value parameter;
    int group = 0;
  };

  const UpdateDef* def = nullptr;
  std::vector<Target> targets;
};

struct CompileOptions {
  DType dtype = DType::kFloat32;
  Mode mode = Mode::kTraining;
  /// The scalar to differentiate; with an update, also what must be finite.
  Value loss{};
  /// Values to differentiate by a cotangent bound at each run (vector-Jacobian products).
  std::vector<Value> cotangents{};
  /// Values whose gradient (delta) to keep: parameters, inputs or any node between.
  std::vector<Value> gradients{};
  /// Values to keep. The loss is always kept.
  std::vector<Value> outputs{};
  /// Forward mode: values that move in a direction bound at each run (Bindings::tangent). Inputs,
  /// parameters, or nodes between, where the direction is added to what reaches the node; all of
  /// them move at once. Not together with an update.
  std::vector<Value> tangents{};
  /// Values whose derivative along those directions to keep (Jacobian-vector products) ...
  std::vector<Value> output_tangents{};
  /// ... and among `gradients`, those whose derivative to keep: of the loss, products of its
  /// Hessian with the directions (forward over reverse).
  std::vector<Value> gradient_tangents{};
  std::optional<UpdateOptions> update{};
  GemmPath gemm = GemmPath::kAuto;
  /// At most so many rows go through a segment at a time (at least a block does), for what is
  /// sensitive to that: 1 shows ops the smallest windows. 0: Plan::max_stripe_rows(). With kBlas a
  /// block, since OpenBLAS's bits depend on the rows of a call. No other bit depends on it.
  Index stripe_rows = 0;
  /// Batched inputs are read through a row order bound at each run (shuffled mini-batches).
  bool gather = false;
  /// Null: default_kernels().
  const KernelTable* kernels = nullptr;
};

/// A compiled graph: immutable, without weights, shareable between threads. Copies are cheap and
/// share the same plan. The graph must stay alive only while compiling.
class CHAINRULE_API Plan {
 public:
  explicit Plan(std::shared_ptr<const internal::PlanData> data);
  ~Plan();
  Plan(const Plan&);
  Plan& operator=(const Plan&);
  Plan(Plan&&) noexcept;
  Plan& operator=(Plan&&) noexcept;

  DType dtype() const noexcept;
  const KernelTable& kernels() const noexcept;
  /// Peak bytes of a workspace for batches of up to `rows` rows on `threads` threads.
  Index workspace_bytes(Index rows, int threads) const;
  /// Rows of one block when the batch has `rows` rows, a function of `rows` alone. Of more than
  /// 65536 rows it is the least: where all values of the graph take few bytes a row, blocks have up
  /// to four times as many, a function of the graph and of `rows`.
  static Index block_rows(Index rows) noexcept;
  /// The most blocks that any batch of up to `rows` rows is cut into.
  static Index max_blocks(Index rows) noexcept;
  /// The most rows that a worker carries through a segment at a time: some blocks in a row, so that
  /// weights are read seldom. Unlike blocks, how many depends on the threads; no bit does.
  Index max_stripe_rows(Index rows) const noexcept;
  /// Floating-point operations of one run over `rows` rows (forward, backward, weight gradients and
  /// tangents).
  double flops(Index rows) const noexcept;

  /// Phases, instructions and buffers, one a line.
  std::string to_text() const;
  /// The same as a Graphviz digraph.
  std::string to_graphviz() const;

  const internal::PlanData& data() const noexcept { return *data_; }

 private:
  std::shared_ptr<const internal::PlanData> data_;
};

/// Compiles what `options` asks for. Throws ArgumentError when a requested gradient does not
/// influence the loss, no tangent reaches what one is asked of, or a value belongs to another
/// graph; UnsupportedError, naming the op, when the way leads through an op without a gradient or,
/// of a gradient's tangent, without second derivatives.
CHAINRULE_API Plan compile(const Graph& graph, const CompileOptions& options);

}  // namespace chainrule
