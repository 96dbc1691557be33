// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// y = x w.
///
/// Shapes: x [batch, K] (or [M, K]), w [K, N] without a batch; y [batch, N] (or [M, N]).
/// Backward: dx = dy w^T, read from the transposed mirror of w; dw = x^T dy over the whole batch,
/// computed in tiles of rows of w once all rows are done. Reads x and the mirror; saves nothing.
/// jvp: ty = tx w + x tw. Second order: tdx += tdy w^T + dy tw^T, tdw += tx^T dy + x^T tdy.
/// Aliasing: none. float32 backward: see backward_accuracy.hpp.
/// Accuracy: each y is one chain of K fused multiply-adds in ascending order, or, where N is small
/// (Kernels::prefers_dots), as many chains as a vector has lanes, on the mirror of w: |error| <=
/// K u sum_k |x_k w_k| (u the unit roundoff); each dw likewise over the rows in batch order.
/// Throws ShapeError when the inner dimensions differ or either is not a matrix.
CHAINRULE_API Value matmul(const Value& x, const Value& w, Where where = Where::current());

extern CHAINRULE_API const OpDef kMatmulOp;

}  // namespace chainrule
