// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

/// Compares second derivatives of a scalar, products H u of its Hessian by forward over reverse,
/// with differences of its gradient, in the manner of check_gradients(): of sum_i v_i g_i over all
/// elements g_i of the gradient by `options.with_respect_to` together, which H v is the derivative
/// of; and where they are few (`max_jacobian`), every entry of H. (ElementCheck::output is then the
/// element of the gradient.) Where a value's second derivatives are all zero, `zero_gradients` must
/// say so; a kink of the gradient is a `kink`.
///
/// In float64. UnsupportedError, naming the op, when one in between has no second derivatives;
/// ShapeError for a loss that is no scalar; ArgumentError for `dtype` float32 and where
/// check_gradients() throws it.
CHAINRULE_API GradientReport check_hessian(const Graph& graph, Value loss, const Feed& feed,
                                           const GradientCheckOptions& options = {});

}  // namespace chainrule
