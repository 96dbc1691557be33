// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace chainrule::tools {

/// P(|Z| >= |z|) of a standard normal Z.
double normal_p_value(double z);
/// P(|T| >= |t|) of Student's t with `freedom` > 0 degrees of freedom.
double student_p_value(double t, double freedom);

}  // namespace chainrule::tools
