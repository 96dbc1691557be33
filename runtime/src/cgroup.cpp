// SPDX-License-Identifier: Apache-2.0
#include "cgroup.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/runtime/machine.hpp"

namespace chainrule {
namespace internal {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

bool has_controller(std::string_view list, std::string_view controller) {
  std::istringstream names{std::string(list)};
  for (std::string name; std::getline(names, name, ',');) {
    if (name == controller) return true;
  }
  return false;
}

// A mounted hierarchy that may limit CPU time (proc_pid_mountinfo(5)).
struct Hierarchy {
  bool v2 = false;
  std::string root;  ///< the group that the mount point shows
  fs::path mounted;
};

std::vector<Hierarchy> cpu_hierarchies(const fs::path& root) {
  std::vector<Hierarchy> found;
  std::istringstream mounts(text_of(root / "proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, shown, point, field, type, source, options;
    fields >> id >> parent >> device >> shown >> point;
    while (fields >> field && field != "-") {
    }
    fields >> type >> source >> options;
    const bool v2 = type == "cgroup2";
    if (!v2 && !(type == "cgroup" && has_controller(options, "cpu"))) continue;
    found.push_back({.v2 = v2, .root = shown, .mounted = root / fs::path(point).relative_path()});
  }
  return found;
}

// The process's group in a hierarchy (cgroups(7): "0::/path", "4:cpu,cpuacct:/path"), as the mount
// point shows it: "" or "/a/b".
std::string group_of_process(const Hierarchy& hierarchy, const fs::path& root) {
  std::istringstream groups(text_of(root / "proc/self/cgroup"));
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    if (hierarchy.v2 ? !controllers.empty() : !has_controller(controllers, "cpu")) continue;
    std::string path = line.substr(second + 1);
    if (hierarchy.root != "/" && path.starts_with(hierarchy.root)) {
      path = path.substr(hierarchy.root.size());
    }
    return path == "/" ? "" : path;
  }
  return "";
}

std::optional<double> quota_of_group(const Hierarchy& hierarchy, const std::string& group) {
  const fs::path directory = hierarchy.mounted / fs::path(group).relative_path();
  if (hierarchy.v2) return parse_cpu_max(text_of(directory / "cpu.max"));
  std::string quota = text_of(directory / "cpu.cfs_quota_us");
  quota = quota.substr(0, quota.find('\n'));
  return parse_cpu_max(quota + " " + text_of(directory / "cpu.cfs_period_us"));
}

}  // namespace

std::optional<double> cgroup_cpu_quota(const fs::path& root) {
  std::optional<double> tightest;
  for (const Hierarchy& hierarchy : cpu_hierarchies(root)) {
    for (std::string group = group_of_process(hierarchy, root);;
         group = group.substr(0, group.rfind('/'))) {
      if (const auto quota = quota_of_group(hierarchy, group)) {
        tightest = std::min(tightest.value_or(*quota), *quota);
      }
      if (group.find('/') == std::string::npos) break;
    }
  }
  return tightest;
}

}  // namespace internal

std::optional<double> parse_cpu_max(std::string_view text) {
  const auto is_text = [](char c) { return c != ' ' && c != '\n'; };
  double quota = 0;
  double period = 0;
  const char* const end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, quota);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != ' ') return std::nullopt;
  const auto second = std::from_chars(first.ptr + 1, end, period);
  if (second.ec != std::errc() || !(quota > 0) || !(period > 0)) return std::nullopt;
  if (!std::isfinite(quota / period) || std::find_if(second.ptr, end, is_text) != end) {
    return std::nullopt;
  }
  return quota / period;
}

}  // namespace chainrule
