// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::bench {

/// FLOP/s of fused multiply-adds in registers on one thread, measured once per process: the median
/// of several bursts.
template <class T>
double fma_peak(const KernelTable& kernels);

/// Adds counters "flops" (FLOP/s) and "fma_fraction", the share of the FMA peak of `threads`
/// threads, given the floating-point operations of one iteration.
template <class T>
void report_flops(benchmark::State& state, const KernelTable& kernels, double flops_an_iteration,
                  int threads = 1);

/// Puts CPU, kernels, BLAS core, threads, FMA peak and warnings into the banner and the JSON
/// context, then runs the registered benchmarks as benchmark_main does.
int run(int argc, char** argv);

}  // namespace chainrule::bench
