// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

// Dense linear algebra in float64 by OpenBLAS and its LAPACK, one thread: repeatable on one core
// type of OpenBLAS (blas_info()), without the row invariance of plans. UnsupportedError when the
// OpenBLAS linked is a serial build, which is not thread-safe.

/// c = a^T b; a [n, p], b [n, q], c [p, q], which overlaps neither. ShapeError when they do not
/// fit.
CHAINRULE_API void multiply_transposed(MatrixView<const double> a, MatrixView<const double> b,
                                       MatrixView<double> c);

/// Solves a x = b by Cholesky's a = L L^T for a symmetric positive definite a [n, n], of which only
/// the lower triangle is read: a becomes L (the rest keeps its values), b [n, k] becomes x.
/// ShapeError when they do not fit; Error, naming the first leading minor of a that is not positive
/// definite, leaves b alone.
CHAINRULE_API void solve_positive_definite(MatrixView<double> a, MatrixView<double> b);

/// The x that minimises || sum_j x_j a_j - b ||_2, a_j the columns of a matrix [n, m], n >= m, by
/// QR with column pivoting (LAPACK's dgeqp3) of the columns scaled to norm one; never by the normal
/// equations. `columns` [m, n] has a_j as its row j and is overwritten; each row of b [k, n] is a
/// right-hand side, whose first m elements become x.
///
/// Returns the rank r: the pivots larger than `tolerance` times the first. The m - r columns behind
/// them get 0 (a basic solution). ShapeError when the shapes do not fit; ArgumentError unless
/// 0 <= tolerance < 1.
CHAINRULE_API Index solve_least_squares(MatrixView<double> columns, MatrixView<double> b,
                                        double tolerance);

}  // namespace chainrule
