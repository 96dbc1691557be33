// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "chainrule/core/tensor.hpp"
#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::bench {

/// FLOP/s of fused multiply-adds in registers on one thread, measured once per process: the median
/// of several bursts.
template <class T>
double fma_peak(const KernelTable& kernels);

/// Cycles per second of the core, measured once per process with a chain of additions.
double clock_rate();

/// Bytes per second that one thread reads of a buffer of `bytes` again and again: from L1, L2, L3
/// or memory, as large as it is. The median of several passes.
double read_bandwidth(const KernelTable& kernels, Index bytes);

/// Every element within tolerance * (1 + |reference|).
bool agrees(ConstTensorView value, ConstTensorView reference, double tolerance);

/// Runs the benchmark's loop; returns the wall-clock seconds of one iteration. Counters made from
/// these hold for several threads as well, unlike Google Benchmark's rates.
template <class Body>
double timed(benchmark::State& state, Body&& body) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  for (auto _ : state) body();
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  return elapsed.count() / static_cast<double>(state.iterations());
}

/// The least wall-clock seconds that one call of body takes, over some rounds of many.
template <class Body>
double least_seconds(Body&& body) {
  using Clock = std::chrono::steady_clock;
  constexpr int kRounds = 50;
  constexpr int kCalls = 20;
  double least = std::numeric_limits<double>::infinity();
  for (int round = 0; round < kRounds; ++round) {
    const auto start = Clock::now();
    for (int call = 0; call < kCalls; ++call) body();
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    least = std::min(least, elapsed.count() / kCalls);
  }
  return least;
}

/// Adds counters "flops" (floating-point operations per second) and "fma_fraction", the share of
/// the FMA peak of `threads` threads, of an iteration of so many operations and seconds.
template <class T>
void report_flops(benchmark::State& state, const KernelTable& kernels, double flops, double seconds,
                  int threads = 1);

/// Puts CPU, kernels, BLAS core, threads, FMA peak and warnings into the banner and the JSON
/// context, then runs the registered benchmarks as benchmark_main does.
int run(int argc, char** argv);

}  // namespace chainrule::bench
