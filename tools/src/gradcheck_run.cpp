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
  if (counts.waived > 0) {
    text += fmt::format(", {} waived by {}", counts.waived, joined(counts.waivers));
  }
  return text;
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

WorstElement worst_of(GradcheckGroup group) {
  WorstElement worst;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.report.values) {
      if (value.comparisons() == 0) continue;
      if (worst.element != nullptr && !is_worse(value.worst, *worst.element)) continue;
      worst = {&value, &value.worst};
    }
  }
  return worst;
}

double shown_error(const ElementCheck& element) {
  if (element.verdict != Verdict::kKink) return element.error;
  const auto [low, high] = std::minmax(element.left_slope, element.right_slope);
  return std::max({0.0, low - element.analytic, element.analytic - high});
}

Compared compared(GradcheckGroup group) {
  Compared sum;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.report.values) add(sum, value);
  }
  return sum;
}

Compared compared(const ValueCheck& value) {
  Compared sum;
  add(sum, value);
  return sum;
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
  if (value.verdict <= Verdict::kKink) return agreement_text(compared(value));
  const Index count =
      value.verdict == Verdict::kDisagree ? value.disagree : value.unresolved - value.waived;
  const std::string text =
      fmt::format("{} of {} {}", count, value.comparisons(), to_string(value.verdict));
  const Reason reason = value.worst.reason;
  return reason == Reason::kNone ? text : fmt::format("{} ({})", text, to_string(reason));
}

std::string verdict_text(GradcheckGroup group) {
  std::size_t failed = 0;
  Verdict verdict = Verdict::kAgree;
  for (const GradcheckRecord& record : group) {
    if (record.report.ok()) continue;
    ++failed;
    verdict = std::max(verdict, record.report.verdict());
  }
  if (failed == 0) return agreement_text(compared(group));
  const std::string what(verdict <= Verdict::kKink ? "failed" : to_string(verdict));
  if (group.size() > 1) return fmt::format("{} of {} {}", failed, group.size(), what);
  const std::vector<ValueCheck>& values = group.front().report.values;
  const bool is_its = values.size() == 1 && values.front().verdict > Verdict::kKink;
  return is_its ? verdict_text(values.front()) : what;
}

}  // namespace chainrule::tools
