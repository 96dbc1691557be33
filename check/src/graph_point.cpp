// SPDX-License-Identifier: Apache-2.0
#include "graph_point.hpp"

#include <algorithm>
#include <bit>

namespace chainrule::internal {

void GraphPoint::bind(RandomKey random, Bindings& bindings) const {
  for (const auto& [value, tensor] : inputs) bindings.input(value, tensor.view());
  if (has_parameters) bindings.parameters(parameters);
  bindings.random(random);
}

std::vector<bool> ancestors(const Graph& graph, Value output) {
  std::vector<bool> marked(static_cast<std::size_t>(graph.size()));
  marked.at(static_cast<std::size_t>(output.id())) = true;
  for (NodeId id = output.id(); id >= 0; --id) {
    if (!marked[static_cast<std::size_t>(id)]) continue;
    for (const NodeId i : graph.node(id).inputs) marked[static_cast<std::size_t>(i)] = true;
  }
  return marked;
}

std::vector<bool> reached_by_gradient(const Graph& graph, Value output) {
  std::vector<bool> reached(static_cast<std::size_t>(graph.size()));
  reached.at(static_cast<std::size_t>(output.id())) = true;
  for (NodeId id = output.id(); id >= 0; --id) {
    if (!reached[static_cast<std::size_t>(id)]) continue;
    const Node& node = graph.node(id);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (((node.op->traits.differentiable_inputs >> i) & 1U) == 0) continue;
      reached[static_cast<std::size_t>(node.inputs[i])] = true;
    }
  }
  return reached;
}

std::vector<Value> differentiable_leaves(const Graph& graph, Value output) {
  const std::vector<bool> reached = reached_by_gradient(graph, output);
  std::vector<Value> leaves;
  for (NodeId id = 0; id <= output.id(); ++id) {
    const NodeKind kind = graph.node(id).kind;
    const bool leaf = kind == NodeKind::kInput || kind == NodeKind::kParameter;
    if (leaf && reached[static_cast<std::size_t>(id)]) leaves.emplace_back(output.graph(), id);
  }
  return leaves;
}

Shape filled_shape(const Shape& shape, Index rows) {
  if (!shape.is_batched()) return shape;
  return shape.rank() == 1 ? Shape{rows, 1} : shape.with_batch(rows);
}

Shape matrix_shape(const Value& value, Index rows) {
  const Shape& shape = value.shape();
  return {shape.is_batched() ? rows : shape.rows(), shape.columns()};
}

void assign(std::span<const double> values, TensorView to) {
  for (Index i = 0; i < to.rows; ++i) {
    for (Index j = 0; j < to.columns; ++j) {
      set_element(to, i, j, values[static_cast<std::size_t>(i * to.columns + j)]);
    }
  }
}

Tensor converted(ConstTensorView view, DType dtype) {
  Tensor tensor(Shape{view.rows, view.columns}, dtype);
  copy_values(view, tensor.view());
  return tensor;
}

void copy_row_major(ConstTensorView from, std::span<double> to) {
  copy_values(from, {to.data(), DType::kFloat64, from.rows, from.columns, from.columns});
}

Index rows_of_feed(const Feed& feed) {
  for (const auto& [value, view] : feed.inputs) {
    if (value.shape().is_batched()) return view.rows;
  }
  return 0;
}

bool same_bits(ConstTensorView a, ConstTensorView b) {
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.columns; ++j) {
      if (std::bit_cast<std::uint64_t>(element(a, i, j)) !=
          std::bit_cast<std::uint64_t>(element(b, i, j))) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace chainrule::internal
