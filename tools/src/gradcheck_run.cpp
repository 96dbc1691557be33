// SPDX-License-Identifier: Apache-2.0
#include "gradcheck_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "common.hpp"

namespace chainrule::tools {
namespace {

bool is_worse(const ElementCheck& a, const ElementCheck& b) {
  // Kinks come first here: what they allow is the distance of their slopes.
  const auto rank = [](const ElementCheck& e) {
    return e.verdict == Verdict::kKink ? -1 : static_cast<int>(e.verdict);
  };
  if (rank(a) != rank(b)) return rank(a) > rank(b);
  return a.error * b.tolerance > b.error * a.tolerance;
}

void add(Compared& sum, const ValueCheck& value) {
  sum.elements += value.elements + value.float32_only;
  sum.directions += value.directions;
  sum.jacobian += value.jacobian;
  sum.unseen += value.unseen;
  sum.kinks += value.kinks;
  sum.waived += value.waived;
  const bool known =
      std::find(sum.waivers.begin(), sum.waivers.end(), value.name) != sum.waivers.end();
  if (value.waived > 0 && !known) sum.waivers.push_back(value.name);
}

std::string agreement_text(const Compared& counts) {
  std::string text = "agree";
  if (counts.kinks > 0) {
    text += fmt::format(", {} kink{}", counts.kinks, counts.kinks == 1 ? "" : "s");
  }
  if (counts.unseen > 0) text += fmt::format(", {} unseen", counts.unseen);
  if (counts.waived > 0) {
    text += fmt::format(", {} waived by {}", counts.waived, joined(counts.waivers));
  }
  return text;
}

std::string outcome_text(Index count, const char* what, Index disagree, Index unresolved) {
  std::string text = counted(count, what);
  if (disagree > 0) text += fmt::format(", {} disagree", disagree);
  if (unresolved > 0) text += fmt::format(", {} unresolved", unresolved);
  return text;
}

std::string worst_text(double error, double tolerance) {
  return fmt::format(", worst error {:.2g} of {:.2g}", error, tolerance);
}

}  // namespace

std::size_t GradcheckRun::failed() const {
  return static_cast<std::size_t>(std::count_if(
      records.begin(), records.end(), [](const GradcheckRecord& r) { return !r.report.ok(); }));
}

std::vector<GradcheckGroup> groups_of(const GradcheckRun& run) {
  std::vector<GradcheckGroup> groups;
  const std::span<const GradcheckRecord> all(run.records);
  for (std::size_t first = 0, end = 0; first < all.size(); first = end) {
    const auto same = [&](const GradcheckRecord& r) {
      return r.subject == all[first].subject && r.report.dtype == all[first].report.dtype;
    };
    while (end < all.size() && same(all[end])) ++end;
    groups.push_back(all.subspan(first, end - first));
  }
  return groups;
}

Verdict GradcheckRecord::verdict() const {
  const Verdict first = report.verdict();
  return second_order.values.empty() ? first : std::max(first, second_order.verdict());
}

ValueChecks gradients_of(GradcheckGroup group) {
  ValueChecks values;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.report.values) values.push_back(&value);
  }
  return values;
}

ValueChecks second_order_of(GradcheckGroup group) {
  ValueChecks values;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.second_order.values) values.push_back(&value);
  }
  return values;
}

WorstElement worst_of(const ValueChecks& values) {
  WorstElement worst;
  for (const ValueCheck* const value : values) {
    if (value->comparisons() == 0) continue;
    if (worst.element != nullptr && !is_worse(value->worst, *worst.element)) continue;
    worst = {value, &value->worst};
  }
  return worst;
}

double shown_error(const ElementCheck& element) {
  if (element.verdict != Verdict::kKink) return element.error;
  const auto [low, high] = std::minmax(element.left_slope, element.right_slope);
  return std::max({0.0, low - element.analytic, element.analytic - high});
}

Compared compared(const ValueChecks& values) {
  Compared sum;
  for (const ValueCheck* const value : values) add(sum, *value);
  return sum;
}

double share_of(double error, double tolerance) {
  if (tolerance > 0) return error / tolerance;
  return error > 0 ? HUGE_VAL : 0;
}

ForwardSum forward_mode_of(const ValueChecks& values) {
  ForwardSum sum;
  double largest = 0;
  for (const ValueCheck* const value : values) {
    const ForwardCheck& forward = value->forward_mode;
    if (forward.comparisons() == 0) continue;
    sum.products += forward.products;
    sum.jacobian += forward.jacobian;
    sum.disagree += forward.disagree;
    sum.unresolved += forward.unresolved;
    const double share = share_of(forward.worst.error, forward.worst.tolerance);
    if (sum.worst == nullptr || share > largest) {
      largest = share;
      sum.worst = value;
    }
  }
  return sum;
}

std::string forward_mode_text(GradcheckGroup group) {
  const ForwardSum sum = forward_mode_of(gradients_of(group));
  std::string text = outcome_text(sum.comparisons(), "product", sum.disagree, sum.unresolved);
  if (sum.comparisons() > sum.unresolved) {
    const ForwardProduct& worst = sum.worst->forward_mode.worst;
    text += worst_text(worst.error, worst.tolerance);
  }
  const auto is_without = [](const GradcheckRecord& r) {
    return !r.report.without_forward_mode.empty();
  };
  const auto without = std::count_if(group.begin(), group.end(), is_without);
  if (without == 0) return text;
  const auto first = std::find_if(group.begin(), group.end(), is_without);
  return text + fmt::format("; {} without: {}", counted(without, "check"),
                            first->report.without_forward_mode);
}

std::string second_order_text(GradcheckGroup group) {
  const ValueChecks values = second_order_of(group);
  Index comparisons = 0, disagree = 0, unresolved = 0;
  for (const ValueCheck* const value : values) {
    comparisons += value->comparisons();
    disagree += value->disagree;
    unresolved += value->unresolved;
  }
  const WorstElement worst = worst_of(values);
  if (worst.element == nullptr) return {};
  return outcome_text(comparisons, "comparison", disagree, unresolved) +
         worst_text(shown_error(*worst.element), worst.element->tolerance);
}

std::string elements_text(const Compared& compared) {
  return compared.directions == 0 ? fmt::format("{}", compared.elements)
                                  : fmt::format("{}+{}", compared.elements, compared.directions);
}

std::vector<std::string> properties_of(GradcheckGroup group) {
  std::vector<std::string> all;
  for (const GradcheckRecord& record : group) {
    for (const std::string& property : record.properties) {
      if (std::find(all.begin(), all.end(), property) == all.end()) all.push_back(property);
    }
  }
  return all;
}

std::string verdict_text(const ValueCheck& value) {
  const Verdict verdict = value.overall_verdict();
  if (value.comparisons() == 0) return "nothing was compared";
  if (verdict <= Verdict::kKink) return agreement_text(compared({&value}));
  if (verdict != value.verdict && value.forward_mode.disagree > 0) {
    return fmt::format("forward mode: {} of {} disagree", value.forward_mode.disagree,
                       value.forward_mode.comparisons());
  }
  const Index count =
      verdict == Verdict::kDisagree ? value.disagree : value.unresolved - value.waived;
  const std::string text =
      fmt::format("{} of {} {}", count, value.comparisons(), to_string(verdict));
  const Reason reason = value.worst.reason;
  return reason == Reason::kNone ? text : fmt::format("{} ({})", text, to_string(reason));
}

std::string verdict_text(GradcheckGroup group) {
  std::size_t failed = 0;
  Verdict verdict = Verdict::kAgree;
  for (const GradcheckRecord& record : group) {
    if (record.report.ok()) continue;
    ++failed;
    verdict = std::max(verdict, record.verdict());
  }
  if (failed == 0) return agreement_text(compared(gradients_of(group)));
  const std::string what(verdict <= Verdict::kKink ? "failed" : to_string(verdict));
  if (group.size() > 1) return fmt::format("{} of {} {}", failed, group.size(), what);
  const std::vector<ValueCheck>& values = group.front().report.values;
  const bool is_its = values.size() == 1 && values.front().overall_verdict() > Verdict::kKink;
  return is_its ? verdict_text(values.front()) : what;
}

}  // namespace chainrule::tools
