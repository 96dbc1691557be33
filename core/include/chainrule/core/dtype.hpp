// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "chainrule/core/export.hpp"

namespace chainrule {

/// All sizes, row numbers and leading dimensions.
using Index = std::int64_t;

/// Element types. Arithmetic is float32 or float64; int32 holds indices (class labels, table rows).
enum class DType : std::uint8_t { kFloat32, kFloat64, kInt32 };

constexpr Index size_of(DType dtype) noexcept { return dtype == DType::kFloat64 ? 8 : 4; }

constexpr std::string_view to_string(DType dtype) noexcept {
  switch (dtype) {
    case DType::kFloat32:
      return "float32";
    case DType::kFloat64:
      return "float64";
    case DType::kInt32:
      return "int32";
  }
  return "unknown";
}

/// "float32" or "float64"; anything else throws ArgumentError.
CHAINRULE_API DType parse_dtype(std::string_view name);

template <class T>
inline constexpr DType kDTypeOf = DType{255};
template <>
inline constexpr DType kDTypeOf<float> = DType::kFloat32;
template <>
inline constexpr DType kDTypeOf<double> = DType::kFloat64;
template <>
inline constexpr DType kDTypeOf<std::int32_t> = DType::kInt32;

}  // namespace chainrule
