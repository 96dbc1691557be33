// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

/// What is wrong, for people, in lines: every failure of the report, and for each gradient with
/// failing elements a table of the worst of them (index, both numbers, their distance, what would
/// be tolerated, the step) and the hint. Empty when the report is ok.
CHAINRULE_API std::string failure_text(const GradientReport& report);

}  // namespace chainrule
