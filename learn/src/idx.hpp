// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "element_codec.hpp"

namespace chainrule::internal {

/// A checked IDX file that has not been decoded.
struct IdxView {
  ElementType type = ElementType::kUint8;
  std::vector<Index> dimensions{};
  std::span<const std::byte> data{};  ///< exactly the elements, big-endian
};

IdxView parse_idx(std::span<const std::byte> bytes, std::string_view name);

}  // namespace chainrule::internal
