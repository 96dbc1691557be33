// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

// Elementwise sums, differences and products of two values of the same shape (ShapeError
// otherwise; nothing is broadcast, see add_bias for that) and multiples of one.
//
// Second order: all but mul are linear, so that backward of dY's tangent is all there is.
// Aliasing: y may be a; da may be dy, unless a and b are one value. Accuracy: correctly rounded;
// float32 backward: see backward_accuracy.hpp.

/// y = a + b. Backward: da += dy, db += dy. Reads and saves nothing. jvp: ty = ta + tb.
CHAINRULE_API Value add(const Value& a, const Value& b, Where where = Where::current());

/// y = a - b. Backward: da += dy, db -= dy. Reads and saves nothing. jvp: ty = ta - tb.
CHAINRULE_API Value sub(const Value& a, const Value& b, Where where = Where::current());

/// y = a b, elementwise. Backward: da += dy b, db += dy a. Reads a and b; saves nothing.
/// jvp: ty = ta b + a tb. Second order: tda += tdy b + dy tb, tdb += tdy a + dy ta.
CHAINRULE_API Value mul(const Value& a, const Value& b, Where where = Where::current());

/// y = factor x, for a finite constant factor (attribute real[0]); ArgumentError otherwise.
/// Backward: dx += factor dy. Reads and saves nothing. jvp: ty = factor tx. In float32 the factor
/// is rounded first: 1 ULP.
CHAINRULE_API Value scale(const Value& x, double factor, Where where = Where::current());

extern CHAINRULE_API const OpDef kAddOp;
extern CHAINRULE_API const OpDef kSubOp;
extern CHAINRULE_API const OpDef kMulOp;
extern CHAINRULE_API const OpDef kScaleOp;

}  // namespace chainrule
