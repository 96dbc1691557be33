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

}  // namespace chainrule
