// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "chainrule/core/op_context.hpp"

/// K(u, v) = s2 exp(-|u - v|^2 / 2) of features over their length scales, and the matrices of the
/// likelihood that it is the covariance of, in float64; private to ops/.
namespace chainrule::internal {

/// OpContext::workspace of a batch of n rows, d features and k targets. Forward fills `points`,
/// `covariance`, `alpha` and the numbers; `square`, `moved` and `sums` are whoever's turn it is.
struct GpWork {
  GpWork(double* base, Index rows, Index features, Index targets);

  MatrixView<double> covariance;  ///< [n, n]: K strictly above the diagonal, A's factor L below
  MatrixView<double> square;      ///< [n, n]
  MatrixView<double> points;      ///< [n, d]: what covariances are computed from
  MatrixView<double> moved;       ///< [n, d]
  MatrixView<double> alpha;       ///< [n, k]: A^-1 y
  MatrixView<double> scales;      ///< [1, d]: length scales
  MatrixView<double> drift;       ///< [1, d]: tangents of their logarithms
  MatrixView<double> squares;     ///< [1, n]: |points|^2
  MatrixView<double> sums;        ///< [1, n]
  MatrixView<double> numbers;     ///< [1, 3]
  Index size = 0;                 ///< doubles in all

  Index n() const noexcept { return points.rows; }
  double& variance() const noexcept { return numbers(0, 0); }
  double& noise() const noexcept { return numbers(0, 1); }
  /// 0 when something that the value depends on is not finite.
  double& finite() const noexcept { return numbers(0, 2); }
};

/// Features in `points` become features over their length scales, and `covariance` K with A's
/// diagonal. False, and nothing else, when K or anything that the value depends on is not finite.
bool fill_covariance(const OpContext& context, const GpWork& work);

/// S = W o K from W in `square`; `moved` becomes S z - diag(S 1) z of the points z. Returns sum S.
double pull_back(const OpContext& context, const GpWork& work);

/// Tangents of `points` into `moved`, from those of the features there and those of the logarithms
/// of the length scales in `drift`.
void push_points(const GpWork& work);

/// The tangent of K(i, j), from these and that of the log variance.
double covariance_tangent(const GpWork& work, double log_variance, Index i, Index j);

/// Runs `body(first, end)` for every tile of rows of the batch.
template <class Body>
void for_row_tiles(const OpContext& context, Index rows, const Body& body) {
  constexpr Index kTileRows = 64;
  const auto run_tile = [&](Index tile) {
    const Index first = tile * kTileRows;
    body(first, std::min(first + kTileRows, rows));
  };
  (*context.tiles)((rows + kTileRows - 1) / kTileRows, run_tile);
}

}  // namespace chainrule::internal
