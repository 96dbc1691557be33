// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "chainrule/check/case_table.hpp"
#include "chainrule/ops/all_ops.hpp"

namespace chainrule::tools {

/// The whole command, from arguments to exit code. `cases` are those that gradcheck knows; it fails
/// where one of `ops` has none.
int command_line(int argc, char** argv, std::span<const OpCase> cases = op_cases(),
                 std::span<const OpDef* const> ops = all_ops());

}  // namespace chainrule::tools
