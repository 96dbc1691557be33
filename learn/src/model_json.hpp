// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "chainrule/learn/model.hpp"
#include "chainrule/learn/safetensors.hpp"

namespace chainrule::internal {

/// Layers, likelihood and schema as JSON, with the format version. ArgumentError when a name is not
/// UTF-8, or the class names do not fit the outputs.
std::string to_json(const Model& model);
/// A model with that description and fresh parameters; FormatError with the reason. The tensors of
/// `file` must have the described sizes: nothing is allocated on the description's word alone.
Model model_from_json(std::string_view text, const TensorFile& file);

}  // namespace chainrule::internal
