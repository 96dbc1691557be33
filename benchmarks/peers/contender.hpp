// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "workloads.hpp"

namespace chainrule::bench {

/// A library that runs one workload in a process of its own, started by the program `peers`:
///
///     peer_NAME WORKLOAD THREADS
///
/// prints "library TEXT" (what it is, with version), "results N" and N native float32 in binary,
/// made by kCheckedRuns runs of checked(WORKLOAD). Then it answers each line "time" with one line,
/// the seconds of a run.
class Contender {
 public:
  virtual ~Contender() = default;

  virtual void run(Index times) = 0;
  /// Dense and row-major: predictions; after steps the weights [in, out] and bias of each layer;
  /// of a gradient the weights' and then the bias's.
  virtual std::vector<float> results() const = 0;
};

inline constexpr Index kCheckedRuns = 3;
/// What is compared instead of a workload: of an epoch some batches and a part of one. After some
/// hundred steps a ReLU that rounding turned has changed all weights.
Workload checked(const Workload& workload);
/// What a contender exits with that does not do the workload asked for.
inline constexpr int kExitAbsent = 3;

/// The main() of a contender. `make` returns null for a workload it does not do; its work on the
/// inputs (reordering weights, making plans) is not timed.
int contend(int argc, char** argv, const std::string& library,
            std::unique_ptr<Contender> (*make)(const Workload& workload, int threads));

/// Appends the elements of a dense matrix.
void append(std::vector<float>& to, const float* values, Index count);
void append(std::vector<float>& to, ConstTensorView values);

}  // namespace chainrule::bench
