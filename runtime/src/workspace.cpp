// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "chainrule/core/error.hpp"
#include "workspace_data.hpp"

namespace chainrule {
namespace internal {
namespace {

Index multiply(Index a, Index b) {
  Index result = 0;
  if (__builtin_mul_overflow(a, b, &result)) {
    throw ArgumentError(
        fmt::format("workspace: {} x {} bytes is more than can be addressed", a, b));
  }
  return result;
}

}  // namespace

Index BatchOp::workspace_bytes(Index rows) const {
  if (workspace == nullptr) return 0;
  const Index doubles = workspace({.inputs = inputs, .attributes = attributes}, rows);
  return (multiply(doubles, size_of(DType::kFloat64)) + kAlignment - 1) / kAlignment * kAlignment;
}

double BatchOp::flops_of(Index rows) const {
  return flops == nullptr ? 0 : passes * flops({.inputs = inputs, .attributes = attributes}, rows);
}

WorkspaceSizes::WorkspaceSizes(const PlanData& plan, Index max_rows, int workers)
    : stripe_rows(plan.max_stripe_rows(max_rows)), fixed(plan.fixed_bytes) {
  blocks = Plan::max_blocks(max_rows);
  batch = multiply(plan.batch_unit_bytes, max_rows);
  partial = multiply(plan.partial_unit_bytes, blocks);
  block = multiply(multiply(plan.block_unit_bytes, stripe_rows), workers);
  tile_scratch = multiply(plan.tile_scratch_bytes, workers);
  tile_scratch = (tile_scratch + kAlignment - 1) / kAlignment * kAlignment;
  for (const BatchOp& op : plan.batch_ops) ops += op.workspace_bytes(max_rows);
}

Partition::Partition(const PlanData& plan, Index rows_, Index workers) noexcept
    : rows(rows_), block_rows(plan.block_rows(rows)), blocks((rows + block_rows - 1) / block_rows) {
  const Index largest = plan.max_stripe_rows(rows);
  const Index fitting = plan.stripe_rows > 0 ? std::min(plan.stripe_rows, largest) : largest;
  stripe_blocks = std::clamp<Index>((blocks + workers - 1) / workers, 1,
                                    std::max<Index>(1, fitting / block_rows));
  stripes = (blocks + stripe_blocks - 1) / stripe_blocks;
}

WorkspaceData::WorkspaceData(const Plan& plan, Index max_rows, int threads)
    : plan_(plan), max_rows_(max_rows), workers_(threads) {
  if (max_rows < 0 || threads < 1) {
    throw ArgumentError(
        fmt::format("Workspace: got {} rows and {} threads, expected rows >= 0 and threads >= 1",
                    max_rows, threads));
  }
  const WorkspaceSizes sizes(data(), max_rows, threads);
  stripe_capacity_ = sizes.stripe_rows;
  blocks_ = sizes.blocks;
  memory_ = Tensor(Shape{sizes.total() / 4 + 1}, DType::kFloat32, Layout::kDense);
  fixed_ = static_cast<std::byte*>(memory_.data());
  batch_ = fixed_ + sizes.fixed;
  partial_ = batch_ + sizes.batch;
  block_ = partial_ + sizes.partial;
  tile_scratch_ = block_ + sizes.block;
  ops_.push_back(tile_scratch_ + sizes.tile_scratch);
  for (const BatchOp& op : data().batch_ops) {
    ops_.push_back(ops_.back() + op.workspace_bytes(max_rows));
  }

  Index widest = 0;
  const auto& buffers = data().buffers;
  addresses_.resize(buffers.size() * static_cast<std::size_t>(workers_));
  for (int worker = 0; worker < workers_; ++worker) {
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      addresses_[static_cast<std::size_t>(worker) * buffers.size() + i] =
          address(buffers[i], worker);
    }
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].region == Region::kInput || buffers[i].region == Region::kParameter) {
      bound_.push_back(static_cast<BufferId>(i));
    }
    if (buffers[i].region == Region::kPartial) widest = std::max(widest, buffers[i].columns);
  }
  reduction_total.resize(static_cast<std::size_t>(widest));
  for (int worker = 0; worker < workers_; ++worker) calls_.emplace_back(data());
  for (const Phase& phase : data().phases) {
    for (const TileGroup& group : phase.groups) one_tile_a_group_ &= group.count <= 1;
  }
  chain_.reserve(calls_.front().longest_chain());
}

Address WorkspaceData::address(const Buffer& buffer, int worker) const noexcept {
  Address result{.ld = buffer.ld};
  switch (buffer.region) {
    case Region::kFixed:
      result.base = fixed_ + buffer.offset;
      break;
    case Region::kBatch:
      result.base = batch_ + buffer.offset * max_rows_;
      result.row_bytes = buffer.row_bytes();
      break;
    case Region::kBlock:
      result.base =
          block_ +
          (static_cast<Index>(worker) * data().block_unit_bytes + buffer.offset) * stripe_capacity_;
      result.local_bytes = buffer.row_bytes();
      break;
    case Region::kPartial:
      result.base = partial_ + buffer.offset * blocks_;
      result.part_bytes = (buffer.unit_bytes() + kAlignment - 1) / kAlignment * kAlignment;
      break;
    case Region::kOp:
      result.base = ops_[static_cast<std::size_t>(buffer.offset)];
      break;
    case Region::kInput:
    case Region::kParameter:
      break;
  }
  return result;
}

Index WorkspaceData::check(const Bindings::Data& bindings) {
  if (bindings.version != checked_version_) {
    checked_rows_ = bindings.check_complete();
    if (checked_rows_ > max_rows_) {
      throw ArgumentError(fmt::format("run: got {} rows, but the workspace was made for up to {}",
                                      checked_rows_, max_rows_));
    }
    checked_version_ = bindings.version;
  }
  return checked_rows_;
}

void WorkspaceData::bind_anew(const Bindings::Data& bindings, Index rows, int workers) noexcept {
  const bool other_rows = rows != partition_.rows;
  if (other_rows || workers != partition_workers_) {
    partition_ = Partition(data(), rows, workers);
    partition_workers_ = workers;
  }
  const bool moved =
      other_rows || bindings.address_version != bound_version_ || !has_slabs_of(bindings);
  if (moved) {
    bind_addresses(bindings);
    bound_version_ = bindings.address_version;
    bound_slabs_ = slabs_of(bindings);
    bound_workers_ = 0;
  }
  if (bindings.random != drawn_) {
    for (int worker = 0; worker < bound_workers_; ++worker) {
      calls_[static_cast<std::size_t>(worker)].draw(data(), bindings.random);
    }
    drawn_ = bindings.random;
  }
  for (; bound_workers_ < workers; ++bound_workers_) {
    BoundCalls& calls = calls_[static_cast<std::size_t>(bound_workers_)];
    calls.bind(data(), {.addresses = addresses(bound_workers_),
                        .tile_scratch = tile_scratch_ + static_cast<Index>(bound_workers_) *
                                                            data().tile_scratch_bytes,
                        .optimizer = bindings.optimizer,
                        .scalars = bindings.scalars.data(),
                        .batch_rows = rows,
                        .blocks = partition_.blocks,
                        .tiles = &tiles});
    calls.draw(data(), drawn_);
  }
  if (moved) link();
}

// A batch of one block and weights of one tile leave nothing to share out.
void WorkspaceData::link() noexcept {
  chain_.clear();
  if (partition_.blocks != 1 || !one_tile_a_group_) return;
  calls_.front().link(data(), {.count = partition_.rows}, &run, chain_);
}

WorkspaceData::Slabs WorkspaceData::slabs_of(const Bindings::Data& bindings) noexcept {
  Slabs slabs{};
  if (bindings.parameters != nullptr) slabs.front() = bindings.parameters->slab();
  const int slots = bindings.optimizer != nullptr ? bindings.optimizer->slots() : 0;
  for (int slot = 0; slot < slots; ++slot) {
    slabs[static_cast<std::size_t>(slot) + 1] = bindings.optimizer->slab(slot);
  }
  return slabs;
}

void WorkspaceData::bind_addresses(const Bindings::Data& bindings) noexcept {
  const auto& buffers = data().buffers;
  for (const BufferId id : bound_) {
    const Buffer& buffer = buffers[static_cast<std::size_t>(id)];
    Address now{.ld = buffer.ld};
    if (buffer.region == Region::kParameter) {
      now.base = const_cast<std::byte*>(bindings.parameters->slab()) + buffer.offset;
    } else {
      const ConstTensorView& view = bindings.inputs[static_cast<std::size_t>(buffer.offset)];
      now.base = static_cast<std::byte*>(const_cast<void*>(view.data));
      now.ld = view.ld;
      now.row_bytes = buffer.batched ? view.ld * size_of(view.dtype) : 0;
    }
    for (int worker = 0; worker < workers_; ++worker) {
      addresses_[static_cast<std::size_t>(worker) * buffers.size() + static_cast<std::size_t>(id)] =
          now;
    }
  }
}

ConstTensorView WorkspaceData::kept(BufferId id) const {
  const Buffer& buffer = data().buffers[static_cast<std::size_t>(id)];
  const Address& address = addresses(0)[id];
  return {address.base, buffer.dtype, buffer.batched ? partition_.rows : buffer.rows,
          buffer.columns, address.ld};
}

}  // namespace internal

Workspace::Workspace(const Plan& plan, Index max_rows, int threads)
    : data_(std::make_unique<internal::WorkspaceData>(plan, max_rows, threads)) {}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;

const Plan& Workspace::plan() const noexcept { return data_->plan(); }
Index Workspace::max_rows() const noexcept { return data_->max_rows(); }

double Workspace::loss() const {
  if (data_->data().loss == internal::kNoBuffer) {
    throw ArgumentError("Workspace::loss: the plan was compiled without a loss");
  }
  return element(data_->kept(data_->data().loss), 0, 0);
}

namespace {

ConstTensorView find_kept(const internal::WorkspaceData& data,
                          const std::vector<internal::KeptValue>& list, Value value,
                          std::string_view what) {
  for (const internal::KeptValue& kept : list) {
    if (value.graph() == data.data().graph && kept.node == value.id())
      return data.kept(kept.buffer);
  }
  throw ArgumentError(fmt::format("Workspace: the plan does not keep the {} of {}", what,
                                  value ? describe(value.node()) : std::string("an empty value")));
}

}  // namespace

ConstTensorView Workspace::output(Value value) const {
  return find_kept(*data_, data_->data().outputs, value, "value");
}

ConstTensorView Workspace::gradient(Value value) const {
  return find_kept(*data_, data_->data().gradients, value, "gradient");
}

ConstTensorView Workspace::tangent(Value value) const {
  return find_kept(*data_, data_->data().tangents, value, "tangent");
}

ConstTensorView Workspace::gradient_tangent(Value value) const {
  return find_kept(*data_, data_->data().gradient_tangents, value, "gradient's tangent");
}

}  // namespace chainrule
