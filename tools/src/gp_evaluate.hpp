// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common.hpp"

namespace chainrule::tools {

/// Adds `evaluate` to the subcommand gp.
Command add_gp_evaluate(CLI::App& gp);

}  // namespace chainrule::tools
