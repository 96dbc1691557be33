// SPDX-License-Identifier: Apache-2.0
#include "blas.hpp"

#include <cblas.h>
#include <f77blas.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "blas_tiles.hpp"
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

namespace internal::tile {
namespace {

CBLAS_TRANSPOSE op(bool transposed) { return transposed ? CblasTrans : CblasNoTrans; }

// What differs between float and double.
template <class T>
struct Blas;

template <>
struct Blas<float> {
  static constexpr auto kGemm = &cblas_sgemm;
  static constexpr auto kSyrk = &cblas_ssyrk;
  static constexpr auto kTrsm = &cblas_strsm;
  static constexpr auto kTrmm = &cblas_strmm;
  static constexpr auto kPotrf = &BLASFUNC(spotrf);
};

template <>
struct Blas<double> {
  static constexpr auto kGemm = &cblas_dgemm;
  static constexpr auto kSyrk = &cblas_dsyrk;
  static constexpr auto kTrsm = &cblas_dtrsm;
  static constexpr auto kTrmm = &cblas_dtrmm;
  static constexpr auto kPotrf = &BLASFUNC(dpotrf);
};

// Windows on one row may have any leading dimension; BLAS wants one that a row fits in.
template <class T>
blasint leading(MatrixView<T> matrix) {
  return static_cast<blasint>(std::max<Index>({matrix.ld, matrix.columns, 1}));
}

}  // namespace

void require_blas(std::string_view who) { require_threadsafe_blas(who); }

template <class T>
void gemm(T alpha, const Operand<T>& a, const Operand<T>& b, T beta, MatrixView<T> c) {
  if (c.rows == 0 || c.columns == 0) return;
  Blas<T>::kGemm(CblasRowMajor, op(a.transposed), op(b.transposed), static_cast<blasint>(c.rows),
                 static_cast<blasint>(c.columns), static_cast<blasint>(a.columns()), alpha,
                 a.matrix.data, leading(a.matrix), b.matrix.data, leading(b.matrix), beta, c.data,
                 leading(c));
}

template <class T>
void syrk(T alpha, const Operand<T>& a, T beta, MatrixView<T> c) {
  if (c.rows == 0) return;
  Blas<T>::kSyrk(CblasRowMajor, CblasLower, op(a.transposed), static_cast<blasint>(c.rows),
                 static_cast<blasint>(a.columns()), alpha, a.matrix.data, leading(a.matrix), beta,
                 c.data, leading(c));
}

template <class T>
void solve_left(const Operand<T>& l, MatrixView<T> b) {
  if (b.rows == 0 || b.columns == 0) return;
  Blas<T>::kTrsm(CblasRowMajor, CblasLeft, CblasLower, op(l.transposed), CblasNonUnit,
                 static_cast<blasint>(b.rows), static_cast<blasint>(b.columns), 1, l.matrix.data,
                 leading(l.matrix), b.data, leading(b));
}

namespace {

constexpr Index kSolveSide = 64;

// b becomes b L^-T for at most kSolveSide columns: a few rows at a time as L^-1 b^T, which OpenBLAS
// does twice as fast.
template <class T>
void solve_few_right_transposed(MatrixView<const T> l, MatrixView<T> b) {
  std::array<T, kSolveSide * kSolveSide> memory;
  for (Index first = 0; first < b.rows; first += kSolveSide) {
    const MatrixView<T> rows{b.row(first), std::min(kSolveSide, b.rows - first), b.columns, b.ld};
    const MatrixView<T> columns{memory.data(), b.columns, rows.rows, kSolveSide};
    for (Index i = 0; i < rows.rows; ++i) {
      for (Index j = 0; j < b.columns; ++j) columns(j, i) = rows(i, j);
    }
    solve_left<T>(l, columns);
    for (Index i = 0; i < rows.rows; ++i) {
      for (Index j = 0; j < b.columns; ++j) rows(i, j) = columns(j, i);
    }
  }
}

}  // namespace

// By halves: most of it is a product, which is faster than OpenBLAS's solves.
template <class T>
void solve_right_transposed(MatrixView<const T> l, MatrixView<T> b) {
  if (b.rows == 0 || b.columns == 0) return;
  if (b.columns <= kSolveSide) return solve_few_right_transposed(l, b);
  const Index left = (b.columns / 2 + kSolveSide - 1) / kSolveSide * kSolveSide;
  const Index right = b.columns - left;
  const MatrixView<T> b_left{b.data, b.rows, left, b.ld};
  const MatrixView<T> b_right{b.data + left, b.rows, right, b.ld};
  const MatrixView<const T> below{l.row(left), right, left, l.ld};
  solve_right_transposed<T>({l.data, left, left, l.ld}, b_left);
  gemm<T>(-1, MatrixView<const T>(b_left), transpose(below), 1, b_right);
  solve_right_transposed<T>({l.row(left) + left, right, right, l.ld}, b_right);
}

template <class T>
void multiply_lower_transposed(MatrixView<const T> l, MatrixView<T> b) {
  if (b.rows == 0 || b.columns == 0) return;
  Blas<T>::kTrmm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit,
                 static_cast<blasint>(b.rows), static_cast<blasint>(b.columns), 1, l.data,
                 leading(l), b.data, leading(b));
}

template <class T>
Index cholesky(MatrixView<T> a) {
  if (a.rows == 0) return -1;
  // Fortran reads our rows as columns, and so our lower triangle as its upper one.
  char upper = 'U';
  auto n = static_cast<blasint>(a.rows);
  blasint lda = leading(a);
  blasint minor = 0;
  Blas<T>::kPotrf(&upper, &n, a.data, &lda, &minor);
  if (minor > 0) return minor - 1;
  for (Index i = 0; i < a.rows; ++i) {  // OpenBLAS takes the root of a NaN
    if (!(a(i, i) > 0)) return i;
  }
  return -1;
}

template void gemm(float, const Operand<float>&, const Operand<float>&, float, MatrixView<float>);
template void syrk(float, const Operand<float>&, float, MatrixView<float>);
template void solve_left(const Operand<float>&, MatrixView<float>);
template void solve_right_transposed(MatrixView<const float>, MatrixView<float>);
template void multiply_lower_transposed(MatrixView<const float>, MatrixView<float>);
template Index cholesky(MatrixView<float>);
template void gemm(double, const Operand<double>&, const Operand<double>&, double,
                   MatrixView<double>);
template void syrk(double, const Operand<double>&, double, MatrixView<double>);
template void solve_left(const Operand<double>&, MatrixView<double>);
template void solve_right_transposed(MatrixView<const double>, MatrixView<double>);
template void multiply_lower_transposed(MatrixView<const double>, MatrixView<double>);
template Index cholesky(MatrixView<double>);

}  // namespace internal::tile

}  // namespace chainrule
