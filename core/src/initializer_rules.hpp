// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/initializer.hpp"
#include "chainrule/core/shape.hpp"

namespace chainrule::internal {

/// Throws ArgumentError for a value that is not finite, a negative limit, standard deviation or
/// variance, or a negative fan.
void validate(const Initializer& initializer);

/// `initializer` with the fans that it leaves open taken from `shape` (rank <= 2). A TensorView
/// cannot tell the vector [n] from the matrix [1, n]; the graph can.
Initializer with_fans(const Initializer& initializer, const Shape& shape) noexcept;

}  // namespace chainrule::internal
