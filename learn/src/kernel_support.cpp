// SPDX-License-Identifier: Apache-2.0
#include "kernel_support.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"

namespace chainrule::internal {
namespace {

// Up to so many columns distances are summed from differences: cheaper than it is to look for lost
// digits.
constexpr Index kFewColumns = 16;

// A distance by products is computed again when it is below this share of the squares it is the
// difference of.
constexpr double kCancelled = 0.01;

double squared_distance(const double* a, const double* b, Index columns) {
  double sum = 0;
  for (Index k = 0; k < columns; ++k) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}

void distances_by_differences(const MatrixPoints& a, Index first, const MatrixPoints& b,
                              MatrixView<double> out) {
  const MatrixView<const double> columns = b.columns_view();
  for (Index i = 0; i < out.rows; ++i) {
    const double* const from = a.rows_view().row(first + i);
    double* const to = out.row(i);
    std::fill_n(to, out.columns, 0.0);
    for (Index k = 0; k < columns.rows; ++k) {
      const double* const others = columns.row(k);
      for (Index j = 0; j < out.columns; ++j) {
        const double difference = from[k] - others[j];
        to[j] += difference * difference;
      }
    }
  }
}

void distances_by_products(const MatrixPoints& a, Index first, const MatrixPoints& b,
                           MatrixView<double> out) {
  dot_products(a, first, b, out);
  for (Index i = 0; i < out.rows; ++i) {
    const double square = a.squares()[static_cast<std::size_t>(first + i)];
    for (Index j = 0; j < out.columns; ++j) {
      const double squares = square + b.squares()[static_cast<std::size_t>(j)];
      double distance = squares - 2 * out(i, j);
      if (!(distance > kCancelled * squares)) {
        distance = squared_distance(a.rows_view().row(first + i), b.rows_view().row(j),
                                    a.rows_view().columns);
      }
      out(i, j) = distance;
    }
  }
}

}  // namespace

MatrixPoints::MatrixPoints(Tensor coordinates)
    : KernelPoints(coordinates.rows()),
      coordinates_(std::move(coordinates)),
      transposed_({coordinates_.columns(), coordinates_.rows()}, DType::kFloat64),
      by_row_(std::as_const(coordinates_).as<double>()),
      by_column_(std::as_const(transposed_).as<double>()),
      squares_(static_cast<std::size_t>(coordinates_.rows())) {
  const auto to = transposed_.as<double>();
  for (Index i = 0; i < by_row_.rows; ++i) {
    double sum = 0;
    for (Index k = 0; k < by_row_.columns; ++k) {
      to(k, i) = by_row_(i, k);
      sum += by_row_(i, k) * by_row_(i, k);
    }
    squares_[static_cast<std::size_t>(i)] = sum;
  }
}

Tensor scaled_copy(MatrixView<const double> x, std::span<const double> scales) {
  Tensor copy({x.rows, x.columns}, DType::kFloat64);
  const auto to = copy.as<double>();
  for (Index i = 0; i < x.rows; ++i) {
    for (Index k = 0; k < x.columns; ++k) {
      to(i, k) = x(i, k) * scales[scales.size() == 1 ? 0 : static_cast<std::size_t>(k)];
    }
  }
  return copy;
}

void dot_products(const MatrixPoints& a, Index first, const MatrixPoints& b,
                  MatrixView<double> out) {
  MatrixView<const double> right = b.columns_view();
  right.columns = out.columns;
  const MatrixView<const double> left = a.rows_view();
  default_kernels().f64.gemm({left.row(first), left.ld, 1}, right, out, false, {});
}

void squared_distances(const MatrixPoints& a, Index first, const MatrixPoints& b,
                       MatrixView<double> out) {
  if (a.rows_view().columns <= kFewColumns) {
    distances_by_differences(a, first, b, out);
  } else {
    distances_by_products(a, first, b, out);
  }
}

double weighted_squares(const MatrixPoints& a, Index first, const MatrixPoints& b, Index k,
                        MatrixView<const double> weights) {
  const double* const others = b.columns_view().row(k);
  double sum = 0;
  for (Index i = 0; i < weights.rows; ++i) {
    const double from = a.rows_view()(first + i, k);
    double row_sum = 0;
    for (Index j = 0; j < weights.columns; ++j) {
      row_sum += weights(i, j) * (from - others[j]) * (from - others[j]);
    }
    sum += row_sum;
  }
  return sum;
}

void exponentiate(MatrixView<double> y) {
  const auto& kernels = default_kernels().f64;
  kernels.unary[static_cast<std::size_t>(UnaryKernel::kExp)](y, y, nullptr);
}

double sum_of_products(MatrixView<const double> a, MatrixView<const double> b) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) {
    double row_sum = 0;
    for (Index j = 0; j < a.columns; ++j) row_sum += a(i, j) * b(i, j);
    sum += row_sum;
  }
  return sum;
}

void expect_positive(const char* who, std::string_view what, double value, bool or_zero) {
  if (std::isfinite(value) && (value > 0 || (or_zero && value == 0))) return;
  throw ArgumentError(fmt::format("{}: got {} {}, expected a finite number {} 0", who, what, value,
                                  or_zero ? ">=" : ">"));
}

void expect_columns(std::string_view who, Index columns, Index expected) {
  if (columns == expected) return;
  throw ShapeError(
      fmt::format("{}: got inputs of {} columns, expected {}", who, columns, expected));
}

}  // namespace chainrule::internal
