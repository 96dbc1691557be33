// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// y(i, j) = z(i, j) + b(j): the bias is broadcast over the rows.
///
/// Shapes: z [batch, n] (or [m, n]), b [n]; y as z.
/// Backward: dz += dy, db(j) += sum_i dy(i, j). Reads and saves nothing.
/// jvp: ty(i, j) = tz(i, j) + tb(j). Second order: linear.
/// Aliasing: y may be z, and dz may be dy. Accuracy: correctly rounded;
/// float32 backward: see backward_accuracy.hpp.
CHAINRULE_API Value add_bias(const Value& z, const Value& b, Where where = Where::current());

extern CHAINRULE_API const OpDef kAddBiasOp;

}  // namespace chainrule
