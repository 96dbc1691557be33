// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "chainrule/core/tensor.hpp"

namespace chainrule::internal {

/// The features x of a GLM as its solvers see them, (x - center) / scale: with mean 0 and mean
/// square 1 over the weighted rows. Coefficients of either kind are matrices [features + bias,
/// outputs].
class GlmColumns {
 public:
  /// Without `centered` (where there is no free bias to make up for it) the centers are 0.
  GlmColumns(const Tensor& x, const Tensor& weights, bool centered);

  Tensor apply(const Tensor& x) const;
  double scale(Index j) const noexcept { return scale_[static_cast<std::size_t>(j)]; }

  /// Coefficients of the scaled features become those of x, and back. Rows beyond the features are
  /// the bias.
  void to_raw(MatrixView<double> coefficients) const;
  /// Their covariance, [rows * outputs] squared, row-major in the coefficients.
  void covariance_to_raw(MatrixView<double> covariance, Index outputs) const;

 private:
  std::vector<double> center_;
  std::vector<double> scale_;
};

/// The first column of `scaled` (by GlmColumns) that is a linear combination of those before it, to
/// 1e-6 of its length.
std::optional<Index> first_dependent_column(const Tensor& scaled, const Tensor& weights);

}  // namespace chainrule::internal
