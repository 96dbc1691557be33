// SPDX-License-Identifier: Apache-2.0
#include "common.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <iostream>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/machine.hpp"

namespace chainrule::bench {
namespace {

template <std::size_t N>
double median(std::array<double, N>& values) {
  std::nth_element(values.begin(), values.begin() + N / 2, values.end());
  return values[N / 2];
}

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
  return median(rates);
}

}  // namespace

template <class T>
double fma_peak(const KernelTable& kernels) {
  static const double peak = measure_peak<T>(kernels);
  return peak;
}

double clock_rate() {
  static const double rate = [] {
    constexpr int kLinks = 2000;  // of one addition and one exclusive or, a cycle each
    std::uint64_t value = 1, addend = 3, mask = 5;
    benchmark::DoNotOptimize(addend);
    benchmark::DoNotOptimize(mask);
    const double seconds = least_seconds([&] {
      for (int link = 0; link < kLinks; ++link) value = (value + addend) ^ mask;
      benchmark::DoNotOptimize(value);
    });
    return 2 * kLinks / seconds;
  }();
  return rate;
}

double read_bandwidth(const KernelTable& kernels, Index bytes) {
  using Clock = std::chrono::steady_clock;
  constexpr Index kColumns = 4096;
  constexpr Index kLeastBytes = 64'000'000;  // a pass of small buffers is many readings
  const Index rows = std::max<Index>(1, bytes / (kColumns * size_of(DType::kFloat32)));
  const Index columns = std::min<Index>(kColumns, bytes / size_of(DType::kFloat32));
  Tensor buffer({rows, columns}, DType::kFloat32, Layout::kDense);
  std::fill_n(buffer.as<float>().data, rows * columns,
              1.0F);  // what was never written is one page of zeros
  const Index readings = std::max<Index>(1, kLeastBytes / bytes);
  std::array<double, 9> rates{};
  float sink = 0;
  for (double& rate : rates) {
    const auto start = Clock::now();
    for (Index i = 0; i < readings; ++i) {
      kernels.f32.read_burst(buffer.as<float>(), &sink);
      benchmark::DoNotOptimize(sink);
    }
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    rate =
        static_cast<double>(readings * rows * columns * size_of(DType::kFloat32)) / elapsed.count();
  }
  return median(rates);
}

bool agrees(ConstTensorView value, ConstTensorView reference, double tolerance) {
  for (Index i = 0; i < value.rows; ++i) {
    for (Index j = 0; j < value.columns; ++j) {
      const double expected = element(reference, i, j);
      const double error = std::abs(element(value, i, j) - expected);
      if (!(error <= tolerance * (1 + std::abs(expected)))) return false;
    }
  }
  return true;
}

template <class T>
void report_flops(benchmark::State& state, const KernelTable& kernels, double flops, double seconds,
                  int threads) {
  state.counters["flops"] = flops / seconds;
  state.counters["fma_fraction"] = flops / seconds / (fma_peak<T>(kernels) * threads);
}

template double fma_peak<float>(const KernelTable&);
template double fma_peak<double>(const KernelTable&);
template void report_flops<float>(benchmark::State&, const KernelTable&, double, double, int);
template void report_flops<double>(benchmark::State&, const KernelTable&, double, double, int);

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
