// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "chainrule/runtime/parallel_linear_algebra.hpp"

// BLAS and LAPACK on one thread, for tiles of parallel_linear_algebra.cpp; T is float or double.
// Shapes are not checked; nothing is done where there is nothing to do.
namespace chainrule::internal::tile {

/// UnsupportedError, naming `who`, when OpenBLAS is not thread-safe. To be called first.
void require_blas(std::string_view who);

/// c = alpha a b + beta c.
template <class T>
void gemm(T alpha, const Operand<T>& a, const Operand<T>& b, T beta, MatrixView<T> c);

/// The lower triangle of c = alpha a a^T + beta c.
template <class T>
void syrk(T alpha, const Operand<T>& a, T beta, MatrixView<T> c);

/// b becomes op(L)^-1 b.
template <class T>
void solve_left(const Operand<T>& l, MatrixView<T> b);
/// b becomes b L^-T.
template <class T>
void solve_right_transposed(MatrixView<const T> l, MatrixView<T> b);
/// b becomes L^T b.
template <class T>
void multiply_lower_transposed(MatrixView<const T> l, MatrixView<T> b);

/// The lower triangle of a becomes L with a = L L^T. Returns the row of the first pivot that is not
/// positive, or NaN, and leaves its value on the diagonal; -1 when all are positive.
template <class T>
Index cholesky(MatrixView<T> a);

}  // namespace chainrule::internal::tile
