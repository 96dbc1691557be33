// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/resource.h>

namespace chainrule::testing {

/// The largest resident set of this process so far.
inline double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

}  // namespace chainrule::testing
