// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "chainrule/learn/safetensors.hpp"

namespace chainrule::internal {

/// The float64 matrix of this name, its rows padded; FormatError for anything else, and for a
/// number in it that is not finite.
Tensor finite_matrix(const TensorFile& file, const std::string& name);

}  // namespace chainrule::internal
