// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <span>
#include <vector>

#include "bound_calls.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/plan.hpp"
#include "plan_data.hpp"

namespace chainrule::internal {

/// How the rows of a batch are shared out: in stripes, which are some blocks each.
struct Partition {
  Partition() = default;
  Partition(const PlanData& plan, Index rows, Index workers) noexcept;

  Index rows = 0;
  Index block_rows = 1;
  Index blocks = 0;
  Index stripe_blocks = 1;
  Index stripes = 0;
};

/// A plan's buffers in memory, with one table of addresses per worker: block memory differs.
/// A worker's block memory holds the rows of one stripe (Plan::stripe_rows).
class WorkspaceData {
 public:
  WorkspaceData(const Plan& plan, Index max_rows, int threads);

  const Plan& plan() const noexcept { return plan_; }
  const PlanData& data() const noexcept { return plan_.data(); }
  Index max_rows() const noexcept { return max_rows_; }
  int workers() const noexcept { return workers_; }

  const Address* addresses(int worker) const noexcept {
    return addresses_.data() + static_cast<std::size_t>(worker) * data().buffers.size();
  }
  BoundCall& call(const Instruction& instruction, int worker) noexcept {
    return calls(worker)[instruction];
  }
  BoundCalls& calls(int worker) noexcept { return calls_[static_cast<std::size_t>(worker)]; }
  /// Points the calls of workers 0 to workers - 1 at what is bound for this run of `rows` rows,
  /// unless they do already.
  void bind(const Bindings::Data& bindings, Index rows, int workers) noexcept {
    if (!is_bound(bindings, rows, workers)) bind_anew(bindings, rows, workers);
  }
  /// Calls have been moved one by one: all are bound anew before the next run.
  void forget_bindings() noexcept { bound_version_ = 0; }
  /// Of the current or last run.
  const Partition& partition() const noexcept { return partition_; }
  /// Rows of the batch; throws when something is missing or does not fit. Looks once a change.
  Index check(const Bindings::Data& bindings);

  /// A kept value after a run.
  ConstTensorView kept(BufferId buffer) const;

  /// All that a run on one thread calls; empty where rows or tiles are shared out.
  const Chain& chain() const noexcept { return chain_; }

  Run* run = nullptr;                ///< the current one
  TileRunner tiles;                  ///< of the current run; what whole-batch ops are given
  std::uint64_t mirror_version = 0;  ///< Parameters::version() the mirrors were made from
  /// One per phase worker: sums of a reduction on their way to finish().
  std::vector<double> reduction_total;

 private:
  // Where parameters and optimizer states are: their owners may move them.
  using Slabs = std::array<const std::byte*, 1 + kMaxUpdateSlots>;
  static Slabs slabs_of(const Bindings::Data& bindings) noexcept;
  bool has_slabs_of(const Bindings::Data& bindings) const noexcept;
  bool is_bound(const Bindings::Data& bindings, Index rows, int workers) const noexcept;
  void bind_anew(const Bindings::Data& bindings, Index rows, int workers) noexcept;
  Address address(const Buffer& buffer, int worker) const noexcept;
  void link() noexcept;
  void bind_addresses(const Bindings::Data& bindings) noexcept;

  Plan plan_;
  Index max_rows_;
  int workers_;
  Index stripe_capacity_;
  Index blocks_;
  Tensor memory_;
  std::byte* fixed_ = nullptr;
  std::byte* batch_ = nullptr;
  std::byte* partial_ = nullptr;
  std::byte* block_ = nullptr;
  std::byte* tile_scratch_ = nullptr;
  std::vector<std::byte*> ops_;  ///< by number among PlanData::batch_ops
  std::vector<Address> addresses_;
  std::vector<BufferId> bound_;    ///< buffers whose address changes with the bindings
  std::vector<BoundCalls> calls_;  ///< by worker
  bool one_tile_a_group_ = true;
  Chain chain_;

  // What check() and bind() have seen; versions start at 1.
  std::uint64_t checked_version_ = 0;
  Index checked_rows_ = 0;
  std::uint64_t bound_version_ = 0;
  Slabs bound_slabs_{};
  RandomKey drawn_;
  int bound_workers_ = 0;
  Partition partition_;
  int partition_workers_ = 0;
};

/// Sizes of a workspace's parts in bytes.
struct WorkspaceSizes {
  WorkspaceSizes(const PlanData& plan, Index max_rows, int workers);

  Index stripe_rows = 0;
  Index blocks = 0;
  Index fixed = 0;
  Index batch = 0;
  Index partial = 0;
  Index block = 0;  ///< all workers
  Index tile_scratch = 0;
  Index ops = 0;  ///< what whole-batch ops ask for

  Index total() const noexcept { return fixed + batch + partial + block + tile_scratch + ops; }
};

}  // namespace chainrule::internal

namespace chainrule {

/// What has been bound, already checked.
struct Bindings::Data {
  explicit Data(const Plan& plan_);

  Plan plan;
  std::vector<ConstTensorView> inputs;  ///< by input number; data == nullptr: not bound
  std::vector<bool> bound;
  const Parameters* parameters = nullptr;
  Parameters* mutable_parameters = nullptr;
  OptimizerState* optimizer = nullptr;
  std::span<const double> scalars;
  std::span<const std::uint32_t> row_order;
  bool row_order_bound = false;
  Index largest_row = -1;  ///< of row_order
  RandomKey random;
  std::uint64_t version = 0;          ///< of all but the random key; no two bindings share one
  std::uint64_t address_version = 0;  ///< of what contexts point at

  void changed() noexcept;
  void moved() noexcept;

  /// Rows of the batch; throws ArgumentError or ShapeError when something is missing or the batched
  /// inputs disagree.
  Index check_complete() const;
};

namespace internal {

inline bool WorkspaceData::has_slabs_of(const Bindings::Data& bindings) const noexcept {
  const Parameters* const parameters = bindings.parameters;
  if (parameters != nullptr && parameters->slab() != bound_slabs_.front()) return false;
  const int slots = bindings.optimizer != nullptr ? bindings.optimizer->slots() : 0;
  for (int slot = 0; slot < slots; ++slot) {
    const std::byte* const bound = bound_slabs_[static_cast<std::size_t>(slot) + 1];
    if (bindings.optimizer->slab(slot) != bound) return false;
  }
  return true;
}

inline bool WorkspaceData::is_bound(const Bindings::Data& bindings, Index rows,
                                    int workers) const noexcept {
  return bindings.address_version == bound_version_ && rows == partition_.rows &&
         workers == partition_workers_ && workers <= bound_workers_ && bindings.random == drawn_ &&
         has_slabs_of(bindings);
}

}  // namespace internal
}  // namespace chainrule
