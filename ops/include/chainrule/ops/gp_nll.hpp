// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"
#include "chainrule/ops/losses.hpp"

namespace chainrule {

// The negative log marginal likelihood of Gaussian process regression on features phi (Rasmussen &
// Williams 2006, eq. 2.30), a loss of the whole batch: deep kernel learning (Wilson et al. 2016)
// when phi is computed by a network. With n rows, k columns of y that are functions of their own,
// s2 = exp(log_variance), A = K + exp(log_noise) I and alpha = A^-1 y,
//
//   nll = 1/2 tr(y^T alpha) + k/2 log |A| + n k / 2 log 2 pi.
//
//   rbf_gp_nll      K(i, j) = s2 exp(-1/2 sum_c (phi(i, c) - phi(j, c))^2 / exp(2
//   log_length_scale_c)) linear_gp_nll   K = s2 phi phi^T
//
// Shapes: features [batch, d]; targets [batch, k] or [batch]; log_variance and log_noise of one
// element; log_length_scale of one element, shared, or [d]; all d and k >= 1. The value is a
// scalar: Reduction::kMean divides by n k (0 for an empty batch), kSum does not; kNone is an
// ArgumentError. Attributes: real[0] = max_jitter (CholeskyOptions: when A is not positive
// definite, 1e-10 of its mean diagonal is added to its diagonal, then ten times as much, up to
// this share; 0: nothing), integer[0] = 1 for the mean; max_jitter not finite or < 0 is an
// ArgumentError.
//
// Running it throws Error, naming the first pivot that is not positive, when A with all the jitter
// allowed is not positive definite. Where an input is not finite, or K, the value is NaN, and so
// are the gradients.
//
// Backward, with W = d nll / d A = 1/2 (k A^-1 - alpha alpha^T), S = W o K (elementwise) and
// jitter a constant:
//   d phi(i, c) = 2 sum_j S(i, j) (phi(j, c) - phi(i, c)) / exp(2 log_length_scale_c)
//   d y = alpha, d log_variance = sum S, d log_noise = exp(log_noise) tr W
//   d log_length_scale_c = sum_ij S(i, j) (phi(i, c) - phi(j, c))^2 / exp(2 log_length_scale_c)
// jvp: k/2 tr(A^-1 tA) - 1/2 tr(alpha^T tA alpha) + tr(alpha^T ty), tA the derivative of A along
// the tangents. Second order: not declared. Everything is differentiable. Reads its inputs; keeps
// two matrices [n, n] in OpDef::workspace. Aliasing: none.
//
// All of it is computed in float64, whatever the plan's dtype: of a Gram matrix with condition
// number 10^5, as n s2 / noise often is, float32 would leave two digits. Inputs and results are
// rounded once. Accuracy of the value where A is well-conditioned: 2 (4 + max(n, d)) ULP of it, at
// least of 1; errors grow with A's condition number. float32 backward: see backward_accuracy.hpp.
// The same bits for any number of threads, on one core type of OpenBLAS.

struct GpNllOptions {
  double max_jitter = 0;  ///< see above
  Reduction reduction = Reduction::kMean;
};

CHAINRULE_API Value rbf_gp_nll(const Value& features, const Value& targets,
                               const Value& log_variance, const Value& log_length_scale,
                               const Value& log_noise, const GpNllOptions& options = {},
                               Where where = Where::current());

/// Inputs: features, targets, log_variance, log_noise, log_length_scale.
extern CHAINRULE_API const OpDef kRbfGpNllOp;

}  // namespace chainrule
