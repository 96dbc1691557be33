// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace chainrule::bench {

/// "135 ns".
std::string format_seconds(double seconds);

/// Of values that are not empty; of an even count the mean of the two in the middle.
double median(std::vector<double> values);

}  // namespace chainrule::bench
