// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, mean and (biased) variance taken over
/// each row. (Ba, Kiros & Hinton 2016.)
///
/// Shapes: x [batch, n] (or [m, n]), gamma [n], beta [n]; y as x. `epsilon` (attribute real[0])
/// must be finite and > 0; ArgumentError otherwise. Backward, with h = (x - mean) rstd and e = dy
/// gamma:
///   dx = rstd (e - mean(e) - h mean(e h)) per row, dgamma = sum_i dy h, dbeta = sum_i dy.
/// jvp: ty = rstd (tx - mean(tx) - h mean(h tx)) gamma + h tgamma + tbeta. Second order: not
/// declared. Reads x and gamma; saves mean and rstd of every row, [batch, 2]. Aliasing: none.
/// Accuracy: 2 (4 + n) ULP of max |y|, at least of 1, unless the mean is so large against the
/// deviation that x itself says no more. float32 backward: see backward_accuracy.hpp.
CHAINRULE_API Value layer_norm(const Value& x, const Value& gamma, const Value& beta,
                               double epsilon = 1e-5, Where where = Where::current());

extern CHAINRULE_API const OpDef kLayerNormOp;

}  // namespace chainrule
