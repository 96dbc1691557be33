// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iterator>
#include <numeric>
#include <string_view>
#include <utility>

#include "chainrule/check/check_case.hpp"
#include "common.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {
namespace {

// Functions that build a graph out of ops of other names.
struct Builder {
  std::string_view name;
  std::array<std::string_view, 3> ops;
};
constexpr auto kBuilders = std::to_array<Builder>({
    {"reduce_sum", {"batch_sum", "feature_sum", "total_sum"}},
    {"reduce_mean", {"batch_mean", "feature_mean", "total_mean"}},
    {"reduce_loss", {"batch_sum", "batch_mean", {}}},
});

std::vector<SelectedOp> all_of(std::span<const OpCase> cases) {
  std::vector<SelectedOp> ops;
  for (const OpCase& op_case : cases) {
    const auto known = std::find_if(
        ops.begin(), ops.end(), [&](const SelectedOp& op) { return op.name == op_case.op->name; });
    SelectedOp& op = known != ops.end()
                         ? *known
                         : ops.emplace_back(SelectedOp{.name = std::string(op_case.op->name)});
    op.cases.push_back(&op_case);
  }
  return ops;
}

// How many letters to change, insert or leave out (Levenshtein 1966).
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({row[j] + 1, row[j + 1] + 1, changed}));
    }
  }
  return row.back();
}

bool is_similar(std::string_view a, std::string_view b) {
  constexpr std::size_t kTypos = 2, kShortest = 3;
  const bool part = a.find(b) != a.npos || b.find(a) != b.npos;
  return distance(a, b) <= kTypos || (part && std::min(a.size(), b.size()) >= kShortest);
}

[[noreturn]] void fail_unknown(const std::string& name, const std::vector<SelectedOp>& ops) {
  std::vector<std::string> names, similar;
  for (const SelectedOp& op : ops) names.push_back(op.name);
  const std::string known = joined(names);
  for (const Builder& builder : kBuilders) names.emplace_back(builder.name);
  std::copy_if(names.begin(), names.end(), std::back_inserter(similar),
               [&](const std::string& other) { return is_similar(name, other); });
  throw UsageError(
      fmt::format("--op: no op is called '{}'{}; there are: {}; and what graphs call {}, {} and {}",
                  name, similar.empty() ? "" : fmt::format(" (did you mean {}?)", joined(similar)),
                  known, kBuilders[0].name, kBuilders[1].name, kBuilders[2].name));
}

std::string check_name(const OpCase& op_case, const CaseSize& size) {
  return fmt::format("{}, {}", op_case.name(), size.name);
}

GradcheckRecord check(const OpCase& op_case, const CaseSize& size, DType dtype,
                      const KernelTable& kernels, std::uint64_t seed) {
  const auto start = std::chrono::steady_clock::now();
  CaseReport report = check_case(op_case, size, dtype, &kernels, seed);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  return {.subject = report.op,
          .name = check_name(op_case, size),
          .variant = report.name,
          .size = report.size,
          .shape = report.shape,
          .seconds = seconds.count(),
          .properties = std::move(report.properties),
          .report = std::move(report.gradients),
          .second_order = std::move(report.second_order)};
}

}  // namespace

void require_cases(std::span<const OpDef* const> ops, std::span<const OpCase> cases,
                   const std::vector<std::string>& names) {
  std::vector<std::string> missing;
  for (const OpDef* op : ops_without_cases(ops, cases)) {
    const bool wanted =
        names.empty() || std::find(names.begin(), names.end(), op->name) != names.end();
    if (wanted) missing.emplace_back(op->name);
  }
  if (missing.empty()) return;
  throw Error(fmt::format("gradcheck: {} {} no case in the table of cases, so nothing checks {}",
                          joined(missing), missing.size() == 1 ? "has" : "have",
                          missing.size() == 1 ? "it" : "them"));
}

std::vector<SelectedOp> select_ops(std::span<const OpCase> cases,
                                   const std::vector<std::string>& names) {
  const std::vector<SelectedOp> all = all_of(cases);
  if (names.empty()) return all;
  std::vector<SelectedOp> wanted;
  const auto add = [&](std::string_view name) {
    const auto has_name = [&](const SelectedOp& op) { return op.name == name; };
    const auto known = std::find_if(all.begin(), all.end(), has_name);
    if (known == all.end()) return false;
    if (std::none_of(wanted.begin(), wanted.end(), has_name)) wanted.push_back(*known);
    return true;
  };
  for (const std::string& name : names) {
    bool found = add(name);
    for (const Builder& builder : kBuilders) {
      if (builder.name != name) continue;
      for (const std::string_view op : builder.ops) found = add(op) || found;
    }
    if (!found) fail_unknown(name, all);
  }
  return wanted;
}

std::size_t gradcheck_name_width(std::span<const SelectedOp> ops, bool every_check) {
  std::size_t width = 0;
  for (const SelectedOp& op : ops) {
    width = std::max(width, op.name.size());
    if (!every_check) continue;
    for (const OpCase* op_case : op.cases) {
      for (const CaseSize& size : case_sizes()) {
        width = std::max(width, check_name(*op_case, size).size());
      }
    }
  }
  return width;
}

void check_ops(std::span<const SelectedOp> ops, std::span<const DType> dtypes,
               const KernelTable& kernels, const GradcheckObserver& observer, GradcheckRun& run) {
  std::size_t total = 0;
  for (const SelectedOp& op : ops) total += op.cases.size() * case_sizes().size() * dtypes.size();
  for (const SelectedOp& op : ops) {
    for (const DType dtype : dtypes) {
      const std::size_t first = run.records.size();
      for (const OpCase* op_case : op.cases) {
        for (const CaseSize& size : case_sizes()) {
          observer.before(run.records.size(), total, check_name(*op_case, size));
          run.records.push_back(check(*op_case, size, dtype, kernels, run.seed));
        }
      }
      observer.group(GradcheckGroup(run.records).subspan(first));
    }
  }
}

}  // namespace chainrule::tools
