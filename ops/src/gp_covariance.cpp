// SPDX-License-Identifier: Apache-2.0
#include "gp_covariance.hpp"

#include <algorithm>
#include <cmath>

#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::internal {
namespace {

// A distance by products is computed again when it is below this share of the squares it is the
// difference of.
constexpr double kCancelled = 0.01;

MatrixView<double> window(MatrixView<double> a, Index row, Index rows, Index column,
                          Index columns) {
  return {a.row(row) + column, rows, columns, a.ld};
}

/// Copies what rows [first, end) have below the diagonal to above it.
void mirror_lower_rows(const OpContext& context, MatrixView<double> a, Index first, Index end) {
  if (first > 0) {
    context.kernels->f64.transpose(window(a, first, end - first, 0, first),
                                   window(a, 0, first, first, end - first));
  }
  for (Index i = first; i < end; ++i) {
    for (Index j = first; j < i; ++j) a(j, i) = a(i, j);
  }
}

/// Copies what rows [first, end) have above the diagonal to below it.
void mirror_upper_rows(const OpContext& context, MatrixView<double> a, Index first, Index end) {
  if (end < a.rows) {
    context.kernels->f64.transpose(window(a, first, end - first, end, a.rows - end),
                                   window(a, end, a.rows - end, first, end - first));
  }
  for (Index i = first; i < end; ++i) {
    for (Index j = i + 1; j < end; ++j) a(j, i) = a(i, j);
  }
}

double squared_distance(const double* a, const double* b, Index columns) {
  double sum = 0;
  for (Index c = 0; c < columns; ++c) sum += (a[c] - b[c]) * (a[c] - b[c]);
  return sum;
}

/// Each column to mean 0, which no distance notices and no product suffers from, and over its
/// length scale.
void normalize_points(const GpWork& work) {
  const MatrixView<double> z = work.points;
  std::fill_n(work.drift.data, z.columns, 0.0);
  for (Index i = 0; i < z.rows; ++i) {
    for (Index c = 0; c < z.columns; ++c) work.drift(0, c) += z(i, c);
  }
  for (Index i = 0; i < z.rows; ++i) {
    for (Index c = 0; c < z.columns; ++c) {
      z(i, c) = (z(i, c) - work.drift(0, c) / static_cast<double>(z.rows)) / work.scales(0, c);
    }
  }
}

/// Fills `squares` and the lower triangle of `covariance` with products; false when K or anything
/// else that the value depends on is not finite.
bool multiply_points(const OpContext& context, const GpWork& work) {
  bool finite = std::isfinite(work.noise());
  for (Index i = 0; i < work.n(); ++i) {
    const double* const z = work.points.row(i);
    double sum = 0;
    for (Index c = 0; c < work.points.columns; ++c) sum += z[c] * z[c];
    work.squares(0, i) = sum;
    finite = finite && std::isfinite(sum * work.variance());
    for (Index c = 0; c < work.alpha.columns; ++c)
      finite = finite && std::isfinite(work.alpha(i, c));
  }
  if (finite) context.algebra->syrk(*context.tiles, 1, work.points, 0, work.covariance);
  return finite;
}

/// Rows [first, end) of the lower triangle: products become covariances.
void exponentiate_rows(const OpContext& context, const GpWork& work, Index first, Index end) {
  const MatrixView<double> k = work.covariance, z = work.points;
  const auto exponential = context.kernels->f64.unary[static_cast<std::size_t>(UnaryKernel::kExp)];
  for (Index i = first; i < end; ++i) {
    for (Index j = 0; j < i; ++j) {
      const double squares = work.squares(0, i) + work.squares(0, j);
      double distance = squares - 2 * k(i, j);
      if (!(distance > kCancelled * squares)) {
        distance = squared_distance(z.row(i), z.row(j), z.columns);
      }
      k(i, j) = -0.5 * distance;
    }
    const MatrixView<double> row = window(k, i, 1, 0, i);
    exponential(row, row, nullptr);
    for (Index j = 0; j < i; ++j) k(i, j) *= work.variance();
  }
}

}  // namespace

GpWork::GpWork(double* base, Index rows, Index features, Index targets) {
  const auto take = [&](Index r, Index c) {
    const Index ld = padded_leading_dimension(c, DType::kFloat64);
    const Index line = kAlignment / static_cast<Index>(sizeof(double));
    double* const data = base == nullptr ? nullptr : base + size;
    size += (r * ld + line - 1) / line * line;
    return MatrixView<double>{data, r, c, ld};
  };
  covariance = take(rows, rows);
  square = take(rows, rows);
  points = take(rows, features);
  moved = take(rows, features);
  alpha = take(rows, targets);
  scales = take(1, features);
  drift = take(1, features);
  squares = take(1, rows);
  sums = take(1, rows);
  numbers = take(1, 3);
}

bool fill_covariance(const OpContext& context, const GpWork& work) {
  normalize_points(work);
  if (!multiply_points(context, work)) return false;
  for_row_tiles(context, work.n(), [&](Index first, Index end) {
    exponentiate_rows(context, work, first, end);
    mirror_lower_rows(context, work.covariance, first, end);
  });
  for (Index i = 0; i < work.n(); ++i) work.covariance(i, i) = work.variance() + work.noise();
  return true;
}

double pull_back(const OpContext& context, const GpWork& work) {
  const MatrixView<double> s = work.square, z = work.points;
  double total = 0;
  // A point is at no distance from itself: what that adds to both terms would only hide the rest.
  for (Index i = 0; i < work.n(); ++i) {
    total += work.variance() * s(i, i);
    s(i, i) = 0;
  }
  for_row_tiles(context, work.n(), [&](Index first, Index end) {
    for (Index i = first; i < end; ++i) {
      for (Index j = i + 1; j < s.columns; ++j) s(i, j) *= work.covariance(i, j);
    }
    mirror_upper_rows(context, s, first, end);
  });
  context.algebra->gemm(*context.tiles, 1, s, false, z, false, 0, work.moved);
  for (Index i = 0; i < work.n(); ++i) {
    double sum = 0;
    for (Index j = 0; j < work.n(); ++j) sum += s(i, j);
    for (Index c = 0; c < z.columns; ++c) work.moved(i, c) -= sum * z(i, c);
    total += sum;
  }
  return total;
}

void push_points(const GpWork& work) {
  for (Index i = 0; i < work.n(); ++i) {
    for (Index c = 0; c < work.points.columns; ++c) {
      work.moved(i, c) =
          work.moved(i, c) / work.scales(0, c) - work.points(i, c) * work.drift(0, c);
    }
  }
}

double covariance_tangent(const GpWork& work, double log_variance, Index i, Index j) {
  const double *const a = work.points.row(i), *const b = work.points.row(j);
  const double *const ta = work.moved.row(i), *const tb = work.moved.row(j);
  double half_distance = 0;
  for (Index c = 0; c < work.points.columns; ++c) half_distance += (a[c] - b[c]) * (ta[c] - tb[c]);
  const double k = i == j ? work.variance() : work.covariance(std::min(i, j), std::max(i, j));
  return k * (log_variance - half_distance);
}

}  // namespace chainrule::internal
