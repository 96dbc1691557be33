// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

struct BatchNormOptions {
  double momentum = 0.1;  ///< in [0, 1]: weight of the new batch in the running statistics
  double epsilon = 1e-5;  ///< finite, > 0
};

/// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, per column. (Ioffe & Szegedy 2015.)
/// Training takes mean and (biased) variance of each column over the batch; inference takes the
/// running ones.
///
/// Shapes: x [batch, n] (or [m, n]); gamma, beta, running_mean and running_variance [n], the last
/// two usually `graph.state(name, {n}, zeros())` and `graph.state(name, {n}, ones())`; y as x.
/// Attributes: real[0] = momentum, real[1] = epsilon; ArgumentError outside their domains.
///
/// Commit, after a successful training step: running = (1 - momentum) running + momentum batch,
/// with the unbiased variance of the batch as in PyTorch. A batch of one row counts as variance 0,
/// an empty batch changes nothing. Backward in training, with h = (x - mean) rstd, e = dy gamma,
/// means over the batch:
///   dx = rstd (e - mean(e) - h mean(e h)), dgamma = sum_i dy h, dbeta = sum_i dy;
/// in inference (statistics constant) dx = rstd e, and h from the running statistics.
/// jvp: ty = th gamma + h tgamma + tbeta, where in training th = rstd (tx - mean(tx) - h mean(h
/// tx)) and in inference th = rstd tx. Second order: not declared. No gradient reaches the running
/// statistics. Reads x, gamma and, in inference, the running statistics; saves mean and variance of
/// the columns, [2, n]. Aliasing: none. Accuracy: 2 (4 + rows) ULP of max |y|, at least of 1,
/// unless the mean is so large against the deviation that x itself says no more. float32 backward:
/// see backward_accuracy.hpp.
CHAINRULE_API Value batch_norm(const Value& x, const Value& gamma, const Value& beta,
                               const Value& running_mean, const Value& running_variance,
                               const BatchNormOptions& options = {},
                               Where where = Where::current());

extern CHAINRULE_API const OpDef kBatchNormOp;

}  // namespace chainrule
