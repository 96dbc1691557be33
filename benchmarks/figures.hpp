// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace chainrule::bench {

/// "135 ns".
std::string format_seconds(double seconds);

}  // namespace chainrule::bench
