// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <span>

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// y = the columns of all `values` side by side.
///
/// Shapes: each [batch, n_k], or all [m, n_k]; [batch] counts as one column. y [batch, sum n_k].
/// One to kMaxInputs values; ArgumentError otherwise. Attributes: integer[k / 2] holds the widths
/// of inputs k and k + 1 in its low and high 32 bits. Backward: each gradient += its columns of dy.
/// Reads and saves nothing. jvp: the tangents side by side. Second order: linear. Aliasing: none.
/// Exact; float32 backward: see backward_accuracy.hpp.
CHAINRULE_API Value concat(std::span<const Value> values, Where where = Where::current());
CHAINRULE_API Value concat(std::initializer_list<Value> values, Where where = Where::current());

/// y = columns [first, first + count) of x.
///
/// Shapes: x [batch, n] (or [m, n]), 0 <= first, 0 <= count, first + count <= n (ArgumentError
/// otherwise; attributes integer[0] = first, integer[1] = count); y [batch, count].
/// Backward: those columns of dx += dy, the others += 0. Reads and saves nothing. jvp: those
/// columns of tx. Second order: linear. Aliasing: none. Exact, backward too.
CHAINRULE_API Value slice(const Value& x, Index first, Index count, Where where = Where::current());

extern CHAINRULE_API const OpDef kConcatOp;
extern CHAINRULE_API const OpDef kSliceOp;

}  // namespace chainrule
