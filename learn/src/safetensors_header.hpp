// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/dtype.hpp"
#include "element_codec.hpp"

namespace chainrule::internal {

inline constexpr std::string_view kMetadataKey = "__metadata__";
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr std::size_t kLengthBytes = sizeof(std::uint64_t);

/// One tensor as the header describes it; offsets count from the end of the header.
struct HeaderEntry {
  std::string name;
  ElementType type = ElementType::kFloat32;
  std::vector<Index> shape;
  std::array<std::uint64_t, 2> offsets{};
};

struct SafetensorsHeader {
  std::vector<HeaderEntry> entries;
  std::map<std::string, std::string> metadata;
  std::uint64_t data_bytes = 0;
};

/// Parses and checks the JSON text; see read_safetensors() for what is refused.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::string_view name);

}  // namespace chainrule::internal
