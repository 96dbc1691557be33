// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "gradcheck_run.hpp"

namespace chainrule::tools {

/// A line of the tables, in the terminal and on the page.
struct GradcheckLine {
  struct Worst {
    double error;
    std::optional<double> error_bar;  ///< forward mode has none
    double tolerance;
    bool over;  ///< it is no agreement
  };

  /// "x [2, 3]"; "jvp x [2, 3]" where backward was compared with forward mode, "2nd x [2, 3]" where
  /// second derivatives were compared with differences.
  std::string of;
  Compared compared{};
  std::optional<Worst> worst{};
  std::string verdict;
  bool good = true;
};

/// The worst gradient of a group; further lines for forward mode and second order if they disagree.
std::vector<GradcheckLine> lines_of_group(GradcheckGroup group, bool of_model);
/// Every gradient of a check, in each way in which it was compared; also why there was no forward
/// mode.
std::vector<GradcheckLine> lines_of_check(const GradcheckRecord& record, bool of_model);

/// Every check of a group agrees.
bool all_ok(GradcheckGroup group);

}  // namespace chainrule::tools
