// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common.hpp"

namespace chainrule::tools {

// The subcommands of glm.
Command add_glm_fit(CLI::App& glm);
Command add_glm_bayes(CLI::App& glm);

}  // namespace chainrule::tools
