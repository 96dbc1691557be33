// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "gradcheck_lines.hpp"
#include "gradcheck_run.hpp"

namespace chainrule::tools {

/// The lines of the terminal's table. Each is complete as it stands, so that they may be printed
/// one by one while the run goes on.
class GradcheckTable {
 public:
  /// `names` is the width of the first column. With `every_check` lines for each gradient of each
  /// check, else one for each group, and more where forward mode or second order disagrees.
  GradcheckTable(bool of_model, std::size_t names, bool every_check);

  std::string heading() const;
  std::string lines(GradcheckGroup group) const;

 private:
  std::string line(const std::string& name, DType dtype, const GradcheckLine& line) const;

  bool of_model_;
  std::size_t names_;
  bool every_check_;
};

/// The lines below the table: what came of forward mode and second order altogether.
std::string totals_text(const GradcheckRun& run);

/// Every failed check with its worst elements and hint, at most 20.
std::string failures_text(const GradcheckRun& run);

// Whole files.
std::string gradcheck_json(const GradcheckRun& run);
/// A page without anything outside it.
std::string gradcheck_html(const GradcheckRun& run);
/// JUnit's XML as continuous-integration systems read it: a suite for each group.
std::string gradcheck_junit(const GradcheckRun& run);

/// Text for XML and HTML, in attributes too: escaped, and what neither may hold (control
/// characters, bytes that are not UTF-8) replaced by U+FFFD.
std::string escape_markup(std::string_view text);

}  // namespace chainrule::tools
