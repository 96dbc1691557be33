// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "team.hpp"
#include "workspace_data.hpp"

namespace chainrule::internal {

/// One pass of a plan over a batch: the phases in order, the items of each on a team.
class Run {
 public:
  /// The workspace is bound.
  Run(WorkspaceData& workspace, const Bindings::Data& bindings, Team& team) noexcept;

  /// Throws what ops throw, and NonFiniteError from a loss check.
  void execute();
  void run_instruction(const Instruction& instruction, const RowWindow& rows, int worker);

 private:
  struct PhaseCall;  // what a job's items need

  // The first value that is NaN or infinite.
  struct NonFinite {
    std::string name;
    std::string description;
    Index row = 0;
    Index column = 0;
    double value = 0;
  };

  void refresh_mirrors();
  void run_phases();
  void run_row_segment(const Phase& phase);
  void run_whole_batch(const Phase& phase);
  void run_weight_tiles(const Phase& phase);
  void run_stripe(const Phase& phase, Index stripe, int worker);
  void run_blocks(const Phase& phase, Index first_block, Index count, int worker);
  void run_tile(const TileGroup& group, Index number, int worker);

  void call_op(const Instruction& instruction, const RowWindow& rows, int worker);
  void finish(const Instruction& instruction);
  void gather(const Instruction& instruction, const RowWindow& rows, int worker);
  void copy_rows(const Instruction& instruction, const RowWindow& rows, int worker);
  void add_tangent(const Instruction& instruction, const RowWindow& rows, int worker);
  void check_loss(const Instruction& instruction);
  [[noreturn]] void throw_non_finite(const Instruction& check);
  void look_for_non_finite(const Phase& phase, Index block, std::optional<NonFinite>& found);
  std::optional<NonFinite> non_finite_input(const Instruction& instruction,
                                            const RowWindow& rows) const;
  std::optional<NonFinite> run_and_look(const Instruction& instruction, const RowWindow& rows);
  std::optional<NonFinite> non_finite_in(BufferId id, const PlanNode& node,
                                         const RowWindow& rows) const;

  /// Blocks [first, first + count) as rows, in memory of a worker from row `local`.
  RowWindow blocks(Index first, Index count, Index local = 0) const noexcept {
    const Index row = first * partition_.block_rows;
    return {row, std::min(count * partition_.block_rows, partition_.rows - row), first, local};
  }
  /// The whole batch, or what has no rows of the batch.
  RowWindow whole() const noexcept { return {0, partition_.rows, 0, 0}; }
  TensorView window(BufferId buffer, const RowWindow& rows, int worker) const noexcept;

  const Buffer& buffer(BufferId id) const noexcept {
    return plan_.buffers[static_cast<std::size_t>(id)];
  }

  WorkspaceData& workspace_;
  const PlanData& plan_;
  const Bindings::Data& bindings_;
  const Partition& partition_;
  Team& team_;
};

}  // namespace chainrule::internal
