// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>

namespace chainrule::internal {

/// The CPU quota of this process's control group and of those above it, the tightest, in cores;
/// nothing without one. Reads cgroup v2 and v1, wherever they are mounted, below `root`.
std::optional<double> cgroup_cpu_quota(const std::filesystem::path& root = "/");

}  // namespace chainrule::internal
