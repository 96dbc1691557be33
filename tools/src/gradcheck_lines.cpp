// SPDX-License-Identifier: Apache-2.0
#include "gradcheck_lines.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace chainrule::tools {
namespace {

std::string name_in_table(const ValueCheck* value, bool of_model) {
  if (value == nullptr) return "";
  return (of_model ? "" : value->name + " ") + to_string(value->shape);
}

std::optional<GradcheckLine::Worst> worst_in_table(const ElementCheck* element) {
  if (element == nullptr) return std::nullopt;
  return GradcheckLine::Worst{.error = shown_error(*element),
                              .error_bar = element->error_bar,
                              .tolerance = element->tolerance,
                              .over = element->verdict >= Verdict::kUnresolved};
}

GradcheckLine line_of_value(const ValueCheck& value, bool of_model) {
  return {.of = name_in_table(&value, of_model),
          .compared = compared({&value}),
          .worst = worst_in_table(worst_of({&value}).element),
          .verdict = verdict_text(value),
          .good = value.overall_verdict() <= Verdict::kKink};
}

bool nothing_resolved(const ForwardSum& sum) { return sum.unresolved == sum.comparisons(); }

std::string verdict_in_table(const ForwardSum& sum) {
  if (nothing_resolved(sum)) return "unresolved";
  std::string text = sum.disagree == 0
                         ? "agree"
                         : fmt::format("{} of {} disagree", sum.disagree, sum.comparisons());
  if (sum.unresolved > 0) text += fmt::format(", {} unresolved", sum.unresolved);
  return text;
}

std::optional<GradcheckLine::Worst> worst_in_table(const ForwardSum& sum) {
  if (nothing_resolved(sum)) return std::nullopt;
  const ForwardProduct& worst = sum.worst->forward_mode.worst;
  return GradcheckLine::Worst{.error = worst.error,
                              .error_bar = std::nullopt,
                              .tolerance = worst.tolerance,
                              .over = sum.disagree > 0};
}

GradcheckLine line_of_forward_mode(const ForwardSum& sum, bool of_model) {
  return {.of = "jvp " + name_in_table(sum.worst, of_model),
          .compared = {.directions = sum.products, .jacobian = sum.jacobian},
          .worst = worst_in_table(sum),
          .verdict = verdict_in_table(sum),
          .good = sum.disagree == 0};
}

GradcheckLine line_of_second_order(const ValueCheck& value, const Compared& counts, bool of_model) {
  GradcheckLine line = line_of_value(value, of_model);
  line.of = "2nd " + line.of;
  line.compared = counts;
  return line;
}

}  // namespace

bool all_ok(GradcheckGroup group) {
  return std::all_of(group.begin(), group.end(),
                     [](const GradcheckRecord& r) { return r.report.ok(); });
}

std::vector<GradcheckLine> lines_of_group(GradcheckGroup group, bool of_model) {
  const ValueChecks values = gradients_of(group), second = second_order_of(group);
  const WorstElement worst = worst_of(values);
  std::vector<GradcheckLine> lines{{.of = name_in_table(worst.value, of_model),
                                    .compared = compared(values),
                                    .worst = worst_in_table(worst.element),
                                    .verdict = verdict_text(group),
                                    .good = all_ok(group)}};
  const ForwardSum forward = forward_mode_of(values);
  if (forward.disagree > 0) lines.push_back(line_of_forward_mode(forward, of_model));
  const WorstElement worst_second = worst_of(second);
  if (worst_second.value != nullptr && worst_second.element->verdict >= Verdict::kUnresolved) {
    lines.push_back(line_of_second_order(*worst_second.value, compared(second), of_model));
  }
  return lines;
}

std::vector<GradcheckLine> lines_of_check(const GradcheckRecord& record, bool of_model) {
  std::vector<GradcheckLine> lines;
  for (const ValueCheck& value : record.report.values) {
    lines.push_back(line_of_value(value, of_model));
    const ForwardSum forward = forward_mode_of({&value});
    if (forward.worst != nullptr) lines.push_back(line_of_forward_mode(forward, of_model));
  }
  const std::string& without = record.report.without_forward_mode;
  if (!without.empty()) lines.push_back({.of = "jvp", .verdict = "not compared: " + without});
  for (const ValueCheck& value : record.second_order.values) {
    lines.push_back(line_of_second_order(value, compared({&value}), of_model));
  }
  // What is wrong with the check as a whole stands on no gradient's line.
  const bool shown =
      std::any_of(lines.begin(), lines.end(), [](const GradcheckLine& line) { return !line.good; });
  if (!record.report.ok() && !shown)
    lines.push_back({.of = "", .verdict = "failed", .good = false});
  return lines;
}

}  // namespace chainrule::tools
