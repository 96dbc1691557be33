// SPDX-License-Identifier: Apache-2.0
#include "seconds.hpp"

#include <fmt/format.h>

#include <utility>

namespace chainrule::bench {

std::string format_seconds(double seconds) {
  const auto [scale, unit] = seconds < 1e-6   ? std::pair(1e9, "ns")
                             : seconds < 1e-3 ? std::pair(1e6, "us")
                                              : std::pair(1e3, "ms");
  const double value = seconds * scale;
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, unit);
}

}  // namespace chainrule::bench
