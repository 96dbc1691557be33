// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "chainrule/ops/losses.hpp"

namespace chainrule::internal {

/// The row loss `op` of (x, target) and then its batch reduction.
Value apply_loss(const OpDef& op, const Value& x, const Value& target, const Attributes& attributes,
                 const Value& weights, Reduction reduction, const Where& where);

}  // namespace chainrule::internal
