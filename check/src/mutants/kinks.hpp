// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/check/case_table.hpp"

namespace chainrule::internal {

/// An element of an op's input 0 that sits exactly at a kink of the op.
struct KinkElement {
  Index row = 0;
  Index column = 0;
  /// The derivative of the output that this element influences, as the op's contract states it.
  double derivative = 0;
};

/// The elements of an instance that sit at one.
std::vector<KinkElement> kink_elements(const OpDef& op, const CaseInstance& instance);

/// Cases beside those of the table: they are not meant for differences, which have nothing to say
/// at |x - target| = delta (huber), or would be duplicates but for what mutants need of them.
std::span<const OpCase> cases_for_mutants();

}  // namespace chainrule::internal
