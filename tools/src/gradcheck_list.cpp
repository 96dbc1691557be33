// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "chainrule/check/case_table.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kWhatIsChecked =
    R"(In each of them:
  each gradient against extrapolated finite differences of forward in float64, element by element;
    of large tensors at random elements and along random directions
  an op that is used twice adds up its gradients
  running again, in another workspace as well, gives the same bits
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

}  // namespace

std::string list_of_checks(const std::vector<std::string>& ops) {
  std::vector<const OpCase*> cases;
  std::size_t width = 0;
  for (const std::string& op : ops) {
    for (const OpCase& op_case : op_cases()) {
      if (op_case.op->name != op) continue;
      cases.push_back(&op_case);
      width = std::max(width, op_case.name().size());
    }
  }
  std::string sizes;
  for (const CaseSize& size : case_sizes()) {
    sizes +=
        fmt::format("{}{} [{}, {}]", sizes.empty() ? "" : ", ", size.name, size.rows, size.columns);
  }
  const CaseSize& typical = case_sizes().front();
  std::string text = fmt::format(
      "{} op{} in {} cases, in float32 and float64, in {} shape classes (rows of the batch, "
      "columns):\n  {}\n{}Output and differentiated values at the size '{}':\n",
      ops.size(), ops.size() == 1 ? "" : "s", cases.size(), case_sizes().size(), sizes,
      kWhatIsChecked, typical.name);
  for (const OpCase* op_case : cases) text += case_line(*op_case, typical, width);
  return text;
}

}  // namespace chainrule::tools
