// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "element_codec.hpp"

namespace chainrule::internal {

struct NpyHeader {
  ElementType type = ElementType::kFloat64;
  bool fortran_order = false;
  std::vector<Index> shape;
};

/// Parses the Python dictionary of a .npy header, such as
/// {'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }; FormatError otherwise.
NpyHeader parse_npy_header(std::string_view text, std::string_view name);

}  // namespace chainrule::internal
