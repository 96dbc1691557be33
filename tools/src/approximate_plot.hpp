// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "chainrule/learn/approximate.hpp"

namespace chainrule::tools {

/// A page, without anything outside it, with function, network and error. `name` is what the
/// function is called; one or two variables.
std::string approximation_html(const Approximation& approximation, const ScalarFunction& f,
                               const Domain& domain, const std::string& name);

}  // namespace chainrule::tools
