// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "team.hpp"
#include "workspace_data.hpp"

namespace chainrule::internal {

/// Sets the elements to zero, not the padding.
void clear_rows(const TensorView& view) noexcept;

/// One pass of a plan over a batch: the phases in order, the items of each on a team.
class Run {
 public:
  Run(WorkspaceData& workspace, const Bindings::Data& bindings, Index rows, Team& team) noexcept;

  /// Throws what ops throw, and NonFiniteError from a loss check.
  void execute();

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
  void run_row_segment(const Phase& phase);
  void run_whole_batch(const Phase& phase);
  void run_weight_tiles(const Phase& phase);
  void run_block(const Phase& phase, Index block, int worker);
  void run_tile(const TileGroup& group, Index tile, int worker);

  void run_instruction(const Instruction& instruction, Index first_row, Index rows, Index block,
                       int worker);
  void call_op(const Instruction& instruction, Index first_row, Index rows, Index block,
               int worker);
  void finish(const Instruction& instruction);
  void add_parts(const Instruction& instruction, const TensorView& gradient, bool accumulate,
                 Index first_row) const;
  void contribute(const Instruction& instruction, const TensorView& gradient, bool accumulate,
                  Index first_row, int worker);
  void update_tile(const TileGroup& group, const TensorView& gradient, Index first, int worker);
  void gather(const Instruction& instruction, Index first_row, Index rows, int worker);
  void copy_rows(const Instruction& instruction, Index first_row, Index rows, int worker);
  void add_tangent(const Instruction& instruction, Index first_row, Index rows, int worker);
  void check_loss(const Instruction& instruction);
  [[noreturn]] void throw_non_finite(const Instruction& check);
  void look_for_non_finite(const Phase& phase, Index block, std::optional<NonFinite>& found);
  std::optional<NonFinite> non_finite_input(const Instruction& instruction, Index first_row,
                                            Index rows, Index block) const;
  std::optional<NonFinite> run_and_look(const Instruction& instruction, Index first_row, Index rows,
                                        Index block);
  std::optional<NonFinite> non_finite_in(BufferId id, const PlanNode& node, Index first_row,
                                         Index rows, Index block) const;

  TensorView window(BufferId buffer, Index first_row, Index rows, Index block,
                    int worker) const noexcept;

  const Buffer& buffer(BufferId id) const noexcept {
    return plan_.buffers[static_cast<std::size_t>(id)];
  }

  WorkspaceData& workspace_;
  const PlanData& plan_;
  const Bindings::Data& bindings_;
  Team& team_;
  Index rows_;
  Index block_rows_;
  Index blocks_;
};

}  // namespace chainrule::internal
