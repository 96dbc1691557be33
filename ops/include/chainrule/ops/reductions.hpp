// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// What a reduction runs over.
enum class Axis : std::uint8_t {
  kBatch,     ///< the rows of the batch: [batch, n] -> [n], [batch] -> []
  kFeatures,  ///< the columns of each row: [batch, n] -> [batch, 1], [m, n] -> [m, 1], [n] -> [1]
  kAll,       ///< every element -> []
};

/// The sum of x over `axis`. Rows of a batch are added in float64 in a fixed order (see OpKind::
/// kBatchReduction), so that the bits do not depend on the number of threads.
///
/// Shapes: see Axis; at most two dimensions, ShapeError otherwise. kAll of a batch of several
/// columns is two nodes: the sum of each row, then their sum. Backward: dx(i, j) += dy of the sum
/// that x(i, j) went into. Reads and saves nothing. jvp: the sum of tx. Second order: linear.
/// Aliasing: none. Accuracy: 2 (4 + n) ULP of max(|y|, 1) for n summands of order 1. float32
/// backward: see backward_accuracy.hpp.
CHAINRULE_API Value reduce_sum(const Value& x, Axis axis, Where where = Where::current());

/// The mean of x over `axis`: reduce_sum divided by the number of elements summed, which for the
/// batch is the number of rows of the run. The mean of nothing is 0.
CHAINRULE_API Value reduce_mean(const Value& x, Axis axis, Where where = Where::current());

/// The batch reductions under reduce_sum, reduce_mean and every loss. Inputs (x[, weights[,
/// total]]) with x [batch, n], sample weights [batch] or [batch, 1] and total = the sum of the
/// weights, []:
///
///   batch_sum    sum_i x(i, j)   or   sum_i w_i x(i, j)
///   batch_mean   sum_i x(i, j) / rows   or   sum_i w_i x(i, j) / total, 0 when total is 0
///
/// A weight of 0 selects: that row contributes exactly 0, whatever x is (inf and NaN too), and its
/// gradient is exactly 0. Backward: dx(i, j) += w_i dy(j) [/ rows or / total]; none to the weights,
/// which are data. Reads weights and total; saves nothing. jvp: the same sums of tx, over the whole
/// batch at once. Second order: linear. Aliasing: none. Accuracy: that of reduce_sum.
/// Shape: [n]; [] when x is [batch], or when attribute integer[0] is 1 and n = 1.
extern CHAINRULE_API const OpDef kBatchSumOp;
extern CHAINRULE_API const OpDef kBatchMeanOp;
/// The reductions over kFeatures.
extern CHAINRULE_API const OpDef kFeatureSumOp;
extern CHAINRULE_API const OpDef kFeatureMeanOp;
/// The reductions of a value without a batch over kAll.
extern CHAINRULE_API const OpDef kTotalSumOp;
extern CHAINRULE_API const OpDef kTotalMeanOp;

}  // namespace chainrule
