// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "chainrule/core/tensor.hpp"

namespace chainrule::testing {

using Real = long double;

/// A dense matrix of long doubles with the textbook operations, written out: what tests derive
/// gradients with, without any of the library's arithmetic.
class Matrix {
 public:
  Matrix() = default;
  Matrix(Index rows, Index columns)
      : Matrix(rows, columns, std::vector<Real>(static_cast<std::size_t>(rows * columns))) {}
  Matrix(Index rows, Index columns, std::vector<Real> values)
      : rows_(rows), columns_(columns), values_(std::move(values)) {}

  Index rows() const { return rows_; }
  Index columns() const { return columns_; }
  Real& operator()(Index i, Index j) { return values_.at(at(i, j)); }
  Real operator()(Index i, Index j) const { return values_.at(at(i, j)); }

  Matrix transposed() const {
    Matrix result(columns_, rows_);
    for (Index i = 0; i < rows_; ++i) {
      for (Index j = 0; j < columns_; ++j) result(j, i) = (*this)(i, j);
    }
    return result;
  }
  template <class F>
  Matrix map(F f) const {
    Matrix result = *this;
    for (Real& value : result.values_) value = f(value);
    return result;
  }
  Matrix row(Index i) const {
    Matrix result(1, columns_);
    for (Index j = 0; j < columns_; ++j) result(0, j) = (*this)(i, j);
    return result;
  }

 private:
  std::size_t at(Index i, Index j) const { return static_cast<std::size_t>(i * columns_ + j); }

  Index rows_ = 0;
  Index columns_ = 0;
  std::vector<Real> values_;
};

inline Matrix operator*(const Matrix& a, const Matrix& b) {
  Matrix result(a.rows(), b.columns());
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < b.columns(); ++j) {
      for (Index k = 0; k < a.columns(); ++k) result(i, j) += a(i, k) * b(k, j);
    }
  }
  return result;
}

inline Matrix operator+(const Matrix& a, const Matrix& b) {
  Matrix result = a;
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.columns(); ++j) result(i, j) += b(i, j);
  }
  return result;
}

/// diag(v) of a row vector v.
inline Matrix diagonal(const Matrix& v) {
  Matrix result(v.columns(), v.columns());
  for (Index j = 0; j < v.columns(); ++j) result(j, j) = v(0, j);
  return result;
}

inline Matrix from_tensor(ConstTensorView view) {
  Matrix result(view.rows, view.columns);
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) result(i, j) = element(view, i, j);
  }
  return result;
}

/// The largest |a - b|, relative to max(1, |b|); infinite for different sizes or NaN.
inline double distance(const Matrix& a, const Matrix& b) {
  if (a.rows() != b.rows() || a.columns() != b.columns()) return HUGE_VAL;
  double largest = 0;
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.columns(); ++j) {
      const Real error = std::abs(a(i, j) - b(i, j)) / std::max(Real{1}, std::abs(b(i, j)));
      if (!(error < HUGE_VAL)) return HUGE_VAL;
      largest = std::max(largest, static_cast<double>(error));
    }
  }
  return largest;
}

}  // namespace chainrule::testing
