// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "gradcheck_report.hpp"
#include "mutant_run.hpp"

namespace chainrule::tools {
namespace {

struct JUnitCase {
  std::string name;
  std::vector<std::string> problems;  // empty: it passed
};

std::string as_markup(const JUnitCase& test, const std::string& suite) {
  std::string text = fmt::format("    <testcase classname=\"gradcheck.mutants.{}\" name=\"{}\"",
                                 escape_markup(suite), escape_markup(test.name));
  if (test.problems.empty()) return text + "/>\n";
  std::string details;
  for (const std::string& problem : test.problems) details += problem + "\n";
  return text + fmt::format(
                    ">\n      <failure type=\"mutants\" message=\"{}\">{}</failure>\n"
                    "    </testcase>\n",
                    escape_markup(test.problems.front()), escape_markup(details));
}

// The op that an alarm's case is of: "relu (at the kink)" is relu's.
bool is_of(const FalseAlarm& alarm, const std::string& op) {
  return alarm.name == op || alarm.name.starts_with(op + " (");
}

std::vector<JUnitCase> cases_of(const MutationReport& report, const std::string& op) {
  std::vector<JUnitCase> cases;
  for (const MutantResult& mutant : report.mutants) {
    if (mutant.op != op || mutant.equivalent) continue;
    const auto known = std::find_if(cases.begin(), cases.end(), [&](const JUnitCase& test) {
      return test.name == to_string(mutant.kind);
    });
    JUnitCase& test = known != cases.end()
                          ? *known
                          : cases.emplace_back(JUnitCase{std::string(to_string(mutant.kind)), {}});
    if (survived(mutant)) test.problems.push_back("survived: " + mutant_text(mutant));
  }
  JUnitCase& undamaged = cases.emplace_back(JUnitCase{"undamaged", {}});
  for (const FalseAlarm& alarm : report.alarms) {
    if (is_of(alarm, op)) undamaged.problems.push_back("false alarm: " + alarm_text(alarm));
  }
  return cases;
}

std::size_t failed(const std::vector<JUnitCase>& cases) {
  return static_cast<std::size_t>(std::count_if(
      cases.begin(), cases.end(), [](const JUnitCase& test) { return !test.problems.empty(); }));
}

std::string suite_of(const MutantCounts& counts, const std::vector<JUnitCase>& cases) {
  std::string text = fmt::format(
      "  <testsuite name=\"mutants.{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"0\">\n"
      "    <properties>\n      <property name=\"caught\" value=\"{}\"/>\n"
      "      <property name=\"total\" value=\"{}\"/>\n"
      "      <property name=\"equivalent\" value=\"{}\"/>\n    </properties>\n",
      escape_markup(counts.name), cases.size(), failed(cases), counts.caught, counts.total,
      counts.equivalent);
  for (const JUnitCase& test : cases) text += as_markup(test, counts.name);
  return text + "  </testsuite>\n";
}

}  // namespace

std::string mutants_junit(const MutantRun& run) {
  std::size_t tests = 0, failures = 0;
  std::string suites;
  for (const MutantCounts& counts : counts_by_op(run.report)) {
    const std::vector<JUnitCase> cases = cases_of(run.report, counts.name);
    tests += cases.size();
    failures += failed(cases);
    suites += suite_of(counts, cases);
  }
  return fmt::format(
             "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"chainrule gradcheck "
             "--mutants\" tests=\"{}\" failures=\"{}\" errors=\"0\" time=\"{:.6f}\">\n",
             tests, failures, run.report.seconds) +
         suites + "</testsuites>\n";
}

}  // namespace chainrule::tools
