// SPDX-License-Identifier: Apache-2.0
//
// Control groups as a kernel shows them, in a directory of the test's own.

#include <gtest/gtest.h>

#include "cgroup.hpp"
#include "temporary_directory.hpp"

namespace chainrule {
namespace {

namespace fs = std::filesystem;
using internal::cgroup_cpu_quota;

class CgroupTest : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    const fs::path path = directory_ / name;
    fs::create_directories(path.parent_path());
    testing::write_text(path, text);
  }
  void mount(const std::string& line) { mounts_ += "30 24 0:26 " + line + "\n"; }
  std::optional<double> quota() {
    write("proc/self/mountinfo",
          "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" + mounts_);
    return cgroup_cpu_quota(directory_.path());
  }

 private:
  testing::TemporaryDirectory directory_;
  std::string mounts_;
};

constexpr const char* kV2 = "/ /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
constexpr const char* kV1 =
    "/ /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct";

TEST_F(CgroupTest, HasNoQuotaWithoutControlGroups) {
  EXPECT_EQ(quota(), std::nullopt);
  EXPECT_EQ(cgroup_cpu_quota("/no/such/root"), std::nullopt);
}

TEST_F(CgroupTest, TakesTheTightestOfV2UpToTheRoot) {
  mount(kV2);
  write("proc/self/cgroup", "0::/a.slice/b\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("sys/fs/cgroup/a.slice/b/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 1.5);
  write("sys/fs/cgroup/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 0.5);
  write("sys/fs/cgroup/a.slice/b/cpu.max", "25000 100000\n");
  EXPECT_EQ(quota(), 0.25);
}

TEST_F(CgroupTest, ReadsV1) {
  mount("/ /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory");
  mount(kV1);
  write("proc/self/cgroup", "5:memory:/m\n4:cpu,cpuacct:/a/b\n0::/\n");
  write("sys/fs/cgroup/memory/m/cpu.cfs_quota_us", "1\n");  // not where CPU time is limited
  write("sys/fs/cgroup/memory/m/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), std::nullopt);
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "125000\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "50000\n");
  EXPECT_EQ(quota(), 2.5);
}

TEST_F(CgroupTest, ReadsBothWhereBothAreMounted) {
  mount(kV1);
  mount("/ /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw");
  write("proc/self/cgroup", "4:cpu,cpuacct:/a\n0::/b\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000\n");
  write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 2);
  write("sys/fs/cgroup/unified/b/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 1);
}

// A container's mount shows its own group as the root, but the process's path is the host's.
TEST_F(CgroupTest, FindsTheGroupOfAContainer) {
  mount("/docker/0f /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu");
  write("proc/self/cgroup", "4:cpu:/docker/0f/inner\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(quota(), 3);
}

}  // namespace
}  // namespace chainrule
