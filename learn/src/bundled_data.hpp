// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "chainrule/learn/load.hpp"

namespace chainrule::internal {

/// Images [n, ...] as rows of pixels, unsigned bytes divided by 255, with their labels [n].
Dataset load_idx_pair(const std::filesystem::path& images, const std::filesystem::path& labels);

/// The part "train" or "t10k".
Dataset load_fashion_mnist_part(const std::filesystem::path& directory, std::string_view part);

}  // namespace chainrule::internal
