// SPDX-License-Identifier: Apache-2.0
#include "gradcheck_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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

std::string kinks_text(Index kinks) {
  return kinks == 0 ? "agree" : fmt::format("agree, {} kink{}", kinks, kinks == 1 ? "" : "s");
}

std::string counts_text(Index elements, Index directions) {
  return directions == 0 ? fmt::format("{}", elements) : fmt::format("{}+{}", elements, directions);
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
      if (value.elements + value.directions == 0) continue;
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

std::string compared_text(GradcheckGroup group) {
  Index elements = 0, directions = 0;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.report.values) {
      elements += value.elements;
      directions += value.directions;
    }
  }
  return counts_text(elements, directions);
}

std::string compared_text(const ValueCheck& value) {
  return counts_text(value.elements, value.directions);
}

std::string verdict_text(const ValueCheck& value) {
  if (value.verdict <= Verdict::kKink) return kinks_text(value.kinks);
  const Index count = value.verdict == Verdict::kDisagree ? value.disagree : value.unresolved;
  return fmt::format("{} of {} {}", count, value.elements + value.directions,
                     to_string(value.verdict));
}

std::string verdict_text(GradcheckGroup group) {
  Index kinks = 0;
  std::size_t failed = 0;
  Verdict verdict = Verdict::kAgree;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.report.values) kinks += value.kinks;
    if (record.report.ok()) continue;
    ++failed;
    verdict = std::max(verdict, record.report.verdict());
  }
  if (failed == 0) return kinks_text(kinks);
  const std::string what(verdict <= Verdict::kKink ? "failed" : to_string(verdict));
  return group.size() == 1 ? what : fmt::format("{} of {} {}", failed, group.size(), what);
}

}  // namespace chainrule::tools
