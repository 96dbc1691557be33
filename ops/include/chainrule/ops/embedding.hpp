// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// y(i, :) = table(indices(i, 0), :), table(indices(i, 1), :), ... side by side.
///
/// Shapes: indices [batch] or [batch, k] from graph.indices() or graph.labels(), table [count,
/// width] without a batch; y [batch, k width]. ShapeError otherwise. Running it with an index
/// outside [0, count) throws ArgumentError that names the row of the batch, the index and count.
/// Backward: dtable(indices(i, j), :) += dy(i, j-th block), rows of the batch in ascending order,
/// computed in tiles of rows of the table once all rows are done. Reads the indices; saves nothing.
/// jvp: ty(i, :) = ttable(indices(i, 0), :), ... side by side. Second order: linear. Aliasing:
/// none. Forward is exact; float32 backward: see backward_accuracy.hpp.
CHAINRULE_API Value embedding(const Value& indices, const Value& table,
                              Where where = Where::current());

extern CHAINRULE_API const OpDef kEmbeddingOp;

}  // namespace chainrule
