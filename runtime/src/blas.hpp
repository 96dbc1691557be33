// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::internal {

/// Makes the table's gemm OpenBLAS's; see set_up_blas().
void use_blas_gemm(KernelTable& kernels);

}  // namespace chainrule::internal
