// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "chainrule/learn/load.hpp"

namespace chainrule::internal {

/// The images [n, ...] of an IDX file as rows of pixels, unsigned bytes divided by 255.
Tensor idx_rows(std::span<const std::byte> bytes, std::string_view name);
/// The same, with their labels [n].
Dataset load_idx_pair(const std::filesystem::path& images, const std::filesystem::path& labels);

/// The part "train" or "t10k".
Dataset load_fashion_mnist_part(const std::filesystem::path& directory, std::string_view part);

}  // namespace chainrule::internal
