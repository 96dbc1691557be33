// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/machine.hpp"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <thread>
#include <utility>

#include "cgroup.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/executor.hpp"
#include "warn_once.hpp"

namespace chainrule {
namespace {

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) {
      const auto colon = line.find(": ");
      if (colon != std::string::npos) return line.substr(colon + 2);
    }
  }
  return "unknown";
}

// What OpenBLAS calls kernels that do not use the widest vectors of this CPU.
bool is_below(std::string_view blas_core, std::string_view architecture) {
  constexpr std::string_view kAvx512Cores[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
  if (architecture != "avx512") return false;
  return std::find(std::begin(kAvx512Cores), std::end(kAvx512Cores), blas_core) ==
         std::end(kAvx512Cores);
}

struct Warnings {
  std::mutex mutex;
  WarningHandler handler;
};

Warnings& warnings() {
  static Warnings instance;
  return instance;
}

// True when somebody listens.
bool deliver(const std::string& message) {
  Warnings& w = warnings();
  WarningHandler handler;
  {
    const std::lock_guard lock(w.mutex);
    handler = w.handler;
  }
  if (handler) handler(message);
  return static_cast<bool>(handler);
}

std::string slow_kernels(std::string_view active) {
  const std::string_view best = available_kernels().back()->architecture;
  if (active == best) return "";
  return fmt::format("CHAINRULE_ARCH selects '{}' kernels; this CPU runs '{}'", active, best);
}

std::string slow_blas(std::string_view core) {
  if (!is_below(core, available_kernels().back()->architecture)) return "";
  const char* const override_ = std::getenv("OPENBLAS_CORETYPE");
  return fmt::format(
      "OpenBLAS uses its '{}' kernels{}, below what this CPU offers: --gemm blas is slower", core,
      override_ != nullptr ? fmt::format(" (OPENBLAS_CORETYPE={})", override_) : "");
}

// `told` becomes true when somebody has heard it.
void warn_once(std::atomic<bool>& told, const std::string& message) {
  if (message.empty() || told.exchange(true)) return;
  if (!deliver(message)) told = false;
}

}  // namespace

void internal::warn_of_slow_kernels(std::string_view active) {
  static std::atomic<bool> told{false};
  if (!told) warn_once(told, slow_kernels(active));
}

void internal::warn_of_slow_blas(std::string_view core) {
  static std::atomic<bool> told{false};
  if (!told) warn_once(told, slow_blas(core));
}

int default_threads() {
  const int cores = usable_cores();
  const auto quota = internal::cgroup_cpu_quota();
  if (!quota || *quota >= cores) return cores;
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

MachineInfo machine_info() {
  MachineInfo info;
  info.cpu = cpu_name();
  info.cores = usable_cores();
  info.cgroup_cpus = internal::cgroup_cpu_quota();
  info.default_threads = default_threads();
  info.architecture = default_kernels().architecture;
  for (const KernelTable* table : available_kernels()) {
    info.architectures.emplace_back(table->architecture);
  }
  info.blas = blas_info();

  for (const std::string& warning : {slow_kernels(info.architecture), slow_blas(info.blas.core)}) {
    if (!warning.empty()) info.warnings.push_back(warning);
  }
  if (!info.blas.threadsafe) {
    info.warnings.emplace_back(
        "OpenBLAS is a serial build: --gemm blas is refused (install libopenblas-pthread-dev)");
  }
  return info;
}

WarningHandler set_warning_handler(WarningHandler handler) {
  Warnings& w = warnings();
  const std::lock_guard lock(w.mutex);
  return std::exchange(w.handler, std::move(handler));
}

void warn(const std::string& message) { deliver(message); }

}  // namespace chainrule
