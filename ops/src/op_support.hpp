// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "chainrule/core/error.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/kernels/kernel_table.hpp"

/// What the sources of the ops share; private to ops/.
namespace chainrule::internal {

/// "message (at net.cpp:12)", as Graph::apply ends the errors of shape rules.
std::string located(std::string_view message, const Where& where);

/// Runs a builder's own checks; what they throw gains the user's line.
template <class Check>
void check_at(const Where& where, const Check& check) {
  try {
    check();
  } catch (const ShapeError& error) {
    throw ShapeError(located(error.what(), where));
  } catch (const ArgumentError& error) {
    throw ArgumentError(located(error.what(), where));
  }
}

/// The graph of a builder's value; ArgumentError when the value is empty.
Graph& graph_of(std::string_view op, std::string_view argument, const Value& value,
                const Where& where);

/// ShapeError "op: got x [batch, 3] and b [4], expected `expected`".
[[noreturn]] void throw_shapes(std::string_view op, const std::string& got,
                               const std::string& expected);
/// "x [batch, 3]".
std::string named(std::string_view argument, const Shape& shape);

/// ShapeError unless the shape has two dimensions.
void require_matrix(std::string_view op, std::string_view argument, const Shape& shape);
/// ShapeError unless the shape starts with the batch and has at most one dimension more.
void require_batch(std::string_view op, std::string_view argument, const Shape& shape);
/// ShapeError unless the shape is [n], n the columns of `x`.
void require_vector(std::string_view op, std::string_view argument, const Shape& shape,
                    const Shape& x);
/// ArgumentError "op: alpha is -1, expected 0 <= alpha < inf" unless the attribute's domain holds
/// it.
void require_attribute(std::string_view op, std::string_view attribute, double value, bool holds,
                       std::string_view expected);
/// ArgumentError "op: label of row 3 is 12, expected 0 <= label < 10".
[[noreturn]] void throw_index(std::string_view op, std::string_view what, Index row,
                              std::int32_t value, Index count);

/// True when both are the same matrix to an op: equal but for [batch] against [batch, 1].
bool same_matrix(const Shape& a, const Shape& b);

/// The shape of one column per row of `x`.
Shape column_shape(const Shape& x, Index columns);

template <class T>
const Kernels<T>& kernels(const OpContext& context) {
  return context.kernels->get<T>();
}

/// A typed view, empty when the operand was not provided (its dtype may then be anything).
template <class T>
MatrixView<T> optional_view(const TensorView& view) {
  if (view.data == nullptr) return {};
  return view.as<T>();
}

/// The gradient of an input, empty when it is not wanted.
template <class T>
MatrixView<T> wanted_gradient(const OpContext& context, int input) {
  return optional_view<T>(context.input_gradients[static_cast<std::size_t>(input)]);
}

/// Columns [first, first + count) of a view.
template <class T>
MatrixView<T> column_window(MatrixView<T> view, Index first, Index count) {
  return {view.data == nullptr ? nullptr : view.data + first, view.rows, count, view.ld};
}

/// y (+)= x, where both may be one buffer and y may be empty.
template <class T>
auto copy_call(const OpContext& context, MatrixView<const T> x, MatrixView<T> y, bool accumulate) {
  const bool nothing = y.data == nullptr || (y.data == x.data && !accumulate);
  return [=, add = kernels<T>(context).add] {
    if (nothing) return;
    if (accumulate) {
      add(y, x, y);
    } else {
      for (Index i = 0; i < y.rows; ++i) std::copy_n(x.row(i), y.columns, y.row(i));
    }
  };
}

/// dx (+)= dy where dx is wanted.
template <class T>
auto pass_gradient(const OpContext& context, int input) {
  return copy_call<T>(context, context.out_gradient<T>(), wanted_gradient<T>(context, input),
                      context.accumulates(input));
}

}  // namespace chainrule::internal
