// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/check/case_table.hpp"

namespace chainrule::internal {

/// The families of the case table, each adding its rows.
void add_arithmetic_cases(std::vector<OpCase>& cases);
void add_activation_cases(std::vector<OpCase>& cases);
void add_normalization_cases(std::vector<OpCase>& cases);
void add_reduction_cases(std::vector<OpCase>& cases);
void add_loss_cases(std::vector<OpCase>& cases);

inline bool is_one_element(const CaseBuilder& b) { return b.rows() * b.columns() == 1; }

}  // namespace chainrule::internal
