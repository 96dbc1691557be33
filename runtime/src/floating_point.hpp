// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace chainrule::internal {

/// While it lives, this thread rounds to nearest, keeps denormals and traps nothing; then the
/// caller's mode is back. Results would otherwise depend on which thread computed them, since TBB
/// workers do not inherit the caller's mode.
class ScopedFloatingPointMode {
 public:
#if defined(__x86_64__)
  ScopedFloatingPointMode() noexcept : saved_(_mm_getcsr()) {
    if (saved_ != kDefault) _mm_setcsr(kDefault);
  }
  ~ScopedFloatingPointMode() {
    if (saved_ != kDefault) _mm_setcsr(saved_);
  }

 private:
  static constexpr unsigned kDefault = 0x1F80;  // all exceptions masked, nothing else set
  unsigned saved_;
#elif defined(__aarch64__)
  ScopedFloatingPointMode() noexcept : saved_(read()) { write(0); }
  ~ScopedFloatingPointMode() { write(saved_); }

 private:
  static std::uint64_t read() noexcept {
    std::uint64_t value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void write(std::uint64_t value) noexcept { asm volatile("msr fpcr, %0" : : "r"(value)); }
  std::uint64_t saved_;
#else
#error "set the floating-point mode for this architecture"
#endif

 public:
  ScopedFloatingPointMode(const ScopedFloatingPointMode&) = delete;
  ScopedFloatingPointMode& operator=(const ScopedFloatingPointMode&) = delete;
};

}  // namespace chainrule::internal
