// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace chainrule::tools {

/// How far a long run is, in one line at the bottom of a terminal: redrawn in place at most ten
/// times a second, gone when the run ends. Silent unless standard output and error are terminals.
class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(std::size_t done, std::size_t total, const std::string& what);
  /// Before something else is printed.
  void clear();

 private:
  bool terminal_;
  std::size_t width_ = 0;  // of the line that stands there now
  std::chrono::steady_clock::time_point drawn_{};
};

}  // namespace chainrule::tools
