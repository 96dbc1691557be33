// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "chainrule/check/check_case.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "common.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {
namespace {

std::vector<const OpCase*> cases_of(const std::string& op) {
  std::vector<const OpCase*> cases;
  for (const OpCase& op_case : op_cases()) {
    if (op_case.op->name == op) cases.push_back(&op_case);
  }
  return cases;
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
          .report = std::move(report.gradients)};
}

}  // namespace

std::vector<std::string> gradcheck_ops(const std::vector<std::string>& names) {
  std::vector<std::string> known;
  for (const OpDef* op : all_ops()) known.emplace_back(op->name);
  if (names.empty()) return known;
  std::vector<std::string> wanted;
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      std::string list;
      for (const std::string& op : known) list += (list.empty() ? "" : ", ") + op;
      throw UsageError(fmt::format("--op: no op is called '{}'; there are: {}", name, list));
    }
    if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) wanted.push_back(name);
  }
  return wanted;
}

std::size_t gradcheck_name_width(const std::vector<std::string>& ops, bool every_check) {
  std::size_t width = 0;
  for (const std::string& op : ops) {
    width = std::max(width, op.size());
    if (!every_check) continue;
    for (const OpCase* op_case : cases_of(op)) {
      for (const CaseSize& size : case_sizes()) {
        width = std::max(width, check_name(*op_case, size).size());
      }
    }
  }
  return width;
}

void check_ops(const std::vector<std::string>& ops, std::span<const DType> dtypes,
               const KernelTable& kernels, const GradcheckObserver& observer, GradcheckRun& run) {
  std::size_t total = 0;
  for (const std::string& op : ops) {
    total += cases_of(op).size() * case_sizes().size() * dtypes.size();
  }
  for (const std::string& op : ops) {
    for (const DType dtype : dtypes) {
      const std::size_t first = run.records.size();
      for (const OpCase* op_case : cases_of(op)) {
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
