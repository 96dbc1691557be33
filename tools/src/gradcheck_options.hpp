// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "chainrule/core/dtype.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "common.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {

/// The files that a run writes beside its table.
struct ReportFiles {
  std::string json;
  std::string junit;
  std::string html;

  std::vector<NamedFile> named() const;
  /// Where the table goes: standard output, unless a report goes there.
  std::ostream& table_stream() const;
};

/// The options of `chainrule gradcheck`, as typed.
struct GradcheckOptions {
  std::vector<std::string> ops;
  std::string dtype;
  std::string arch;
  bool list = false;
  bool mutants = false;
  ModelCheck model;
  ReportFiles reports;
  std::uint64_t seed = 1;
  bool every_check = false;
  bool summary = false;

  void add_to(CLI::App& app);
  bool of_model() const { return !model.model.empty(); }
  /// Of a model, by default, the dtype that sees the smallest errors.
  std::vector<DType> dtypes() const;
  const KernelTable& kernels() const;
  /// Throws UsageError for what CLI11 cannot know to be wrong.
  void validate() const;
};

}  // namespace chainrule::tools
