// SPDX-License-Identifier: Apache-2.0
#include "chainrule/kernels/dispatch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// Sets CHAINRULE_ARCH for one test.
class ScopedArchitecture {
 public:
  explicit ScopedArchitecture(const char* value) {
    if (const char* before = std::getenv("CHAINRULE_ARCH")) before_ = before;
    if (value != nullptr) {
      setenv("CHAINRULE_ARCH", value, 1);
    } else {
      unsetenv("CHAINRULE_ARCH");
    }
  }
  ~ScopedArchitecture() {
    if (before_) {
      setenv("CHAINRULE_ARCH", before_->c_str(), 1);
    } else {
      unsetenv("CHAINRULE_ARCH");
    }
  }
  ScopedArchitecture(const ScopedArchitecture&) = delete;
  ScopedArchitecture& operator=(const ScopedArchitecture&) = delete;

 private:
  std::optional<std::string> before_;
};

template <class F>
std::string argument_error_of(F f) {
  try {
    f();
  } catch (const ArgumentError& error) {
    return error.what();
  }
  return "no ArgumentError";
}

TEST(DispatchTest, AvailableTablesAreTheFirstCompiledOnes) {
  const auto compiled = compiled_architectures();
  const auto available = available_kernels();
  ASSERT_FALSE(available.empty());
  ASSERT_LE(available.size(), compiled.size());
  for (std::size_t i = 0; i < available.size(); ++i) {
    EXPECT_EQ(available[i]->architecture, compiled[i]);
    EXPECT_EQ(&kernels_named(compiled[i]), available[i]);
  }
}

TEST(DispatchTest, EveryEntryIsFilled) {
  for (const KernelTable* table : available_kernels()) {
    // A table holds nothing but function pointers.
    using Pointer = void (*)();
    static_assert(sizeof(table->f32) % sizeof(Pointer) == 0);
    const auto* const pointers = reinterpret_cast<const Pointer*>(&table->f32);
    const auto* const wide_pointers = reinterpret_cast<const Pointer*>(&table->f64);
    for (std::size_t i = 0; i < sizeof(table->f32) / sizeof(Pointer); ++i) {
      EXPECT_NE(pointers[i], nullptr) << table->architecture << " float entry " << i;
      EXPECT_NE(wide_pointers[i], nullptr) << table->architecture << " double entry " << i;
    }
  }
}

#if defined(__x86_64__)
// What we think we test: Linux lists a flag where CPU and operating system both support it.
TEST(DispatchTest, AvailabilityAgreesWithTheKernel) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && line.rfind("flags", 0) != 0) {
  }
  ASSERT_FALSE(line.empty()) << "no flags in /proc/cpuinfo";
  std::istringstream words(line);
  std::vector<std::string> flags;
  for (std::string word; words >> word;) flags.push_back(word);
  const auto has = [&](const char* flag) {
    return std::find(flags.begin(), flags.end(), flag) != flags.end();
  };
  const bool avx2 = has("avx2") && has("fma");
  const bool avx512 = avx2 && compiled_architectures().size() == 3 && has("avx512f") &&
                      has("avx512cd") && has("avx512dq") && has("avx512bw") && has("avx512vl");
  EXPECT_EQ(available_kernels().size(), avx512 ? 3U : (avx2 ? 2U : 1U));
  EXPECT_EQ(available_kernels().back()->float_lanes, avx512 ? 16 : (avx2 ? 8 : 4));
}
#endif

TEST(DispatchTest, TheBestIsTheDefault) {
  const ScopedArchitecture unset(nullptr);
  EXPECT_EQ(&default_kernels(), available_kernels().back());
  const ScopedArchitecture empty("");
  EXPECT_EQ(&default_kernels(), available_kernels().back());
}

TEST(DispatchTest, TheEnvironmentOverrides) {
  for (const KernelTable* table : available_kernels()) {
    const ScopedArchitecture chosen(std::string(table->architecture).c_str());
    EXPECT_EQ(&default_kernels(), table);
  }
}

TEST(DispatchTest, AnUnknownNameIsAnErrorThatListsTheKnown) {
  const ScopedArchitecture wrong("avx1024");
  const std::string first(available_kernels().front()->architecture);
  EXPECT_THAT(argument_error_of([] { default_kernels(); }),
              AllOf(HasSubstr("avx1024"), HasSubstr(first), HasSubstr("CHAINRULE_ARCH")));
  EXPECT_THAT(argument_error_of([] { kernels_named("AVX2"); }),
              AllOf(StartsWith("no kernels 'AVX2'"), HasSubstr(first)));
}

}  // namespace
}  // namespace chainrule::test
