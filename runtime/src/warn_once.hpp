// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace chainrule::internal {

// What machine_info() warns of, told to the handler where it matters: once a process, but not
// before there is a handler.

/// A plan takes the default kernels, `active`.
void warn_of_slow_kernels(std::string_view active);
/// BLAS is about to be used; OpenBLAS has chosen the kernels `core`.
void warn_of_slow_blas(std::string_view core);

}  // namespace chainrule::internal
