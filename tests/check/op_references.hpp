// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/check/case_table.hpp"

namespace chainrule::testing {

/// What the op of a case should give, row-major, from the formula in the op's header in long double
/// and with plain loops. Throws std::out_of_range for an op that has no reference.
std::vector<long double> reference_output(const CaseInstance& instance);

}  // namespace chainrule::testing
