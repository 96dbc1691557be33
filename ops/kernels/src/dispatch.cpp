// SPDX-License-Identifier: Apache-2.0
#include "chainrule/kernels/dispatch.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "architectures.hpp"
#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

#if defined(__x86_64__)
#if defined(CHAINRULE_WITHOUT_AVX512)
constexpr std::array kTables = {&chainrule_kernels_baseline, &chainrule_kernels_avx2};
constexpr std::array<std::string_view, 2> kNames = {"baseline", "avx2"};
#else
constexpr std::array kTables = {&chainrule_kernels_baseline, &chainrule_kernels_avx2,
                                &chainrule_kernels_avx512};
constexpr std::array<std::string_view, 3> kNames = {"baseline", "avx2", "avx512"};
#endif

/// How many of kTables, from the front, this CPU and operating system can run.
std::size_t count_runnable() noexcept {
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 1;
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512cd") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512vl")) {
    return 2;
  }
  return kTables.size();
}
#elif defined(__aarch64__)
constexpr std::array kTables = {&chainrule_kernels_neon};
constexpr std::array<std::string_view, 1> kNames = {"neon"};

std::size_t count_runnable() noexcept { return 1; }
#else
#error "no kernels for this architecture"
#endif

const KernelTable& find_kernels(std::string_view architecture, std::string_view source) {
  std::vector<std::string_view> names;
  for (const KernelTable* table : available_kernels()) {
    if (table->architecture == architecture) return *table;
    names.push_back(table->architecture);
  }
  throw ArgumentError(fmt::format("{}no kernels '{}' on this CPU; expected one of: {}", source,
                                  architecture, fmt::join(names, ", ")));
}

}  // namespace

std::span<const KernelTable* const> available_kernels() noexcept {
  static const std::size_t count = count_runnable();
  return std::span(kTables).first(count);
}

std::span<const std::string_view> compiled_architectures() noexcept { return kNames; }

const KernelTable& kernels_named(std::string_view architecture) {
  return find_kernels(architecture, "");
}

const KernelTable& default_kernels() {
  const char* const wanted = std::getenv("CHAINRULE_ARCH");
  if (wanted == nullptr || *wanted == '\0') return *available_kernels().back();
  return find_kernels(wanted, "environment variable CHAINRULE_ARCH: ");
}

}  // namespace chainrule
