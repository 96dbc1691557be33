// SPDX-License-Identifier: Apache-2.0
// Strong definitions of the C allocation functions that count and pass on to the C library. The
// C++ library's operator new calls malloc, and its aligned form aligned_alloc, so they count too.
#include "allocation_counter.hpp"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>

namespace {

std::atomic<long> count{0};
std::atomic<std::size_t> largest{0};

void record(std::size_t bytes) noexcept {
  count.fetch_add(1, std::memory_order_relaxed);
  std::size_t seen = largest.load(std::memory_order_relaxed);
  while (seen < bytes && !largest.compare_exchange_weak(seen, bytes)) {
  }
}

// dlsym may itself allocate on its first call: those few blocks come from here and are never freed.
alignas(64) char early[1 << 14];
std::atomic<std::size_t> early_used{0};

void* early_memory(std::size_t bytes) noexcept {
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  const std::size_t start = early_used.fetch_add(rounded);
  return start + rounded <= sizeof(early) ? early + start : nullptr;
}

bool is_early(const void* memory) noexcept {
  const auto* const p = static_cast<const char*>(memory);
  return p >= early && p < early + sizeof(early);
}

thread_local bool looking_up = false;

/// The C library's own function of that name; null while it is being looked up.
template <class Function>
Function* next(std::atomic<void*>& cached, const char* name) noexcept {
  void* found = cached.load(std::memory_order_acquire);
  if (found == nullptr && !looking_up) {
    looking_up = true;
    found = dlsym(RTLD_NEXT, name);
    looking_up = false;
    cached.store(found, std::memory_order_release);
  }
  return reinterpret_cast<Function*>(found);
}

constinit std::atomic<void*> next_malloc{nullptr};
constinit std::atomic<void*> next_calloc{nullptr};
constinit std::atomic<void*> next_realloc{nullptr};
constinit std::atomic<void*> next_free{nullptr};
constinit std::atomic<void*> next_aligned_alloc{nullptr};
constinit std::atomic<void*> next_memalign{nullptr};
constinit std::atomic<void*> next_posix_memalign{nullptr};
constinit std::atomic<void*> next_mmap{nullptr};

}  // namespace

extern "C" {

void* malloc(std::size_t bytes) {
  record(bytes);
  auto* const function = next<void*(std::size_t)>(next_malloc, "malloc");
  return function != nullptr ? function(bytes) : early_memory(bytes);
}

void* calloc(std::size_t items, std::size_t bytes) {
  record(items * bytes);
  auto* const function = next<void*(std::size_t, std::size_t)>(next_calloc, "calloc");
  return function != nullptr ? function(items, bytes) : early_memory(items * bytes);
}

void* realloc(void* memory, std::size_t bytes) {
  record(bytes);
  auto* const function = next<void*(void*, std::size_t)>(next_realloc, "realloc");
  return function != nullptr && !is_early(memory) ? function(memory, bytes) : nullptr;
}

void free(void* memory) {
  auto* const function = next<void(void*)>(next_free, "free");
  if (function != nullptr && !is_early(memory)) function(memory);
}

void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  record(bytes);
  auto* const function = next<void*(std::size_t, std::size_t)>(next_aligned_alloc, "aligned_alloc");
  return function(alignment, bytes);
}

void* memalign(std::size_t alignment, std::size_t bytes) {
  record(bytes);
  auto* const function = next<void*(std::size_t, std::size_t)>(next_memalign, "memalign");
  return function(alignment, bytes);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) {
  record(bytes);
  auto* const function =
      next<int(void**, std::size_t, std::size_t)>(next_posix_memalign, "posix_memalign");
  return function(memory, alignment, bytes);
}

void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  record(bytes);
  auto* const function = next<void*(void*, std::size_t, int, int, int, off_t)>(next_mmap, "mmap");
  return function(address, bytes, protection, flags, file, offset);
}

}  // extern "C"

namespace chainrule::testing {

long allocations() noexcept { return count.load(); }
std::size_t largest_allocation() noexcept { return largest.load(); }
void reset_largest_allocation() noexcept { largest.store(0); }

}  // namespace chainrule::testing
