// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "chainrule/core/graph.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/parameters.hpp"

namespace chainrule::internal {

/// What a graph reads, in one dtype, in memory of its own.
struct GraphPoint {
  std::vector<std::pair<Value, Tensor>> inputs;
  Parameters parameters;
  bool has_parameters = false;

  void bind(RandomKey random, Bindings& bindings) const;
};

/// The parameters and real inputs that influence `output` and that a gradient can reach.
std::vector<Value> differentiable_leaves(const Graph& graph, Value output);
/// Marks the nodes that a gradient of `output` reaches, itself included.
std::vector<bool> reached_by_gradient(const Graph& graph, Value output);
/// Marks the nodes that `output` is computed from, itself included.
std::vector<bool> ancestors(const Graph& graph, Value output);
/// The shape with the batch filled in.
Shape filled_shape(const Shape& shape, Index rows);
/// The same as a matrix.
Shape matrix_shape(const Value& value, Index rows);
/// Rows of the batch that a feed holds; 0 when no input is batched.
Index rows_of_feed(const Feed& feed);
/// True when both have the same bits, so that NaN equals itself and 0 differs from -0.
bool same_bits(ConstTensorView a, ConstTensorView b);
Tensor converted(ConstTensorView view, DType dtype);
void copy_row_major(ConstTensorView from, std::span<double> to);
/// Sets all elements, given row-major.
void assign(std::span<const double> values, TensorView to);

}  // namespace chainrule::internal
