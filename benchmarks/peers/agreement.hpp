// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "workloads.hpp"

namespace chainrule::bench {

/// Where the results of a workload differ by more than kTolerance allows, in words; empty when they
/// agree. Weights are compared by how far they moved: that is what shows a wrong gradient.
std::string disagreement(const Workload& workload, const std::vector<float>& results,
                         const std::vector<float>& ours);

}  // namespace chainrule::bench
