// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// Training: y = m x with m(i, j) = 0 with probability `rate`, else 1 / (1 - rate), so that the
/// mean of y is x (Srivastava et al. 2014, inverted form). Inference: y = x.
///
/// Shapes: any x; y as x. `rate` (attribute real[0]) is in [0, 1); ArgumentError otherwise.
/// The mask is a function of (random key of node and step, row in the batch, column) alone: it
/// keeps (i, j) when Philox word i * columns + j is at least rate 2^32. Backward: dx = m dy
/// (inference: dx = dy). Reads nothing; saves m, of the shape of x. jvp: ty = m tx, with m drawn
/// again. Second order: linear. Aliasing: y may be x, and dx may be dy. A dropped inf or NaN gives
/// exactly 0. Accuracy: 1 ULP; exact in inference. float32 backward: see backward_accuracy.hpp.
CHAINRULE_API Value dropout(const Value& x, double rate, Where where = Where::current());

extern CHAINRULE_API const OpDef kDropoutOp;

}  // namespace chainrule
