// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/shape.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <span>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

std::string join(std::span<const Index> dimensions) {
  std::string text = "[";
  for (std::size_t i = 0; i < dimensions.size(); ++i) {
    if (i > 0) text += ", ";
    text += i == 0 && dimensions[i] == kBatch ? "batch" : fmt::format("{}", dimensions[i]);
  }
  return text + "]";
}

/// Product of dimensions >= 0; false when it does not fit in an Index.
bool multiply(std::span<const Index> dimensions, Index& product) noexcept {
  // Zero first: [huge, huge, 0] has no elements, it does not overflow.
  product = 0;
  if (std::ranges::find(dimensions, Index{0}) != dimensions.end()) return true;
  product = 1;
  for (const Index dimension : dimensions) {
    if (__builtin_mul_overflow(product, dimension, &product)) return false;
  }
  return true;
}

}  // namespace

Shape::Shape(std::initializer_list<Index> dimensions) {
  const std::span<const Index> given(dimensions.begin(), dimensions.size());
  if (given.size() > static_cast<std::size_t>(kMaxRank)) {
    throw ShapeError(
        fmt::format("a shape has at most {} dimensions, got {}", kMaxRank, join(given)));
  }
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given[i] >= 0 || (i == 0 && given[i] == kBatch)) continue;
    throw ShapeError(fmt::format(
        "dimension {} of {} is {}; expected >= 0, or kBatch (-1) as the first dimension", i,
        join(given), given[i]));
  }
  std::ranges::copy(given, dimensions_.begin());
  rank_ = static_cast<int>(given.size());
}

Index Shape::operator[](int axis) const {
  if (axis < 0 || axis >= rank_) {
    throw ShapeError(
        fmt::format("{} has no dimension {}; its rank is {}", to_string(*this), axis, rank_));
  }
  return dimensions_[static_cast<std::size_t>(axis)];
}

Index Shape::rows() const noexcept {
  if (is_batched()) return kBatch;
  if (rank_ < 2) return 1;
  Index product = 0;
  const auto leading = std::span(dimensions_).first(static_cast<std::size_t>(rank_ - 1));
  // elements() is what reports an overflow.
  return multiply(leading, product) ? product : std::numeric_limits<Index>::max();
}

Index Shape::columns() const noexcept {
  if (rank_ == 0 || (rank_ == 1 && is_batched())) return 1;
  return dimensions_[static_cast<std::size_t>(rank_ - 1)];
}

Index Shape::elements() const {
  if (is_batched()) {
    throw ShapeError(
        fmt::format("{} has no number of elements while its batch is symbolic", to_string(*this)));
  }
  Index product = 0;
  if (!multiply(std::span(dimensions_).first(static_cast<std::size_t>(rank_)), product)) {
    throw ShapeError(fmt::format("{} has more elements than fit in 63 bits", to_string(*this)));
  }
  return product;
}

Shape Shape::with_batch(Index rows) const {
  if (rows < 0) {
    throw ShapeError(
        fmt::format("a batch of {} rows for {}; expected >= 0", rows, to_string(*this)));
  }
  Shape shape = *this;
  if (is_batched()) shape.dimensions_[0] = rows;
  return shape;
}

std::string to_string(const Shape& shape) {
  std::array<Index, Shape::kMaxRank> dimensions{};
  for (int axis = 0; axis < shape.rank(); ++axis) {
    dimensions[static_cast<std::size_t>(axis)] = shape[axis];
  }
  return join(std::span(dimensions).first(static_cast<std::size_t>(shape.rank())));
}

}  // namespace chainrule
