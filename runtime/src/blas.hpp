// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::internal {

/// Makes the table's gemm OpenBLAS's; see set_up_blas(). The handler hears, once a process, what is
/// wrong with its kernels.
void use_blas_gemm(KernelTable& kernels);

}  // namespace chainrule::internal
