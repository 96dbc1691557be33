// SPDX-License-Identifier: Apache-2.0
#include "blas.hpp"

#include <cblas.h>
#include <f77blas.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/linear_algebra.hpp"
#include "chainrule/runtime/machine.hpp"
#include "warn_once.hpp"

namespace chainrule {
namespace {

// One OpenBLAS thread: our own threads call it concurrently, and two levels of threads fight for
// the cores. Process-wide, hence once, and only when somebody uses BLAS.
void set_up_blas() {
  static const bool done = [] {
    if (std::getenv("CHAINRULE_KEEP_BLAS_THREADS") == nullptr) openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

void call_gemm(CBLAS_TRANSPOSE transpose, blasint m, blasint n, blasint k, const float* a,
               blasint lda, const float* b, blasint ldb, float beta, float* c, blasint ldc) {
  cblas_sgemm(CblasRowMajor, transpose, CblasNoTrans, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
}

void call_gemm(CBLAS_TRANSPOSE transpose, blasint m, blasint n, blasint k, const double* a,
               blasint lda, const double* b, blasint ldb, double beta, double* c, blasint ldc) {
  cblas_dgemm(CblasRowMajor, transpose, CblasNoTrans, m, n, k, 1, a, lda, b, ldb, beta, c, ldc);
}

template <class T>
void multiply(StridedView<T> a, MatrixView<const T> b, MatrixView<T> c, bool accumulate) {
  if (c.rows == 0 || c.columns == 0) return;
  if (b.rows == 0) {
    if (accumulate) return;
    for (Index i = 0; i < c.rows; ++i) {
      for (Index j = 0; j < c.columns; ++j) c(i, j) = 0;
    }
    return;
  }
  const bool transposed = a.column_stride != 1;
  const Index lda = transposed ? a.column_stride : std::max(a.row_stride, b.rows);
  call_gemm(transposed ? CblasTrans : CblasNoTrans, static_cast<blasint>(c.rows),
            static_cast<blasint>(c.columns), static_cast<blasint>(b.rows), a.data,
            static_cast<blasint>(lda), b.data, static_cast<blasint>(b.ld),
            static_cast<T>(accumulate ? 1 : 0), c.data, static_cast<blasint>(c.ld));
}

// Plans on this path fuse nothing into a product.
template <class T>
void blas_gemm(StridedView<T> a, MatrixView<const T> b, MatrixView<T> c, bool accumulate,
               const GemmFinish<T>&) {
  multiply(a, b, c, accumulate);
}

void require_threadsafe_blas(std::string_view who) {
  set_up_blas();
  internal::warn_of_slow_blas(openblas_get_corename());
  if (openblas_get_parallel() != 0) return;
  throw UnsupportedError(
      fmt::format("{} needs a thread-safe OpenBLAS (Debian: libopenblas-pthread-dev), but the one "
                  "linked is a serial build",
                  who));
}

}  // namespace

BlasInfo blas_info() {
  set_up_blas();
  return {.library = openblas_get_config(),
          .core = openblas_get_corename(),
          .threadsafe = openblas_get_parallel() != 0};
}

void internal::use_blas_gemm(KernelTable& kernels) {
  require_threadsafe_blas("compile: --gemm blas");
  kernels.f32.gemm = &blas_gemm<float>;
  kernels.f64.gemm = &blas_gemm<double>;
}

void multiply_transposed(MatrixView<const double> a, MatrixView<const double> b,
                         MatrixView<double> c) {
  if (a.rows != b.rows || a.columns != c.rows || b.columns != c.columns) {
    throw ShapeError(fmt::format("multiply_transposed: got [{}, {}]^T [{}, {}] for [{}, {}]",
                                 a.rows, a.columns, b.rows, b.columns, c.rows, c.columns));
  }
  require_threadsafe_blas("multiply_transposed");
  multiply<double>({.data = a.data, .row_stride = 1, .column_stride = a.ld}, b, c, false);
}

void solve_positive_definite(MatrixView<double> a, MatrixView<double> b) {
  if (a.rows != a.columns || b.rows != a.rows) {
    throw ShapeError(
        fmt::format("solve_positive_definite: got a [{}, {}] and b [{}, {}], expected [n, n] and "
                    "[n, k]",
                    a.rows, a.columns, b.rows, b.columns));
  }
  if (a.rows == 0 || b.columns == 0) return;
  require_threadsafe_blas("solve_positive_definite");
  // Fortran reads our rows as columns, and so our lower triangle as its upper one.
  char upper = 'U';
  auto n = static_cast<blasint>(a.rows);
  auto lda = static_cast<blasint>(a.ld);
  blasint minor = 0;
  BLASFUNC(dpotrf)(&upper, &n, a.data, &lda, &minor);
  if (minor != 0) {
    throw Error(fmt::format(
        "solve_positive_definite: the leading minor of order {} of a [{}, {}] matrix is not "
        "positive definite",
        minor, a.rows, a.rows));
  }
  const auto columns = static_cast<blasint>(b.columns);
  for (const CBLAS_TRANSPOSE transpose : {CblasNoTrans, CblasTrans}) {
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasLower, transpose, CblasNonUnit, n, columns, 1,
                a.data, lda, b.data, static_cast<blasint>(b.ld));
  }
}

}  // namespace chainrule
