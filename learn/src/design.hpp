// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule::internal {

/// Rows whose features are taken at a time; the bits of sums over rows depend on it.
inline constexpr Index kDesignRows = 1024;

/// Columns of design_matrix().
Index design_columns(const Model& model);

/// Rows [first, first + count) of the features that a float64 model's last layer, a Linear one,
/// reads of raw inputs x, with a column of ones behind them if it has a bias.
Tensor design_matrix(const Model& model, const Tensor& x, Index first, Index count);

/// ArgumentError, in the name of add(), naming the first number of x that is not finite.
void expect_finite_rows(const Tensor& x, const char* what);

Tensor transposed_copy(MatrixView<const double> a);

}  // namespace chainrule::internal
