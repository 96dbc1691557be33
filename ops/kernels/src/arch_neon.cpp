// SPDX-License-Identifier: Apache-2.0
#include "architectures.hpp"
#include "table.hpp"

constinit const chainrule::KernelTable chainrule_kernels_neon =
    chainrule::simd::make_table<chainrule::simd::NativeArch>("neon");
