// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"

// The one global symbol of each arch_*.cpp; ops/kernels/CMakeLists.txt makes every other one local,
// so that no inline function compiled for a newer CPU can replace its namesake elsewhere.
extern "C" {
extern const chainrule::KernelTable chainrule_kernels_baseline;
extern const chainrule::KernelTable chainrule_kernels_avx2;
extern const chainrule::KernelTable chainrule_kernels_avx512;
extern const chainrule::KernelTable chainrule_kernels_neon;
}
