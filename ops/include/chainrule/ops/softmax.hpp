// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// y(i, j) = e^x(i, j) / sum_k e^x(i, k) for every row i, the row's maximum taken off first.
///
/// Shapes: x [batch, n] (or [m, n]); y as x. ShapeError otherwise.
/// Backward: dx = y (dy - sum_k dy_k y_k), per row. Reads y; saves nothing. Aliasing: none.
/// Accuracy: 2 (4 + n) ULP of 1.
/// jvp: ty = y (tx - sum_k y_k tx_k). Second order: not declared. float32 backward: see
/// backward_accuracy.hpp. For a loss take softmax_cross_entropy, which never forms log(0).
CHAINRULE_API Value softmax(const Value& x, Where where = Where::current());

/// y(i, j) = x(i, j) - log sum_k e^x(i, k), the row's maximum taken off first.
///
/// Shapes: x [batch, n] (or [m, n]); y as x. ShapeError otherwise.
/// Backward: dx = dy - e^y sum_k dy_k, per row. Reads y; saves nothing. Aliasing: none.
/// Accuracy: 2 (4 + n) ULP of max(|y|, 1).
/// jvp: ty = tx - sum_k e^y_k tx_k. Second order: not declared. float32 backward: see
/// backward_accuracy.hpp.
CHAINRULE_API Value log_softmax(const Value& x, Where where = Where::current());

extern CHAINRULE_API const OpDef kSoftmaxOp;
extern CHAINRULE_API const OpDef kLogSoftmaxOp;

}  // namespace chainrule
