// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "chainrule/core/error.hpp"
#include "workspace_data.hpp"

namespace chainrule {
namespace {

struct BlockRule {
  Index up_to_rows;
  Index block_rows;
};

// Small enough that several workers share a small batch, large enough that a large one's partial
// sums are little beside it. A function of the batch alone, because those are added block by block.
constexpr std::array<BlockRule, 3> kBlockRules = {{{64, 16}, {256, 32}, {16384, 64}}};
constexpr Index kLargestBlock = 128;

// Weights of a megabyte are read from L3 or memory once a stripe; activations of 128 rows still
// stay in L2.
constexpr Index kLargestStripe = 128;

// Where rows are short, moving every call from block to block and adding up their parts takes much
// of a large batch's time. Its blocks are larger then, as long as half of L2 holds one.
constexpr Index kLargeBatch = 65536;
constexpr Index kNarrowBlock = 512;
constexpr Index kNarrowBytes = 512 * 1024;

constexpr std::array<std::string_view, 3> kGemmNames = {"auto", "fused", "blas"};

}  // namespace

namespace internal {

Index PlanData::block_rows(Index rows) const noexcept {
  Index block = Plan::block_rows(rows);
  if (rows <= kLargeBatch) return block;
  while (block < kNarrowBlock && 2 * block * row_bytes <= kNarrowBytes) block *= 2;
  return block;
}

Index PlanData::max_stripe_rows(Index rows) const noexcept {
  constexpr Index kUnit = kBlockRules[0].block_rows;
  const Index fitting = (std::max<Index>(rows, 1) + kUnit - 1) / kUnit * kUnit;
  return std::max(std::min(fitting, kLargestStripe), block_rows(rows));
}

}  // namespace internal

GemmPath parse_gemm_path(std::string_view name) {
  const auto* found = std::find(kGemmNames.begin(), kGemmNames.end(), name);
  if (found == kGemmNames.end()) {
    throw ArgumentError(fmt::format("unknown GEMM path '{}', expected auto, fused or blas", name));
  }
  return static_cast<GemmPath>(found - kGemmNames.begin());
}

std::string_view to_string(GemmPath path) noexcept {
  return kGemmNames[static_cast<std::size_t>(path)];
}

Plan::Plan(std::shared_ptr<const internal::PlanData> data) : data_(std::move(data)) {}
Plan::~Plan() = default;
Plan::Plan(const Plan&) = default;
Plan& Plan::operator=(const Plan&) = default;
Plan::Plan(Plan&&) noexcept = default;
Plan& Plan::operator=(Plan&&) noexcept = default;

DType Plan::dtype() const noexcept { return data_->dtype; }
const KernelTable& Plan::kernels() const noexcept { return data_->kernels; }

Index Plan::workspace_bytes(Index rows, int threads) const {
  return internal::WorkspaceSizes(*data_, rows, threads).total();
}

Index Plan::block_rows(Index rows) noexcept {
  for (const BlockRule& rule : kBlockRules) {
    if (rows <= rule.up_to_rows) return rule.block_rows;
  }
  return kLargestBlock;
}

Index Plan::max_blocks(Index rows) noexcept {
  const auto blocks = [](Index batch) {
    return (batch + block_rows(batch) - 1) / block_rows(batch);
  };
  Index most = std::max<Index>(1, blocks(rows));
  for (const BlockRule& rule : kBlockRules) {
    most = std::max(most, blocks(std::min(rows, rule.up_to_rows)));
  }
  return most;
}

Index Plan::max_stripe_rows(Index rows) const noexcept { return data_->max_stripe_rows(rows); }

double Plan::flops(Index rows) const noexcept {
  double flops = data_->flops_fixed + data_->flops_per_row * static_cast<double>(rows);
  for (const internal::BatchOp& op : data_->batch_ops) flops += op.flops_of(rows);
  return flops;
}

}  // namespace chainrule
