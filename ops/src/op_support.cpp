// SPDX-License-Identifier: Apache-2.0
#include "op_support.hpp"

#include <fmt/format.h>

namespace chainrule::internal {

std::string located(std::string_view message, const Where& where) {
  std::string_view file = where.file_name();
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return fmt::format("{} (at {}:{})", message, file, where.line());
}

Graph& graph_of(std::string_view op, std::string_view argument, const Value& value,
                const Where& where) {
  if (!value) {
    throw ArgumentError(located(
        fmt::format("{}: {} is a null Value, expected a value of a graph", op, argument), where));
  }
  return *value.graph();
}

void throw_shapes(std::string_view op, const std::string& got, const std::string& expected) {
  throw ShapeError(fmt::format("{}: got {}, expected {}", op, got, expected));
}

std::string named(std::string_view argument, const Shape& shape) {
  return fmt::format("{} {}", argument, to_string(shape));
}

void require_matrix(std::string_view op, std::string_view argument, const Shape& shape) {
  if (shape.rank() != 2) {
    throw_shapes(op, named(argument, shape), "a matrix [rows, columns] or [batch, columns]");
  }
}

void require_batch(std::string_view op, std::string_view argument, const Shape& shape) {
  if (!shape.is_batched() || shape.rank() > 2) {
    throw_shapes(op, named(argument, shape), "[batch] or [batch, columns]");
  }
}

void require_vector(std::string_view op, std::string_view argument, const Shape& shape,
                    const Shape& x) {
  if (shape.is_batched() || shape.rank() != 1 || shape.columns() != x.columns()) {
    throw_shapes(op, fmt::format("{} and {}", named("x", x), named(argument, shape)),
                 fmt::format("{} [{}], one element a column of x", argument, x.columns()));
  }
}

void require_attribute(std::string_view op, std::string_view attribute, double value, bool holds,
                       std::string_view expected) {
  if (!holds) {
    throw ArgumentError(fmt::format("{}: {} is {}, expected {}", op, attribute, value, expected));
  }
}

void throw_index(std::string_view op, std::string_view what, Index row, std::int32_t value,
                 Index count) {
  throw ArgumentError(fmt::format("{}: {} of row {} is {}, expected 0 <= {} < {}", op, what, row,
                                  value, what, count));
}

bool same_matrix(const Shape& a, const Shape& b) {
  if (a == b) return true;
  return a.is_batched() && b.is_batched() && a.rank() <= 2 && b.rank() <= 2 && a.columns() == 1 &&
         b.columns() == 1;
}

Shape column_shape(const Shape& x, Index columns) { return {x.rows(), columns}; }

}  // namespace chainrule::internal
