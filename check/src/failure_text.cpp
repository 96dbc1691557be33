// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/failure_text.hpp"

#include <fmt/format.h>

namespace chainrule {
namespace {

std::string place_in_table(const ElementCheck& e) {
  if (e.row < 0) return "random direction";
  const std::string element = fmt::format("({}, {})", e.row, e.column);
  return e.output < 0 ? element : fmt::format("{} of output {}", element, e.output);
}

std::string verdict_in_table(const ElementCheck& e) {
  const std::string verdict(to_string(e.verdict));
  return e.reason == Reason::kNone ? verdict : fmt::format("{}: {}", verdict, to_string(e.reason));
}

// Which side forward mode takes where differences call a gradient wrong.
std::string forward_mode_of(const ValueCheck& check) {
  const ForwardCheck& forward = check.forward_mode;
  if (check.verdict != Verdict::kDisagree || forward.comparisons() == 0) return {};
  if (forward.disagree > 0) {
    return fmt::format("  forward mode: {} of {} products disagree with backward too\n",
                       forward.disagree, forward.comparisons());
  }
  return fmt::format("  forward mode: all {} products agree with backward\n",
                     forward.comparisons());
}

std::string table_of(const ValueCheck& check) {
  std::string text =
      fmt::format("  {:<20}  {:>19}  {:>19}  {:>10}  {:>10}  {:>9}\n", "element of " + check.name,
                  "backward", "differences", "error", "tolerated", "step");
  for (const ElementCheck& e : check.failures) {
    text += fmt::format("  {:<20}  {:>19.12g}  {:>19.12g}  {:>10.3g}  {:>10.3g}  {:>9.3g}  {}\n",
                        place_in_table(e), e.analytic, e.numeric, e.error, e.tolerance, e.step,
                        verdict_in_table(e));
  }
  text += forward_mode_of(check);
  if (!check.hint.empty()) text += "  hint: " + check.hint + "\n";
  return text;
}

}  // namespace

std::string failure_text(const GradientReport& report) {
  if (report.ok()) return {};
  std::string text;
  for (const std::string& failure : report.failures) text += failure + "\n";
  if (report.values.empty() && report.failures.empty()) text += "nothing was compared\n";
  for (const ValueCheck& check : report.values) {
    if (!check.failures.empty()) text += table_of(check);
  }
  return text;
}

}  // namespace chainrule
