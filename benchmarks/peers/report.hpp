// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "contest.hpp"
#include "figures.hpp"

namespace chainrule::bench {

/// Everything that was measured, and where.
struct Report {
  std::string cpu;
  int cores = 1;
  std::string commit;  ///< that was built; empty when unknown
  std::string compiler;
  std::string flags;  ///< of our library but its kernels
  std::string command;
  Settings settings;
  std::vector<std::string> names{};  ///< of the programs, ours first
  std::vector<Outcome> outcomes{};

  /// All that was started agreed and was timed, or has no such workload.
  bool ok() const;
};

/// "1 and 2 threads".
std::string format_threads(const std::vector<int>& threads);

std::string as_table(const Report& report);
std::string as_json(const Report& report);
std::string as_csv(const Report& report);
/// A chart of the ratios, peers' times to ours.
std::string as_svg(const Report& report);

}  // namespace chainrule::bench
