// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common.hpp"

namespace chainrule::tools {

// Each adds a subcommand to gp.

Command add_gp_fit(CLI::App& gp);
Command add_gp_predict(CLI::App& gp);
Command add_gp_evaluate(CLI::App& gp);

}  // namespace chainrule::tools
