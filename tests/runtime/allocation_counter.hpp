// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace chainrule::testing {

/// Calls of malloc, calloc, realloc, aligned_alloc, posix_memalign, memalign, mmap and operator new
/// by any thread of this process so far.
long allocations() noexcept;
/// The largest number of bytes asked for in one call since the last reset.
std::size_t largest_allocation() noexcept;
void reset_largest_allocation() noexcept;

}  // namespace chainrule::testing
