// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"

namespace chainrule {

/// What the library found out about BLAS.
struct BlasInfo {
  std::string library;      ///< "OpenBLAS 0.3.21 ..."
  std::string core;         ///< the kernels it picked, such as "Zen" or "SkylakeX"
  bool threadsafe = false;  ///< false: a serial build, whose calls must not run concurrently
};

/// OpenBLAS is told once, at the first use of this function or of a plan with GemmPath::kBlas, to
/// use one thread (process-wide: the library's own threads call it concurrently). Setting the
/// environment variable CHAINRULE_KEEP_BLAS_THREADS leaves its thread count alone. Do not call BLAS
/// in a forked child.
CHAINRULE_API BlasInfo blas_info();

/// What this process may use.
struct MachineInfo {
  std::string cpu;                    ///< "AMD EPYC ..."
  int cores = 1;                      ///< that the affinity mask allows
  std::optional<double> cgroup_cpus;  ///< the cgroup's CPU quota, in cores
  int default_threads = 1;
  std::string architecture;                ///< of the active kernels
  std::vector<std::string> architectures;  ///< that this CPU runs, best last
  BlasInfo blas;
  std::vector<std::string> warnings;  ///< settings that cost speed or bits
};

/// Reads the machine anew at each call. ArgumentError when CHAINRULE_ARCH names no architecture.
CHAINRULE_API MachineInfo machine_info();

/// Parses the text of a cgroup v2 cpu.max file ("200000 100000"): the quota in cores; nothing when
/// unlimited or malformed.
CHAINRULE_API std::optional<double> parse_cpu_max(std::string_view text);

using WarningHandler = std::function<void(const std::string& message)>;
/// Who hears the library's warnings; by default nobody. Returns the previous handler. The library
/// says once a process what MachineInfo::warnings says: of CHAINRULE_ARCH when a plan is compiled,
/// of OpenBLAS's kernels when a plan takes GemmPath::kBlas or linear algebra is first used.
CHAINRULE_API WarningHandler set_warning_handler(WarningHandler handler);
/// Passes a warning on to the handler, from any thread.
CHAINRULE_API void warn(const std::string& message);

}  // namespace chainrule
