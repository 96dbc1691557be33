// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <variant>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/last_layer_laplace.hpp"
#include "chainrule/learn/neural_linear.hpp"

namespace chainrule {

// The posterior of a last layer in a model file: the model as any other, which load_model() reads
// (of NeuralLinearModel, with the posterior mean), beside it tensors "posterior...." with the sums
// and a description in the metadata entry "chainrule_posterior".

using LastLayerPosterior = std::variant<NeuralLinearModel, LastLayerLaplace>;

CHAINRULE_API void save(const NeuralLinearModel& posterior, const std::filesystem::path& path);
CHAINRULE_API void save(const LastLayerLaplace& posterior, const std::filesystem::path& path);
/// Nothing for a safetensors file without a posterior. `threads` as in the options of both. Throws
/// FormatError, with the reason, on anything else.
CHAINRULE_API std::optional<LastLayerPosterior> load_posterior(const std::filesystem::path& path,
                                                               int threads = 0);

}  // namespace chainrule
