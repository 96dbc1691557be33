// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/machine.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {
namespace {

TEST(ParseCpuMax, ReadsTheQuotaInCores) {
  EXPECT_EQ(parse_cpu_max("200000 100000\n"), 2.0);
  EXPECT_EQ(parse_cpu_max("50000 100000"), 0.5);
  EXPECT_EQ(parse_cpu_max("150000 100000\n"), 1.5);
}

TEST(ParseCpuMax, IsNothingWithoutLimitOrSense) {
  for (const char* text : {"max 100000\n", "", "\n", "200000", "200000 ", "200000 max", "-1 100000",
                           "0 100000", "200000 0", "200000 -5", "inf 100000", "nan 100000",
                           "200000 100000 3", "200000 100000x", "x 100000"}) {
    EXPECT_EQ(parse_cpu_max(text), std::nullopt) << '"' << text << '"';
  }
}

/// Sets an environment variable for its lifetime.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    const char* const old = std::getenv(name);
    had_ = old != nullptr;
    if (had_) old_ = old;
    setenv(name, value, 1);
  }
  ~Environment() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  bool had_ = false;
  std::string old_;
};

TEST(MachineInfo, AgreesWithItsSources) {
  const MachineInfo info = machine_info();
  EXPECT_FALSE(info.cpu.empty());
  EXPECT_GE(info.cores, 1);
  EXPECT_GE(info.default_threads, 1);
  EXPECT_LE(info.default_threads, info.cores);
  EXPECT_EQ(info.default_threads, default_threads());
  EXPECT_LE(info.default_threads, std::max(1.0, info.cgroup_cpus.value_or(info.cores) + 1));
  EXPECT_EQ(info.architecture, default_kernels().architecture);
  EXPECT_EQ(info.architectures.size(), available_kernels().size());
  EXPECT_THAT(info.architectures, ::testing::Contains(info.architecture));
  EXPECT_THAT(info.blas.library, ::testing::HasSubstr("OpenBLAS"));
  EXPECT_FALSE(info.blas.core.empty());
}

TEST(MachineInfo, WarnsOfSlowerKernelsThanTheCpuRuns) {
  const std::string slowest(available_kernels().front()->architecture);
  if (available_kernels().size() == 1) GTEST_SKIP() << "this CPU runs one architecture only";
  const Environment arch("CHAINRULE_ARCH", slowest.c_str());
  const MachineInfo info = machine_info();
  EXPECT_EQ(info.architecture, slowest);
  EXPECT_THAT(info.warnings, ::testing::Contains(::testing::HasSubstr("CHAINRULE_ARCH")));
}

TEST(MachineInfo, RefusesAnUnknownArchitecture) {
  const Environment arch("CHAINRULE_ARCH", "abacus");
  EXPECT_THROW(machine_info(), ArgumentError);
}

TEST(Warnings, GoToTheHandlerAndOtherwiseNowhere) {
  std::vector<std::string> heard;
  ::testing::internal::CaptureStderr();
  warn("nobody listens");
  const WarningHandler previous =
      set_warning_handler([&](const std::string& message) { heard.push_back(message); });
  warn("one");
  const WarningHandler mine = set_warning_handler(previous);
  warn("two");
  EXPECT_THAT(heard, ::testing::ElementsAre("one"));
  EXPECT_TRUE(static_cast<bool>(mine));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(Executors, ThreadsAreWhatWasAskedForAndNothingIsPrinted) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(Executor().threads(), 1);
  EXPECT_EQ(Executor(0).threads(), default_threads());
  const Executor many(64);
  EXPECT_EQ(many.threads(), 64);
  EXPECT_GE(many.with_residents([] {}), 1);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace chainrule
