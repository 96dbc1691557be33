// SPDX-License-Identifier: Apache-2.0
#include "blas.hpp"

#include <cblas.h>
#include <f77blas.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "blas_tiles.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/runtime/linear_algebra.hpp"
#include "chainrule/runtime/machine.hpp"
#include "warn_once.hpp"

// LAPACK, which OpenBLAS contains and its headers do not declare.
extern "C" {
int BLASFUNC(dgeqp3)(const blasint* rows, const blasint* columns, double* a, const blasint* lda,
                     blasint* pivots, double* tau, double* work, const blasint* size,
                     blasint* info);
int BLASFUNC(dgeqrf)(const blasint* rows, const blasint* columns, double* a, const blasint* lda,
                     double* tau, double* work, const blasint* size, blasint* info);
int BLASFUNC(dormqr)(const char* side, const char* transpose, const blasint* rows,
                     const blasint* columns, const blasint* reflectors, const double* a,
                     const blasint* lda, const double* tau, double* c, const blasint* ldc,
                     double* work, const blasint* size, blasint* info);
}

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

template <class T>
PreparedCall prepare_blas_gemm(StridedView<T> a, MatrixView<const T> b, MatrixView<T> c,
                               bool accumulate, const GemmFinish<T>&) {
  return [=] { multiply(a, b, c, accumulate); };
}

// Scales each row to norm 1 and returns what it was divided by; rows of zeros stay.
std::vector<double> normalize_rows(MatrixView<double> a) {
  std::vector<double> norms(static_cast<std::size_t>(a.rows), 1);
  const auto n = static_cast<blasint>(a.columns);
  for (Index j = 0; j < a.rows; ++j) {
    const double norm = cblas_dnrm2(n, a.row(j), 1);
    if (!(norm > 0) || !std::isfinite(1 / norm)) continue;
    norms[static_cast<std::size_t>(j)] = norm;
    cblas_dscal(n, 1 / norm, a.row(j), 1);
  }
  return norms;
}

// What dgeqrf and dgeqp3 leave: `a` holds R and reflectors, `tau` their factors. b becomes Q^T b.
void apply_reflectors(MatrixView<double> a, const std::vector<double>& tau, MatrixView<double> b,
                      std::vector<double>& work) {
  if (b.rows == 0) return;
  // Fortran reads our rows as columns.
  const auto n = static_cast<blasint>(a.columns), m = static_cast<blasint>(a.rows);
  const auto k = static_cast<blasint>(b.rows), size = static_cast<blasint>(work.size());
  const auto lda = static_cast<blasint>(a.ld), ldb = static_cast<blasint>(b.ld);
  blasint info = 0;
  BLASFUNC(dormqr)
  ("L", "T", &n, &k, &m, a.data, &lda, tau.data(), b.data, &ldb, work.data(), &size, &info);
}

// Room for blocks of 64 columns, more than LAPACK takes.
std::vector<double> qr_workspace(Index columns, Index right_sides) {
  return std::vector<double>(static_cast<std::size_t>(66 * (columns + right_sides + 66)));
}

// Rows of `a`, as columns, become R and reflectors without pivoting; b becomes Q^T b.
void factor_columns(MatrixView<double> a, MatrixView<double> b) {
  if (a.columns == a.rows) return;
  const auto n = static_cast<blasint>(a.columns), m = static_cast<blasint>(a.rows);
  const auto lda = static_cast<blasint>(a.ld);
  std::vector<double> tau(static_cast<std::size_t>(m)), work = qr_workspace(a.rows, b.rows);
  const auto size = static_cast<blasint>(work.size());
  blasint info = 0;
  BLASFUNC(dgeqrf)(&n, &m, a.data, &lda, tau.data(), work.data(), &size, &info);
  apply_reflectors(a, tau, b, work);
}

// The same with pivoting.
void pivot_columns(MatrixView<double> a, MatrixView<double> b, std::vector<blasint>& pivots) {
  const auto n = static_cast<blasint>(a.columns), m = static_cast<blasint>(a.rows);
  const auto lda = static_cast<blasint>(a.ld);
  std::vector<double> tau(static_cast<std::size_t>(m)), work = qr_workspace(a.rows, b.rows);
  const auto size = static_cast<blasint>(work.size());
  blasint info = 0;
  BLASFUNC(dgeqp3)(&n, &m, a.data, &lda, pivots.data(), tau.data(), work.data(), &size, &info);
  apply_reflectors(a, tau, b, work);
}

// R of factor_columns(), stored by columns as rows.
Tensor upper_triangle(MatrixView<const double> a) {
  Tensor r({a.rows, a.rows}, DType::kFloat64);
  for (Index j = 0; j < a.rows; ++j) std::copy_n(a.row(j), j + 1, r.as<double>().row(j));
  return r;
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
  kernels.f32.prepare_gemm = &prepare_blas_gemm<float>;
  kernels.f64.prepare_gemm = &prepare_blas_gemm<double>;
  kernels.f32.prefers_dots = kernels.f64.prefers_dots = [](Index, Index) { return false; };
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

Index solve_least_squares(MatrixView<double> columns, MatrixView<double> b, double tolerance) {
  if (b.columns != columns.columns || columns.columns < columns.rows) {
    throw ShapeError(
        fmt::format("solve_least_squares: got columns [{}, {}] and b [{}, {}], expected [m, n] and "
                    "[k, n], n >= m",
                    columns.rows, columns.columns, b.rows, b.columns));
  }
  if (!(tolerance >= 0 && tolerance < 1)) {
    throw ArgumentError(fmt::format(
        "solve_least_squares: got tolerance {}, expected 0 <= tolerance < 1", tolerance));
  }
  if (columns.rows == 0) return 0;
  require_threadsafe_blas("solve_least_squares");
  const std::vector<double> norms = normalize_rows(columns);

  factor_columns(columns, b);
  std::vector<blasint> pivots(static_cast<std::size_t>(columns.rows), 0);
  MatrixView<double> triangle = columns, right = b;
  Tensor square;
  if (columns.columns > columns.rows) {
    square = upper_triangle(columns);
    triangle = square.as<double>();
    right.columns = columns.rows;
  }
  pivot_columns(triangle, right, pivots);

  blasint rank = 0;
  const auto m = static_cast<blasint>(columns.rows);
  const double first = std::abs(triangle(0, 0));
  while (rank < m && std::abs(triangle(rank, rank)) > tolerance * first) ++rank;
  std::vector<double> x(pivots.size());
  for (Index row = 0; row < b.rows; ++row) {
    double* const values = b.row(row);
    cblas_dtrsv(CblasColMajor, CblasUpper, CblasNoTrans, CblasNonUnit, rank, triangle.data,
                static_cast<blasint>(triangle.ld), values, 1);
    std::fill(x.begin(), x.end(), 0.0);
    for (blasint i = 0; i < rank; ++i) {
      const auto j = static_cast<std::size_t>(pivots[static_cast<std::size_t>(i)] - 1);
      x[j] = values[i] / norms[j];
    }
    std::copy(x.begin(), x.end(), values);
  }
  return rank;
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
