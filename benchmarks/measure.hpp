// SPDX-License-Identifier: Apache-2.0
#pragma once

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

/// Bytes per second that so many threads together read of a buffer of `bytes`, each its share of it
/// again and again: from L1, L2, L3 or memory, as large as the shares are. The sum of each thread's
/// median of several passes that start together, measured once per process for each size.
double read_bandwidth(const KernelTable& kernels, Index bytes, int threads = 1);

/// Bytes per second that one thread moves, those it reads and those it writes, when memcpy() copies
/// one half of `bytes` to the other again and again. Measured as read_bandwidth() is.
double copy_bandwidth(Index bytes);

/// Every element within tolerance * (1 + |reference|).
bool agrees(ConstTensorView value, ConstTensorView reference, double tolerance);

/// The same elements, byte by byte; padding does not count.
bool same_bits(ConstTensorView a, ConstTensorView b);

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

}  // namespace chainrule::bench
