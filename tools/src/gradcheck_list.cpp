// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "chainrule/check/check_case.hpp"
#include "common.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {
namespace {

// More than one block of rows, so that threads matter; few columns, to be fast.
constexpr CaseSize kProbe{"probe", 18, 2};

constexpr const char* kWhatIsChecked =
    R"(gradients     each against extrapolated finite differences of forward in float64, element by element
              and, while it is small, entry by entry of the whole Jacobian; of large tensors at
              random elements and along random directions; float32 against float64
forward mode  each against the op's jvp, which needs no step: <v, J u> = <J^T v, u> for random u and
              v, and entry by entry of a small Jacobian, up to rounding
second order  second derivatives, forward over reverse, against differences of the gradient in
              float64, of ops that have them and away from kinks
accumulation  an op that is used twice adds up its gradients
determinism   running again, in another workspace as well, gives the same bits
strides       so do other leading dimensions and alignments; padding is neither read nor written
aliasing      so does working in the memory of an input, where the op says that it can
threads       so do two threads, at sizes of several blocks of rows
)";

// What the case is differentiated by: leaves that a gradient can reach, in the graph's order.
std::vector<Value> differentiated(CaseInstance& instance) {
  Graph& graph = instance.graph();
  std::vector<bool> reached(static_cast<std::size_t>(graph.size()));
  reached[static_cast<std::size_t>(instance.output().id())] = true;
  std::vector<Value> leaves;
  for (NodeId id = instance.output().id(); id >= 0; --id) {
    const Node& node = graph.node(id);
    if (!reached[static_cast<std::size_t>(id)]) continue;
    if (node.kind == NodeKind::kInput || node.kind == NodeKind::kParameter) {
      leaves.insert(leaves.begin(), Value(&graph, id));
    }
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const bool passes = ((node.op->traits.differentiable_inputs >> i) & 1U) != 0;
      if (passes) reached[static_cast<std::size_t>(node.inputs[i])] = true;
    }
  }
  return leaves;
}

std::string case_line(const OpCase& op_case, const CaseSize& size, std::size_t width) {
  CaseInstance instance(op_case, size, DType::kFloat64);
  std::string values, kinks;
  for (const Value& value : differentiated(instance)) {
    values += fmt::format("{}{} {}", values.empty() ? "" : ", ", value.node().name,
                          to_string(value.shape()));
  }
  for (const Value& value : instance.kinks()) kinks += " " + value.node().name;
  std::string notes = op_case.mode == Mode::kTraining ? "" : "; inference mode";
  if (!kinks.empty()) notes += "; kinks expected in" + kinks;
  return fmt::format("  {:<{}}  {} by {}{}\n", op_case.name(), width,
                     to_string(instance.output().shape()), values, notes);
}

// What check_case() looks at beside the gradients, as it says itself.
std::vector<std::string> further_properties(const SelectedOp& op, const KernelTable& kernels) {
  std::vector<GradcheckRecord> records;
  for (const OpCase* op_case : op.cases) {
    CaseReport report = check_case(*op_case, kProbe, DType::kFloat64, &kernels);
    records.emplace_back().properties = std::move(report.properties);
  }
  return properties_of(records);
}

std::string op_heading(const SelectedOp& op, const KernelTable& kernels) {
  std::vector<std::string> checks = further_properties(op, kernels);
  checks.insert(checks.begin(), "gradients");
  return fmt::format("{}, float32 and float64: {}\n", op.name, joined(checks));
}

std::string sizes_text() {
  std::vector<std::string> sizes;
  for (const CaseSize& size : case_sizes()) {
    sizes.push_back(fmt::format("{} [{}, {}]", size.name, size.rows, size.columns));
  }
  return joined(sizes);
}

}  // namespace

std::string list_of_checks(std::span<const SelectedOp> ops, const KernelTable& kernels) {
  std::size_t count = 0, width = 0;
  for (const SelectedOp& op : ops) {
    count += op.cases.size();
    for (const OpCase* op_case : op.cases) width = std::max(width, op_case->name().size());
  }
  const CaseSize& typical = case_sizes().front();
  std::string text = fmt::format(
      "{} op{} in {} cases, each in float32 and float64, in {} shape classes (rows of the batch, "
      "columns):\n  {}\n\n{}\nCases, output and differentiated values at the size '{}':\n",
      ops.size(), ops.size() == 1 ? "" : "s", count, case_sizes().size(), sizes_text(),
      kWhatIsChecked, typical.name);
  for (const SelectedOp& op : ops) {
    text += op_heading(op, kernels);
    for (const OpCase* op_case : op.cases) text += case_line(*op_case, typical, width);
  }
  return text;
}

}  // namespace chainrule::tools
