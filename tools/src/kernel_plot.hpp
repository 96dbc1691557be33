// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "chainrule/core/tensor.hpp"
#include "fitted_process.hpp"

namespace chainrule::tools {

// Pages without anything outside them.

/// A Gram matrix in colours, its first row at the top; of a large one means over blocks.
std::string gram_html(const Tensor& gram, const std::string& name);

/// Mean and 2 sigma band of a process of one input, with its data or inducing points, from the
/// least to the greatest of these and of `x` [m, 1], which is raw (before standardization).
std::string process_html(const FittedProcess& process, const Tensor& x, const std::string& name);

}  // namespace chainrule::tools
