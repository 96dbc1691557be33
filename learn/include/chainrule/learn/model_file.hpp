// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>
#include <span>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/learn/safetensors.hpp"

namespace chainrule {

// Model files are safetensors files. Tensors carry the names PyTorch gives an nn.Sequential of the
// same layers ("0.weight" [out, in], "0.bias", "1.running_mean", ...); the architecture, likelihood
// and schema are JSON in the metadata entry "chainrule".
//
// Compatibility: the JSON holds "format_version". A library reads every version up to its own; a
// file of a newer version is refused with an error that says so. Unknown JSON fields are ignored.

/// What this library writes.
inline constexpr int kModelFormatVersion = 1;

CHAINRULE_API void save(const Model& model, const std::filesystem::path& path);
CHAINRULE_API void save(const Model& model, std::ostream& stream);
CHAINRULE_API std::vector<std::byte> save_to_memory(const Model& model);

/// Throws FormatError, with the reason, on anything that is not a complete model file.
CHAINRULE_API Model load_model(const std::filesystem::path& path);
CHAINRULE_API Model load_model(std::istream& stream);
CHAINRULE_API Model load_model(std::span<const std::byte> bytes, std::string_view name = "memory");

/// Copies tensors of matching name and shape into a model, e.g. weights that PyTorch saved;
/// FormatError, before anything changes, when one is missing or has another shape.
CHAINRULE_API void load_parameters(Model& model, const TensorFile& file);
/// The model's parameters under their PyTorch names, without metadata.
CHAINRULE_API TensorFile to_tensor_file(const Model& model);

}  // namespace chainrule
