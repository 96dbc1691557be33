// SPDX-License-Identifier: Apache-2.0
#include "common.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/machine.hpp"

namespace chainrule::bench {
namespace {

template <class T>
double measure_peak(const KernelTable& kernels) {
  using Clock = std::chrono::steady_clock;
  constexpr Index kRounds = 400'000;
  std::array<double, 9> rates{};
  T sink{};
  for (double& rate : rates) {
    const auto start = Clock::now();
    const double flops = kernels.get<T>().fma_burst(kRounds, &sink);
    rate = flops / std::chrono::duration<double>(Clock::now() - start).count();
    benchmark::DoNotOptimize(sink);
  }
  std::nth_element(rates.begin(), rates.begin() + rates.size() / 2, rates.end());
  return rates[rates.size() / 2];
}

}  // namespace

template <class T>
double fma_peak(const KernelTable& kernels) {
  static const double peak = measure_peak<T>(kernels);
  return peak;
}

template <class T>
void report_flops(benchmark::State& state, const KernelTable& kernels, double flops_an_iteration,
                  int threads) {
  using benchmark::Counter;
  const double flops = flops_an_iteration * static_cast<double>(state.iterations());
  state.counters["flops"] = Counter(flops, Counter::kIsRate);
  state.counters["fma_fraction"] =
      Counter(flops / (fma_peak<T>(kernels) * threads), Counter::kIsRate);
}

template double fma_peak<float>(const KernelTable&);
template double fma_peak<double>(const KernelTable&);
template void report_flops<float>(benchmark::State&, const KernelTable&, double, int);
template void report_flops<double>(benchmark::State&, const KernelTable&, double, int);

int run(int argc, char** argv) {
  try {
    const MachineInfo machine = machine_info();
    const KernelTable& kernels = default_kernels();
    benchmark::AddCustomContext("cpu", machine.cpu);
    benchmark::AddCustomContext("kernels", machine.architecture);
    benchmark::AddCustomContext("blas_core", machine.blas.core);
    benchmark::AddCustomContext("default_threads", std::to_string(machine.default_threads));
    benchmark::AddCustomContext("fma_peak_float32_gflops",
                                fmt::format("{:.1f}", fma_peak<float>(kernels) * 1e-9));
    benchmark::AddCustomContext("fma_peak_float64_gflops",
                                fmt::format("{:.1f}", fma_peak<double>(kernels) * 1e-9));
    if (!machine.warnings.empty()) {
      benchmark::AddCustomContext("warnings", fmt::format("{}", fmt::join(machine.warnings, "; ")));
    }
  } catch (const Error& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 1;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace chainrule::bench
