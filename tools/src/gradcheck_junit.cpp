// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "chainrule/check/failure_text.hpp"
#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

std::string failure_element(const GradcheckRecord& record) {
  const GradientReport& report = record.report;
  if (report.ok()) return {};
  const std::string message =
      report.failures.empty() ? "nothing was compared" : report.failures.front();
  return fmt::format("      <failure type=\"{}\" message=\"{}\">{}</failure>\n",
                     record.verdict() <= Verdict::kKink ? "failed" : to_string(record.verdict()),
                     escape_markup(message), escape_markup(failure_text(report)));
}

// What was compared of each gradient, and what came of it.
std::string output_element(const GradcheckRecord& record) {
  std::string text = record.report.to_text();
  if (!record.second_order.values.empty()) {
    text += "second order:\n" + record.second_order.to_text();
  }
  if (text.empty()) return {};
  return "      <system-out>" + escape_markup(text) + "</system-out>\n";
}

std::string test_case(const GradcheckRecord& record, const std::string& suite) {
  return fmt::format(
      "    <testcase classname=\"gradcheck.{}\" name=\"{} {}\" time=\"{:.6f}\">\n{}{}"
      "    </testcase>\n",
      escape_markup(suite), escape_markup(record.name), escape_markup(record.shape), record.seconds,
      failure_element(record), output_element(record));
}

std::string property_element(const char* name, const std::string& value) {
  if (value.empty()) return {};
  return fmt::format("      <property name=\"{}\" value=\"{}\"/>\n", name, escape_markup(value));
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
  const std::string properties = property_element("arch", group.front().report.architecture) +
                                 property_element("dtype", dtype) +
                                 property_element("forward mode", forward_mode_text(group)) +
                                 property_element("second order", second_order_text(group));
  return fmt::format(
      "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\" "
      "time=\"{:.6f}\">\n    <properties>\n{}    </properties>\n{}  </testsuite>\n",
      escape_markup(suite), group.size(), failed, seconds, properties, cases);
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
