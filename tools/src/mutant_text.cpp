// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "mutant_run.hpp"

namespace chainrule::tools {
namespace {

constexpr std::size_t kMaxShownMutants = 50;

std::string line_of(const MutantCounts& counts, std::size_t names) {
  std::string text =
      fmt::format("{:<{}}  {:>7}  {:>6}", counts.name, names, counts.total, counts.caught);
  for (const MutantDetector detector : kDetectors) {
    text += fmt::format("  {:>{}}", counts.caught_by[static_cast<std::size_t>(detector)],
                        to_string(detector).size());
  }
  return text + fmt::format("  {:>10}\n", counts.equivalent);
}

std::string fate_of(const MutantResult& mutant) {
  if (mutant.equivalent) return "equivalent";
  return mutant.caught() ? "caught by " + detectors_of(mutant) : "SURVIVED";
}

}  // namespace

MutantTable::MutantTable(std::size_t names, bool every_mutant)
    : names_(names), every_mutant_(every_mutant) {}

std::string MutantTable::heading() const {
  std::string text = fmt::format("{:<{}}  mutants  caught", "op", names_);
  for (const MutantDetector detector : kDetectors) text += fmt::format("  {}", to_string(detector));
  return text + "  equivalent\n";
}

std::string MutantTable::lines(const MutationReport& of_one_op) const {
  std::string text;
  for (const MutantCounts& counts : counts_by_op(of_one_op)) text += line_of(counts, names_);
  if (!every_mutant_) return text;
  for (const MutantResult& mutant : of_one_op.mutants) {
    text += fmt::format("  {}: {}\n", mutant_text(mutant), fate_of(mutant));
  }
  return text;
}

std::string mutant_failures_text(const MutationReport& report) {
  std::string text;
  const auto list = [&](const char* what, const std::vector<std::string>& lines) {
    const std::size_t shown = std::min(lines.size(), kMaxShownMutants);
    for (std::size_t i = 0; i < shown; ++i) text += fmt::format("{} {}\n", what, lines[i]);
    if (lines.size() > shown) text += fmt::format("... and {} more\n", lines.size() - shown);
  };
  std::vector<std::string> survivors, alarms;
  for (const MutantResult* mutant : survivors_of(report)) survivors.push_back(mutant_text(*mutant));
  for (const FalseAlarm& alarm : report.alarms) alarms.push_back(alarm_text(alarm));
  list("SURVIVED", survivors);
  list("FALSE ALARM", alarms);
  if (report.total == 0) text += "nothing was damaged\n";
  return text;
}

}  // namespace chainrule::tools
