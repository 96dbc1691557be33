// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "chainrule/core/tensor.hpp"

namespace chainrule::internal {

/// What files hold. A Tensor holds less: decode() widens bool and small integers to int32, float16
/// and bfloat16 to float32, and narrows wider integers to int32 where every value fits.
enum class ElementType : std::uint8_t {
  kBool,
  kInt8,
  kUint8,
  kInt16,
  kUint16,
  kInt32,
  kUint32,
  kInt64,
  kUint64,
  kFloat16,
  kBfloat16,
  kFloat32,
  kFloat64,
};

Index size_of(ElementType type) noexcept;
ElementType element_type(DType dtype) noexcept;

/// A shape from dimensions read at run time; at most Shape::kMaxRank of them.
Shape make_shape(std::span<const Index> dimensions);

/// Bytes of dense data of that shape. Throws FormatError, beginning with `name`, on more than four
/// dimensions, a negative one, an overflow, or an empty shape with absurd other dimensions.
Index checked_bytes(std::span<const Index> dimensions, ElementType type, std::string_view name);

/// Dense row-major `data`, exactly shape.elements() elements of `type`, as a dense tensor. Throws
/// FormatError, beginning with `name`, when an integer does not fit into int32.
Tensor decode(std::span<const std::byte> data, ElementType type, std::endian order,
              const Shape& shape, std::string_view name);

/// Calls sink(bytes) with the tensor's elements, row by row, dense, little-endian.
template <class Sink>
void encode(const Tensor& tensor, Sink&& sink) {
  const auto* data = static_cast<const std::byte*>(tensor.data());
  const Index row_bytes = tensor.columns() * size_of(tensor.dtype());
  if (row_bytes == 0) return;
  for (Index i = 0; i < tensor.rows(); ++i) {
    sink(std::span(data + i * tensor.ld() * size_of(tensor.dtype()),
                   static_cast<std::size_t>(row_bytes)));
  }
}

}  // namespace chainrule::internal
