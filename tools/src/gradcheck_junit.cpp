// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "chainrule/check/failure_text.hpp"
#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

std::string test_case(const GradcheckRecord& record, const std::string& suite) {
  std::string text =
      fmt::format("    <testcase classname=\"gradcheck.{}\" name=\"{} {}\" time=\"{:.6f}\"",
                  escape_markup(suite), escape_markup(record.name), escape_markup(record.shape),
                  record.seconds);
  const GradientReport& report = record.report;
  if (report.ok()) return text + "/>\n";
  const std::string message =
      report.failures.empty() ? "nothing was compared" : report.failures.front();
  return text +
         fmt::format(">\n      <failure type=\"{}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                     report.verdict() <= Verdict::kKink ? "failed" : to_string(report.verdict()),
                     escape_markup(message), escape_markup(failure_text(report)));
}

std::string test_suite(GradcheckGroup group) {
  const std::string dtype(to_string(group.front().report.dtype));
  const std::string suite = group.front().subject + "." + dtype;
  std::size_t failed = 0;
  double seconds = 0;
  std::string cases;
  for (const GradcheckRecord& record : group) {
    failed += record.report.ok() ? 0 : 1;
    seconds += record.seconds;
    cases += test_case(record, suite);
  }
  return fmt::format(
             "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" "
             "time=\"{:.6f}\">\n    <properties>\n      <property name=\"arch\" value=\"{}\"/>\n"
             "      <property name=\"dtype\" value=\"{}\"/>\n    </properties>\n",
             escape_markup(suite), group.size(), failed, seconds,
             escape_markup(group.front().report.architecture), dtype) +
         cases + "  </testsuite>\n";
}

}  // namespace

std::string gradcheck_junit(const GradcheckRun& run) {
  std::string text = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"chainrule gradcheck\" "
      "tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{:.6f}\">\n",
      run.records.size(), run.failed(), run.seconds);
  for (const GradcheckGroup group : groups_of(run)) text += test_suite(group);
  return text + "</testsuites>\n";
}

}  // namespace chainrule::tools
