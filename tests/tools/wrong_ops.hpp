// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/check/case_table.hpp"

namespace chainrule::testing {

/// tanh with twice its gradient: "twice_tanh".
const OpDef& doubled_tanh();
/// tanh and relu, doubled_tanh(), and tanh where it is saturated, as the op "saturated_tanh".
std::vector<OpCase> cases_with_wrong_ops();

}  // namespace chainrule::testing
