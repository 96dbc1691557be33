// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/check/check_case.hpp"
#include "chainrule/kernels/dispatch.hpp"

namespace chainrule::testing {

/// Sanitizers make the checks six times as long.
#ifdef CHAINRULE_TEST_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// The shape classes of the case table. Under sanitizers those of hundreds of elements, which take
/// most of the time, give way to one that has two blocks of rows all the same.
inline std::vector<CaseSize> checked_sizes() {
  std::vector<CaseSize> sizes(case_sizes().begin(), case_sizes().end());
  if (!kSanitized) return sizes;
  std::erase_if(sizes, [](const CaseSize& size) { return size.rows * size.columns > 100; });
  sizes.push_back({"blocks", 18, 5});
  return sizes;
}

/// The architectures of this machine; under sanitizers the default, as tests/kernels runs all.
inline std::vector<const KernelTable*> checked_kernels() {
  if (kSanitized) return {&default_kernels()};
  const auto kernels = available_kernels();
  return {kernels.begin(), kernels.end()};
}

/// check_op() at these sizes.
inline std::vector<CaseReport> check_sizes_of(const OpDef& op, DType dtype,
                                              const KernelTable* kernels) {
  std::vector<CaseReport> reports;
  for (const OpCase& op_case : op_cases()) {
    if (op_case.op != &op) continue;
    for (const CaseSize& size : checked_sizes()) {
      reports.push_back(check_case(op_case, size, dtype, kernels));
    }
  }
  return reports;
}

}  // namespace chainrule::testing
