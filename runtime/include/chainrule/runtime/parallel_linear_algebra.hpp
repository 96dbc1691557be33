// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <type_traits>

#include "chainrule/core/export.hpp"
#include "chainrule/core/op_context.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {

// Dense linear algebra in float64 and float32 on the threads of an executor: tiles of OpenBLAS and
// its LAPACK, one thread each. The tiles depend on the shapes alone, so that the bits are the same
// for any number of threads, on one core type of OpenBLAS (blas_info()); the row invariance of
// plans is not promised. Small problems run on the calling thread. T is float or double.
//
// Matrices may overlap only where a function says so. All throw ShapeError when shapes do not fit,
// and UnsupportedError when the OpenBLAS linked is a serial build, which is not thread-safe.

/// A matrix as it is or transposed.
template <class T>
struct Operand {
  MatrixView<const T> matrix;
  bool transposed = false;

  Operand(MatrixView<const T> matrix_, bool transposed_ = false)
      : matrix(matrix_), transposed(transposed_) {}
  Operand(MatrixView<std::remove_const_t<T>> matrix_) : matrix(matrix_) {}

  Index rows() const noexcept { return transposed ? matrix.columns : matrix.rows; }
  Index columns() const noexcept { return transposed ? matrix.rows : matrix.columns; }
};

/// a^T as an operand.
template <class T>
Operand<std::remove_const_t<T>> transpose(MatrixView<T> a) {
  return {MatrixView<const T>(a), true};
}

/// c = alpha a b + beta c; a [m, k], b [k, n], c [m, n]. beta = 0 overwrites c, NaN included.
template <class T>
CHAINRULE_API void gemm(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
                        std::type_identity_t<Operand<T>> b, std::type_identity_t<T> beta,
                        MatrixView<T> c, const Executor& executor);

enum class Triangle : std::uint8_t {
  kLower,  ///< what lies above the diagonal keeps its values
  kBoth,   ///< the upper triangle becomes the lower one's mirror image
};

/// c = alpha a a^T + beta c, symmetric; a [n, k], c [n, n], of which only the lower triangle is
/// read.
template <class T>
CHAINRULE_API void syrk(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
                        std::type_identity_t<T> beta, MatrixView<T> c, Triangle result,
                        const Executor& executor);

struct CholeskyOptions {
  /// How large a multiple of the mean diagonal may be added to the diagonal of a matrix that is not
  /// positive definite: 1e-10, then ten times as much, up to this. 0: nothing is added. Costs a
  /// copy of the lower triangle.
  double max_jitter = 0;
};

struct CholeskyResult {
  double jitter = 0;           ///< what was added to each diagonal element, in a's units
  double log_determinant = 0;  ///< of a, with the jitter: 2 sum_i log L_ii
};

/// Cholesky's a = L L^T of a symmetric positive definite a [n, n], of which only the lower triangle
/// is read; it becomes L, and the rest keeps its values. (Golub & Van Loan, Matrix Computations,
/// 4.2.) Error, naming the row of the first pivot that is not positive and its value, when a is not
/// positive definite (a's lower triangle is then undefined) or not finite; ArgumentError for a
/// max_jitter that is negative or not finite.
template <class T>
CHAINRULE_API CholeskyResult cholesky(MatrixView<T> a, const CholeskyOptions& options,
                                      const Executor& executor);

/// Solves L x = b (or L^T x = b) for a lower triangular L [n, n], of which nothing above the
/// diagonal is read; b [n, k] becomes x.
template <class T>
CHAINRULE_API void solve_lower(std::type_identity_t<Operand<T>> l, MatrixView<T> b,
                               const Executor& executor);

/// Solves L L^T x = b; b [n, k] becomes x.
template <class T>
CHAINRULE_API void solve_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> b,
                                  const Executor& executor);

/// inverse = (L L^T)^-1, both triangles; L and inverse are [n, n].
template <class T>
CHAINRULE_API void invert_cholesky(std::type_identity_t<MatrixView<const T>> l,
                                   MatrixView<T> inverse, const Executor& executor);

/// What whole-batch ops see of all this, on whatever tiles run on.
CHAINRULE_API const BatchAlgebra& batch_algebra() noexcept;

}  // namespace chainrule
