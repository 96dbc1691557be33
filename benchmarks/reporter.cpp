// SPDX-License-Identifier: Apache-2.0
#include "reporter.hpp"

namespace chainrule::bench {

bool CheckedReporter::ReportContext(const Context& context) {
  reporter_.SetOutputStream(&GetOutputStream());
  reporter_.SetErrorStream(&GetErrorStream());
  return reporter_.ReportContext(context);
}

void CheckedReporter::ReportRuns(const std::vector<Run>& runs) {
  std::vector<Run> reported = runs;
  for (Run& run : reported) {
    if (!run.error_occurred) continue;
    had_errors_ = true;
    if (has_bits_) run.counters["bits_ok"] = 0;
  }
  reporter_.ReportRuns(reported);
}

void CheckedReporter::Finalize() {
  reporter_.Finalize();
  is_lost_ = !GetOutputStream().flush();
}

std::unique_ptr<benchmark::BenchmarkReporter> make_file_reporter(std::string_view format) {
  using benchmark::ConsoleReporter;
  if (format == "console") return std::make_unique<ConsoleReporter>(ConsoleReporter::OO_None);
  if (format == "csv") {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    return std::make_unique<benchmark::CSVReporter>();
#pragma GCC diagnostic pop
  }
  return std::make_unique<benchmark::JSONReporter>();
}

}  // namespace chainrule::bench
