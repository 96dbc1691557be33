// SPDX-License-Identifier: Apache-2.0
#include "element_codec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

static_assert(std::endian::native == std::endian::little, "files are written as memory holds them");

/// An array with a dimension of 0 may have others up to here; a loop over them stays short.
constexpr Index kMaxEmptyExtent = Index{1} << 20;

struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

/// IEEE 754 binary16 to binary32, exactly (NaN payloads kept).
float widen(Half half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half.bits & 0x8000u) << 16;
  const std::uint32_t exponent = half.bits >> 10 & 0x1Fu;
  const std::uint32_t fraction = half.bits & 0x3FFu;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24 is exact in float
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 0x1F ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

float widen(Bfloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

template <class Stored>
Stored load(const std::byte* at, std::endian order) {
  std::array<std::byte, sizeof(Stored)> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  if (order != std::endian::native) std::reverse(bytes.begin(), bytes.end());
  return std::bit_cast<Stored>(bytes);
}

template <class Stored, class Out>
Out convert(Stored stored, std::string_view name) {
  if constexpr (std::is_same_v<Stored, Half> || std::is_same_v<Stored, Bfloat16>) {
    return widen(stored);
  } else if constexpr (std::is_same_v<Stored, Out>) {
    return stored;
  } else {
    if (!std::in_range<Out>(stored)) {
      throw FormatError(fmt::format("{}: the integer {} does not fit into int32", name, stored));
    }
    return static_cast<Out>(stored);
  }
}

template <class Stored, class Out>
Tensor decode_as(std::span<const std::byte> data, std::endian order, const Shape& shape,
                 std::string_view name) {
  Tensor tensor(shape, kDTypeOf<Out>, Layout::kDense);
  Out* const out = tensor.as<Out>().data;
  if (std::is_same_v<Stored, Out> && order == std::endian::native) {
    if (!data.empty()) std::memcpy(out, data.data(), data.size());
    return tensor;
  }
  const std::size_t count = data.size() / sizeof(Stored);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = convert<Stored, Out>(load<Stored>(data.data() + i * sizeof(Stored), order), name);
  }
  return tensor;
}

}  // namespace

Index size_of(ElementType type) noexcept {
  switch (type) {
    case ElementType::kBool:
    case ElementType::kInt8:
    case ElementType::kUint8:
      return 1;
    case ElementType::kInt16:
    case ElementType::kUint16:
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return 2;
    case ElementType::kInt32:
    case ElementType::kUint32:
    case ElementType::kFloat32:
      return 4;
    case ElementType::kInt64:
    case ElementType::kUint64:
    case ElementType::kFloat64:
      break;
  }
  return 8;
}

ElementType element_type(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat64:
      return ElementType::kFloat64;
    case DType::kInt32:
      return ElementType::kInt32;
    case DType::kFloat32:
      break;
  }
  return ElementType::kFloat32;
}

Shape make_shape(std::span<const Index> d) {
  switch (d.size()) {
    case 0:
      return {};
    case 1:
      return {d[0]};
    case 2:
      return {d[0], d[1]};
    case 3:
      return {d[0], d[1], d[2]};
    case 4:
      return {d[0], d[1], d[2], d[3]};
    default:
      throw ShapeError(fmt::format("a tensor has at most 4 dimensions, got {}", d.size()));
  }
}

Index checked_bytes(std::span<const Index> dimensions, ElementType type, std::string_view name) {
  if (dimensions.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw FormatError(fmt::format("{}: {} dimensions; at most {} are supported", name,
                                  dimensions.size(), Shape::kMaxRank));
  }
  Index extent = size_of(type);
  bool empty = false;
  for (const Index dimension : dimensions) {
    if (dimension < 0) {
      throw FormatError(fmt::format("{}: negative dimension {}", name, dimension));
    }
    empty = empty || dimension == 0;
    if (dimension > 0 && __builtin_mul_overflow(extent, dimension, &extent)) {
      throw FormatError(fmt::format("{}: the product of the dimensions overflows", name));
    }
  }
  if (!empty) return extent;
  if (extent > kMaxEmptyExtent * size_of(type)) {
    throw FormatError(
        fmt::format("{}: an array without elements has dimensions beyond any use", name));
  }
  return 0;
}

Tensor decode(std::span<const std::byte> data, ElementType type, std::endian order,
              const Shape& shape, std::string_view name) {
  using I = std::int32_t;
  switch (type) {
    case ElementType::kBool:
    case ElementType::kUint8:
      return decode_as<std::uint8_t, I>(data, order, shape, name);
    case ElementType::kInt8:
      return decode_as<std::int8_t, I>(data, order, shape, name);
    case ElementType::kInt16:
      return decode_as<std::int16_t, I>(data, order, shape, name);
    case ElementType::kUint16:
      return decode_as<std::uint16_t, I>(data, order, shape, name);
    case ElementType::kInt32:
      return decode_as<I, I>(data, order, shape, name);
    case ElementType::kUint32:
      return decode_as<std::uint32_t, I>(data, order, shape, name);
    case ElementType::kInt64:
      return decode_as<std::int64_t, I>(data, order, shape, name);
    case ElementType::kUint64:
      return decode_as<std::uint64_t, I>(data, order, shape, name);
    case ElementType::kFloat16:
      return decode_as<Half, float>(data, order, shape, name);
    case ElementType::kBfloat16:
      return decode_as<Bfloat16, float>(data, order, shape, name);
    case ElementType::kFloat32:
      return decode_as<float, float>(data, order, shape, name);
    case ElementType::kFloat64:
      break;
  }
  return decode_as<double, double>(data, order, shape, name);
}

}  // namespace chainrule::internal
