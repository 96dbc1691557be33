// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/check/case_table.hpp"

namespace chainrule::testing {

/// tanh with twice its gradient: "twice_tanh".
const OpDef& doubled_tanh();
/// tanh whose jvp is half of what it should be, without second order:
/// "half_jvp_tanh".
const OpDef& half_jvp_tanh();
/// tanh without forward mode and second order: "plain_tanh".
const OpDef& plain_tanh();
/// tanh and relu, plain_tanh(), doubled_tanh(), half_jvp_tanh(), and tanh where it is saturated, as
/// the op "saturated_tanh".
std::vector<OpCase> cases_with_wrong_ops();

}  // namespace chainrule::testing
