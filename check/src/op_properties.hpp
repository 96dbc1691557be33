// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/check/check_case.hpp"

namespace chainrule::internal {

// What else is promised of an op, beside its gradient. Each adds the names of the properties that
// it checked, and a failure for each that does not hold.

/// "strides": the same bits whatever the leading dimensions and alignments, no byte of padding read
/// into a result or written, inputs left alone. "aliasing": the same bits with the output in the
/// memory of input 0, and the gradient of input 0 in that of dY, where the op declares it.
/// "determinism": the same bits twice.
void check_memory(const CaseInstance& instance, const KernelTable& kernels, CaseReport& report);

/// "accumulation": where the op is applied twice to the same inputs, their gradients are the sum of
/// both.
void check_accumulation(const OpCase& op_case, const CaseSize& size, DType dtype,
                        const KernelTable& kernels, std::uint64_t seed, CaseReport& report);

/// "second order": the Hessian of sum y^2 / 2 by forward over reverse is the derivative of its
/// gradient, by differences.
void check_second_order(const OpCase& op_case, const CaseSize& size, const KernelTable& kernels,
                        std::uint64_t seed, CaseReport& report);

/// "threads": the same bits on one thread and on two, where the batch is several blocks of rows.
void check_threads(const CaseInstance& instance, const KernelTable& kernels, CaseReport& report);

/// check_case() but for second order, which a damaged backward needs not to be found.
CaseReport check_first_order(const OpCase& op_case, const CaseSize& size, DType dtype,
                             const KernelTable& kernels, std::uint64_t seed);

}  // namespace chainrule::internal
