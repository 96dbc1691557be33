// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_case.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "chainrule/ops/backward_accuracy.hpp"
#include "check_graph.hpp"
#include "gradient_probe.hpp"
#include "op_properties.hpp"

namespace chainrule {
namespace {

// What the op's contract says of float32 backward.
internal::Float32Rule float32_rule(const OpCase& op_case, const CaseInstance& instance) {
  const BackwardAccuracy accuracy = backward_accuracy(op_case.op->name);
  const Value output = instance.output();
  internal::Float32Rule rule{.factor = accuracy.factor};
  const std::vector<NodeId>& inputs = output.node().inputs;
  if (accuracy.over_columns) rule.sum = output.graph()->node(inputs.at(0)).shape.columns();
  // A case of somebody's own, which does not say how large the terms are.
  const double unknown = accuracy.terms.empty() ? 0 : 1;
  rule.contract = [=, &op_case, &instance, &inputs](Value value, Index row, Index column) {
    const auto input = std::find(inputs.begin(), inputs.end(), value.id());
    if (input == inputs.end() || op_case.terms == nullptr) return unknown;
    return op_case.terms(instance, static_cast<std::size_t>(input - inputs.begin()), row, column);
  };
  return rule;
}

bool is_compared_with_forward_mode(const GradientReport& report) {
  return std::any_of(report.values.begin(), report.values.end(),
                     [](const ValueCheck& value) { return value.forward_mode.comparisons() > 0; });
}

}  // namespace

CaseReport internal::check_first_order(const OpCase& op_case, const CaseSize& size, DType dtype,
                                       const KernelTable& table, std::uint64_t seed) {
  const CaseInstance instance(op_case, size, dtype, seed);
  const Value output = instance.output();
  CaseReport report;
  report.op = op_case.op->name;
  report.name = op_case.name();
  report.size = size.name;
  report.shape = to_string(internal::filled_shape(output.shape(), instance.rows()));
  GradientCheckOptions options;
  options.dtype = dtype;
  options.kernels = &table;
  options.seed = seed;
  options.zero_gradients = instance.zero_gradients();
  options.kinks = instance.kinks();
  options.accept_kinks = false;
  const internal::Float32Rule rule = float32_rule(op_case, instance);
  report.gradients =
      internal::check_graph(instance.graph(), output, instance.feed(), options, rule);
  if (is_compared_with_forward_mode(report.gradients)) {
    report.properties.emplace_back("forward mode");
  }
  internal::check_accumulation(op_case, size, dtype, table, seed, report);
  internal::check_memory(instance, table, report);
  internal::check_threads(instance, table, report);
  return report;
}

CaseReport check_case(const OpCase& op_case, const CaseSize& size, DType dtype,
                      const KernelTable* kernels, std::uint64_t seed) {
  const KernelTable& table = kernels == nullptr ? default_kernels() : *kernels;
  CaseReport report = internal::check_first_order(op_case, size, dtype, table, seed);
  if (dtype == DType::kFloat64) {
    internal::check_second_order(op_case, size, table, seed, report);
  }
  return report;
}

std::vector<CaseReport> check_op(std::string_view op, DType dtype, const KernelTable* kernels,
                                 std::uint64_t seed) {
  std::vector<CaseReport> reports;
  for (const OpCase& op_case : op_cases()) {
    if (op_case.op->name != op) continue;
    for (const CaseSize& size : case_sizes()) {
      reports.push_back(check_case(op_case, size, dtype, kernels, seed));
    }
  }
  if (!reports.empty()) return reports;
  std::string names;
  for (const OpDef* known : all_ops()) {
    names += (names.empty() ? "" : ", ") + std::string(known->name);
  }
  throw ArgumentError(fmt::format("check_op: no op is called '{}'; there are: {}", op, names));
}

}  // namespace chainrule
