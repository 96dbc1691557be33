// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "chainrule/check/case_table.hpp"

namespace chainrule::tools {

/// The whole command, from arguments to exit code. `cases` are those that gradcheck knows.
int command_line(int argc, char** argv, std::span<const OpCase> cases = op_cases());

}  // namespace chainrule::tools
