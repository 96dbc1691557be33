// SPDX-License-Identifier: Apache-2.0
#include "figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace chainrule::bench {

std::string format_seconds(double seconds) {
  const auto [scale, unit] = seconds < 1e-6   ? std::pair(1e9, "ns")
                             : seconds < 1e-3 ? std::pair(1e6, "us")
                                              : std::pair(1e3, "ms");
  const double value = seconds * scale;
  return fmt::format("{:.{}f} {}", value, value < 10 ? 2 : value < 100 ? 1 : 0, unit);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace chainrule::bench
