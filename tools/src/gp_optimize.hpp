// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "chainrule/learn/gaussian_process.hpp"

namespace chainrule::tools {

/// Calls `optimize` with these options, and a line that tells how far it is; Ctrl-C stops it.
OptimizeResult with_progress(OptimizeOptions options,
                             const std::function<OptimizeResult(const OptimizeOptions&)>& optimize);

}  // namespace chainrule::tools
