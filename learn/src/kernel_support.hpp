// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/covariance_function.hpp"

// What the built-in covariance functions share.
namespace chainrule::internal {

/// Points as a matrix and its transpose, for products and for loops along many points.
class MatrixPoints : public KernelPoints {
 public:
  explicit MatrixPoints(Tensor coordinates);

  MatrixView<const double> rows_view() const noexcept { return by_row_; }
  /// [d, n]
  MatrixView<const double> columns_view() const noexcept { return by_column_; }
  /// sum_k x_k^2 of each row
  const std::vector<double>& squares() const noexcept { return squares_; }

 private:
  Tensor coordinates_;
  Tensor transposed_;
  MatrixView<const double> by_row_;
  MatrixView<const double> by_column_;
  std::vector<double> squares_;
};

/// A copy of x with column k times scales[k], or all of it times scales[0].
Tensor scaled_copy(MatrixView<const double> x, std::span<const double> scales);

/// out(i, j) = a_{first + i} . b_j for all of `out`.
void dot_products(const MatrixPoints& a, Index first, const MatrixPoints& b,
                  MatrixView<double> out);
/// out(i, j) = |a_{first + i} - b_j|^2, to a few ULP of the distance or, for many columns, 100.
void squared_distances(const MatrixPoints& a, Index first, const MatrixPoints& b,
                       MatrixView<double> out);
/// sum_j weights(i, j) (a_{first + i, k} - b_{j, k})^2 over all of `weights`.
double weighted_squares(const MatrixPoints& a, Index first, const MatrixPoints& b, Index k,
                        MatrixView<const double> weights);
/// y = exp(y).
void exponentiate(MatrixView<double> y);
/// sum_ij a(i, j) b(i, j), row by row.
double sum_of_products(MatrixView<const double> a, MatrixView<const double> b);

/// `value` everywhere, with a hyperparameter of that name; ArgumentError, naming `who`, unless it
/// is finite and > 0.
std::unique_ptr<CovarianceFunction> constant_function(const char* who, std::string name,
                                                      double value);

/// ArgumentError unless `value` is finite and > 0 (or >= 0).
void expect_positive(const char* who, std::string_view what, double value, bool or_zero = false);
/// ShapeError unless `columns` are as many as expected.
void expect_columns(std::string_view who, Index columns, Index expected);

/// What a function has made by prepare().
template <class Points>
const Points& as(const KernelPoints& points) {
  return static_cast<const Points&>(points);
}

}  // namespace chainrule::internal
