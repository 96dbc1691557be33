// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/dtype.hpp"

#include <fmt/format.h>

#include "chainrule/core/error.hpp"

namespace chainrule {

DType parse_dtype(std::string_view name) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    if (name == to_string(dtype)) return dtype;
  }
  throw ArgumentError(fmt::format("unknown dtype \"{}\"; expected float32 or float64", name));
}

}  // namespace chainrule
