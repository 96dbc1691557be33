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
    if (differs()) _mm_setcsr(kDefault);
  }
  ~ScopedFloatingPointMode() {
    if (differs()) _mm_setcsr(saved_);
  }

 private:
  // The register also holds flags of what has happened, one of which any rounding sets; they are no
  // mode, and writing them waits for all arithmetic before.
  bool differs() const noexcept { return (saved_ & ~kFlags) != kDefault; }

  static constexpr unsigned kDefault = 0x1F80;  // all exceptions masked, nothing else set
  static constexpr unsigned kFlags = 0x3F;
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
