// SPDX-License-Identifier: Apache-2.0
#include "blas.hpp"

#include <cblas.h>

#include <algorithm>
#include <cstdlib>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/machine.hpp"

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
void blas_gemm(StridedView<T> a, MatrixView<const T> b, MatrixView<T> c, bool accumulate) {
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

}  // namespace

BlasInfo blas_info() {
  set_up_blas();
  return {.library = openblas_get_config(),
          .core = openblas_get_corename(),
          .threadsafe = openblas_get_parallel() != 0};
}

void internal::use_blas_gemm(KernelTable& kernels) {
  if (!blas_info().threadsafe) {
    throw UnsupportedError(
        "compile: --gemm blas needs a thread-safe OpenBLAS (Debian: libopenblas-pthread-dev), but "
        "the one linked is a serial build");
  }
  kernels.f32.gemm = &blas_gemm<float>;
  kernels.f64.gemm = &blas_gemm<double>;
}

}  // namespace chainrule
