// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "chainrule/check/case_table.hpp"
#include "common.hpp"

namespace chainrule::tools {

// Each adds its subcommand, with options, help and examples.
Command add_info(CLI::App& app);
Command add_gradcheck(CLI::App& app, std::span<const OpCase> cases,
                      std::span<const OpDef* const> ops);
Command add_train(CLI::App& app);
Command add_evaluate(CLI::App& app);
Command add_predict(CLI::App& app);
Command add_approximate(CLI::App& app);
Command add_kernel(CLI::App& app);
Command add_gp(CLI::App& app);
Command add_glm(CLI::App& app);

}  // namespace chainrule::tools
