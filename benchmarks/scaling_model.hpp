// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string>
#include <vector>

#include "workloads.hpp"

namespace chainrule::bench {

/// Series of runs of one step on so many threads, each a mean.
struct Timing {
  int threads = 1;
  std::vector<double> series{};  ///< seconds of a run
  double cpu_share = 1;          ///< CPU time by wall-clock time and threads, over all series
  int participants = 1;          ///< threads that took part in a run, at most

  double best() const;
};

/// What a step would take on more cores than there are, from its times on one thread and on two:
///
///     T(p) = max(T1 (f + (1 - f) s(p)) + 2 b log2(p), bytes / bandwidth(p))
///     s(p) = (1 - w) / min(p, blocks) + w / p
///
/// where f is such that T(2) is what was measured. kModelTerms says what the letters mean.
class ScalingModel {
 public:
  /// `bandwidth` is what one thread reads of the weights, in bytes a second.
  ScalingModel(const Workload& workload, Timing one, Timing two, double bandwidth);

  /// f, from the least times; above 1 two threads are slower than the model has it for any f.
  double serial_share() const { return serial_share(one_.best(), two_.best()); }
  /// Nobody helped with a step that is shorter than its barriers: on any number of cores one thread
  /// runs it.
  bool is_serial() const;
  /// Why these times say nothing about more cores; empty when they do.
  std::string doubt() const;
  /// T(p); T1 where it is serial.
  double seconds(int p) const { return is_serial() ? one_.best() : seconds(p, serial_share()); }

 private:
  double serial_share(double one, double two) const;
  double seconds(int p, double serial_share) const;
  /// s(p)
  double parallel_time(int p) const;

  Timing one_;
  Timing two_;
  double bandwidth_;
  double bytes_;
  double blocks_;
  double weight_share_;
};

inline constexpr const char* kModelFormula =
    "T(p) = max(T1 (f + (1 - f) s(p)) + 2 b log2(p), bytes / bandwidth(p)), "
    "s(p) = (1 - w) / min(p, blocks) + w / p";

inline constexpr double kBarrierSeconds = 1e-6;
inline constexpr int kControllerThreads = 12;
inline constexpr int kWeightPasses = 6;

inline constexpr std::array kModelTerms = {
    "T1 is the measured T(1), and f, the serial share, is such that T(2) is as measured",
    "w is the share of weight gradients in a step's operations, whose tiles all cores share; the "
    "rest is shared by rows, by as many cores as the batch has blocks of rows",
    "b = 1 us for each of a step's two barriers and each doubling of p (trees of cache lines)",
    "bytes = 6 times the weights: read three times and written twice, mirrors written once",
    "bandwidth(p) = p times what one thread was measured to read, up to 12 threads (one memory "
    "controller of common servers)",
};
inline constexpr std::array kModelAssumptions = {
    "as many physical cores as threads",
    "one NUMA node",
    "all cores at the clock of one busy core",
    "nobody else computes on these cores",
};

}  // namespace chainrule::bench
