// SPDX-License-Identifier: Apache-2.0
// Strong definitions of the C allocation functions that count and pass on to the C library. The
// C++ library's operator new calls malloc, and its aligned form aligned_alloc, so they count too.
#include "allocation_counter.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>

namespace {

std::atomic<long> count{0};
// Of this thread: others may be starting, for which the C library maps 128 MB.
constinit thread_local std::size_t largest = 0;

void record(std::size_t bytes) noexcept {
  count.fetch_add(1, std::memory_order_relaxed);
  largest = std::max(largest, bytes);
}

}  // namespace

// The C library's own functions under names that nobody interposes. (Looking them up with dlsym()
// would reenter the dynamic loader, which itself allocates.)
extern "C" {
void* __libc_malloc(std::size_t bytes);
void* __libc_calloc(std::size_t items, std::size_t bytes);
void* __libc_realloc(void* memory, std::size_t bytes);
void* __libc_memalign(std::size_t alignment, std::size_t bytes);

void* malloc(std::size_t bytes) {
  record(bytes);
  return __libc_malloc(bytes);
}

void* calloc(std::size_t items, std::size_t bytes) {
  record(items * bytes);
  return __libc_calloc(items, bytes);
}

void* realloc(void* memory, std::size_t bytes) {
  record(bytes);
  return __libc_realloc(memory, bytes);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  record(bytes);
  return __libc_memalign(alignment, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) {
  record(bytes);
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  record(bytes);
  *memory = __libc_memalign(alignment, bytes);
  return *memory == nullptr ? ENOMEM : 0;
}

void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  record(bytes);
  const long result = syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
  return reinterpret_cast<void*>(static_cast<std::intptr_t>(result));
}

}  // extern "C"

namespace chainrule::testing {

long allocations() noexcept { return count.load(); }
std::size_t largest_allocation() noexcept { return largest; }
void reset_largest_allocation() noexcept { largest = 0; }

}  // namespace chainrule::testing
