// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>

#include "chainrule/kernels/kernel_table.hpp"
#include "measure.hpp"

namespace chainrule::bench {

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

/// Adds counters "flops" (floating-point operations per second) and "fma_fraction", the share of
/// the FMA peak of `threads` threads, of an iteration of so many operations and seconds.
template <class T>
void report_flops(benchmark::State& state, const KernelTable& kernels, double flops, double seconds,
                  int threads = 1);

/// Adds counters "fraction_of_limit", of an iteration that takes `limit` seconds at least, and
/// "bits_ok" 1: nothing is timed that has not the right bits (State::SkipWithError()).
void report_limit(benchmark::State& state, double limit, double seconds);

/// A program of Google Benchmark's.
struct Program {
  const char* name;
  const char* about;  ///< what --help says it measures; lines that end with a line break
  bool has_bits;      ///< its rows have the counter "bits_ok"
};

/// Puts CPU, kernels, BLAS core, threads, FMA peak and warnings into the banner and the JSON
/// context, and runs the registered benchmarks. A row with an error has "bits_ok" 0, if the program
/// has bits. Returns what main() does: 0, or kExitError when a row had an error, none was asked for
/// that there is, or output was lost; kExitMisuse for options that there are not.
int run(int argc, char** argv, const Program& program);

}  // namespace chainrule::bench
