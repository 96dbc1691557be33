// SPDX-License-Identifier: Apache-2.0
#include "dense_algebra.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <vector>

#include "blas_tiles.hpp"
#include "chainrule/core/error.hpp"

namespace chainrule::internal::dense {
namespace {

// How a length is cut. OpenBLAS packs both operands of each product: large tiles pay less for it,
// many keep all threads busy to the end. Of Cholesky at n = 4096 on one thread, sides of 192, 256,
// 384 and 512 make 40, 41, 43 and 43 GFLOP/s.
Index side_of(Index length) {
  if (length < 1024) return 128;
  return length < 3072 ? 256 : 384;
}

Index tiles_of(Index length) { return (length + side_of(length) - 1) / side_of(length); }

// Tile number `tile` of a length: where it starts and how long it is.
struct Span {
  Index first;
  Index count;
};

Span span_of(Index tile, Index length) {
  const Index first = tile * side_of(length);
  return {first, std::min(side_of(length), length - first)};
}

template <class T>
MatrixView<T> window(MatrixView<T> matrix, Span rows, Span columns) {
  return {matrix.data + rows.first * matrix.ld + columns.first, rows.count, columns.count,
          matrix.ld};
}

template <class T>
Operand<T> rows_of(const Operand<T>& a, Span rows) {
  const MatrixView<const T>& m = a.matrix;
  if (a.transposed) return {window(m, {0, m.rows}, rows), true};
  return window(m, rows, {0, m.columns});
}

template <class T>
Operand<T> columns_of(const Operand<T>& a, Span columns) {
  const MatrixView<const T>& m = a.matrix;
  if (a.transposed) return {window(m, columns, {0, m.columns}), true};
  return window(m, {0, m.rows}, columns);
}

double cube(Index n) { return std::pow(static_cast<double>(n), 3); }

// The tiles (row, column) of a lower triangle, column by column.
struct LowerTiles {
  explicit LowerTiles(Index side) {
    for (Index column = 0; column < side; ++column) {
      for (Index row = column; row < side; ++row) tiles.push_back({row, column});
    }
  }
  struct Tile {
    Index row;
    Index column;
  };
  Index size() const { return static_cast<Index>(tiles.size()); }
  const Tile& operator[](Index i) const { return tiles[static_cast<std::size_t>(i)]; }

  std::vector<Tile> tiles;
};

template <class T>
void mirror(MatrixView<T> a, const TileThreads& threads) {
  const LowerTiles tiles(tiles_of(a.rows));
  threads.for_each(tiles.size(), static_cast<double>(a.rows * a.rows), [&](Index i, int) {
    const Span rows = span_of(tiles[i].row, a.rows), columns = span_of(tiles[i].column, a.rows);
    for (Index row = rows.first; row < rows.first + rows.count; ++row) {
      const Index last = std::min(columns.first + columns.count, row);
      for (Index column = columns.first; column < last; ++column) a(column, row) = a(row, column);
    }
  });
}

// Which tiles are finished. Tasks are handed out in an order in which each waits for earlier ones
// only, so that whoever waits, waits for a thread at work.
class Progress {
 public:
  explicit Progress(Index tiles) : done_(static_cast<std::size_t>(tiles)) {}

  void finish(Index tile) noexcept { at(tile).store(true, std::memory_order_release); }
  void stop() noexcept { stopped_.store(true, std::memory_order_release); }
  /// False when somebody has stopped the work.
  bool wait(Index tile) noexcept {
    constexpr int kPolls = 1'000;
    for (int polls = 0; !at(tile).load(std::memory_order_acquire); ++polls) {
      if (stopped_.load(std::memory_order_acquire)) return false;
      if (polls >= kPolls) std::this_thread::yield();
    }
    return true;
  }

 private:
  std::atomic<bool>& at(Index tile) noexcept { return done_[static_cast<std::size_t>(tile)]; }

  std::vector<std::atomic<bool>> done_;
  std::atomic<bool> stopped_{false};
};

// Tile by tile, left-looking: a tile gets all its products at once, with a long inner dimension,
// while the next columns' tiles are already under way on other threads.
template <class T>
class Factorization {
 public:
  explicit Factorization(MatrixView<T> a)
      : a_(a), side_(tiles_of(a.rows)), tiles_(side_), progress_(side_ * side_) {}

  /// The row of the first pivot that is not positive, or -1.
  Index run(const TileThreads& threads) {
    threads.for_each(tiles_.size(), cube(a_.rows) / 3, [this](Index i, int) { factor(tiles_[i]); });
    return failed_row_;
  }

 private:
  void factor(const LowerTiles::Tile& at) {
    const Span rows = span_of(at.row, a_.rows), columns = span_of(at.column, a_.rows);
    const Span left{0, columns.first};
    const MatrixView<T> tile = window(a_, rows, columns);
    const MatrixView<const T> row_left = window(a_, rows, left);
    // A tile's row is finished from left to right: the last of it tells of all.
    if (at.column > 0 && !wait(at.row, at.column - 1)) return;
    if (at.row == at.column) {
      if (at.column > 0) tile::syrk<T>(-1, row_left, 1, tile);
      const Index row = tile::cholesky(tile);
      if (row >= 0) {
        failed_row_ = rows.first + row;  // of a diagonal, so that no other tile can be the first
        progress_.stop();
        return;
      }
    } else {
      if (at.column > 0) {
        if (!wait(at.column, at.column - 1)) return;
        const MatrixView<const T> column_left = window(a_, columns, left);
        tile::gemm<T>(-1, row_left, transpose(column_left), 1, tile);
      }
      if (!wait(at.column, at.column)) return;
      tile::solve_right_transposed<T>(window(a_, columns, columns), tile);
    }
    progress_.finish(at.row * side_ + at.column);
  }

  bool wait(Index row, Index column) { return progress_.wait(row * side_ + column); }

  MatrixView<T> a_;
  Index side_;
  LowerTiles tiles_;
  Progress progress_;
  Index failed_row_ = -1;
};

// The lower triangle, row by row.
template <class T>
std::vector<T> packed(MatrixView<const T> a) {
  std::vector<T> values;
  values.reserve(static_cast<std::size_t>(a.rows * (a.rows + 1) / 2));
  for (Index i = 0; i < a.rows; ++i) values.insert(values.end(), a.row(i), a.row(i) + i + 1);
  return values;
}

template <class T>
void unpack(const std::vector<T>& values, T diagonal_shift, MatrixView<T> a) {
  const T* from = values.data();
  for (Index i = 0; i < a.rows; ++i) {
    std::copy_n(from, i + 1, a.row(i));
    a(i, i) += diagonal_shift;
    from += i + 1;
  }
}

template <class T>
double mean_diagonal(MatrixView<const T> a) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) sum += static_cast<double>(a(i, i));
  return sum / static_cast<double>(a.rows);
}

template <class T>
CholeskyResult result_of(MatrixView<const T> l, double jitter) {
  double sum = 0;
  for (Index i = 0; i < l.rows; ++i) sum += std::log(static_cast<double>(l(i, i)));
  return {.jitter = jitter, .log_determinant = 2 * sum};
}

// The lower triangle of `inverse` becomes L^-1, column by column, the rest of its diagonal tiles
// zero.
template <class T>
void invert_lower(MatrixView<const T> l, MatrixView<T> inverse, const TileThreads& threads) {
  const Index n = l.rows;
  threads.for_each(tiles_of(n), cube(n) / 3, [&](Index i, int) {
    const Span columns = span_of(i, n), rows{columns.first, n - columns.first};
    const MatrixView<T> part = window(inverse, rows, columns);
    for (Index row = 0; row < part.rows; ++row) {
      std::fill_n(part.row(row), part.columns, T(0));
      if (row < part.columns) part(row, row) = 1;
    }
    tile::solve_left<T>(window(l, rows, rows), part);
  });
}

// The lower triangle of w becomes that of W^T W, W its lower triangle now; a row of tiles at a
// time, as that reads the row itself and those below.
template <class T>
void multiply_by_own_transpose(MatrixView<T> w, const TileThreads& threads) {
  const Index n = w.rows;
  std::vector<T> product(static_cast<std::size_t>(side_of(n) * side_of(n)));
  for (Index row = 0; row < tiles_of(n); ++row) {
    const Span rows = span_of(row, n);
    const Span below{rows.first + rows.count, n - rows.first - rows.count};
    const MatrixView<T> diagonal = window(w, rows, rows);
    const Operand<T> below_diagonal = transpose(window(w, below, rows));
    // The others of its row read the diagonal tile, which therefore changes last.
    const MatrixView<T> result{product.data(), rows.count, rows.count, rows.count};
    const double flops = 2.0 * static_cast<double>(rows.count * (rows.first + rows.count)) *
                         static_cast<double>(n - rows.first);
    threads.for_each(row + 1, flops, [&](Index i, int) {
      if (i == row) {
        for (Index j = 0; j < rows.count; ++j)
          std::copy_n(diagonal.row(j), rows.count, result.row(j));
        tile::multiply_lower_transposed<T>(diagonal, result);
        tile::syrk<T>(1, below_diagonal, 1, result);
      } else {
        const Span columns = span_of(i, n);
        const MatrixView<T> tile = window(w, rows, columns);
        tile::multiply_lower_transposed<T>(diagonal, tile);
        tile::gemm<T>(1, below_diagonal, window(w, below, columns), 1, tile);
      }
    });
    for (Index j = 0; j < rows.count; ++j) std::copy_n(result.row(j), j + 1, diagonal.row(j));
  }
}

// syrk() without the mirror image.
template <class T>
void update_lower(T alpha, const Operand<T>& a, T beta, MatrixView<T> c,
                  const TileThreads& threads) {
  const LowerTiles tiles(tiles_of(c.rows));
  const double flops =
      static_cast<double>(c.rows) * static_cast<double>(c.rows) * static_cast<double>(a.columns());
  threads.for_each(tiles.size(), flops, [&](Index i, int) {
    const Span rows = span_of(tiles[i].row, c.rows), columns = span_of(tiles[i].column, c.rows);
    const Operand<T> left = rows_of(a, rows);
    const MatrixView<T> tile = window(c, rows, columns);
    if (tiles[i].row == tiles[i].column) {
      tile::syrk<T>(alpha, left, beta, tile);
    } else {
      Operand<T> right = rows_of(a, columns);
      right.transposed = !right.transposed;
      tile::gemm<T>(alpha, left, right, beta, tile);
    }
  });
}

void expect_square(std::string_view who, Index rows, Index columns) {
  if (rows == columns) return;
  throw ShapeError(fmt::format("{}: got [{}, {}], expected a square matrix", who, rows, columns));
}

void expect_system(const char* who, Index rows, Index columns, Index b_rows, Index b_columns) {
  if (rows == columns && rows == b_rows) return;
  throw ShapeError(fmt::format("{}: got L [{}, {}] and b [{}, {}], expected [n, n] and [n, k]", who,
                               rows, columns, b_rows, b_columns));
}

}  // namespace

template <class T>
void gemm(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
          std::type_identity_t<Operand<T>> b, std::type_identity_t<T> beta, MatrixView<T> c,
          const TileThreads& threads) {
  if (a.rows() != c.rows || a.columns() != b.rows() || b.columns() != c.columns) {
    throw ShapeError(fmt::format("gemm: got [{}, {}] [{}, {}] for [{}, {}]", a.rows(), a.columns(),
                                 b.rows(), b.columns(), c.rows, c.columns));
  }
  tile::require_blas("gemm");
  const Index across = tiles_of(c.columns);
  const double flops = 2.0 * static_cast<double>(c.rows) * static_cast<double>(c.columns) *
                       static_cast<double>(a.columns());
  threads.for_each(tiles_of(c.rows) * across, flops, [&](Index i, int) {
    const Span rows = span_of(i / across, c.rows), columns = span_of(i % across, c.columns);
    tile::gemm<T>(alpha, rows_of(a, rows), columns_of(b, columns), beta, window(c, rows, columns));
  });
}

template <class T>
void syrk(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
          std::type_identity_t<T> beta, MatrixView<T> c, Triangle result,
          const TileThreads& threads) {
  if (c.rows != c.columns || a.rows() != c.rows) {
    throw ShapeError(fmt::format("syrk: got a [{}, {}] for [{}, {}], expected [n, k] for [n, n]",
                                 a.rows(), a.columns(), c.rows, c.columns));
  }
  tile::require_blas("syrk");
  update_lower<T>(alpha, a, beta, c, threads);
  if (result == Triangle::kBoth) mirror(c, threads);
}

template <class T>
CholeskyResult cholesky(std::string_view who, MatrixView<T> a, const CholeskyOptions& options,
                        const TileThreads& threads) {
  expect_square(who, a.rows, a.columns);
  if (!(options.max_jitter >= 0) || !std::isfinite(options.max_jitter)) {
    throw ArgumentError(fmt::format("{}: got max_jitter {}, expected a finite number >= 0", who,
                                    options.max_jitter));
  }
  if (a.rows == 0) return {};
  tile::require_blas(who);
  const double mean = mean_diagonal<T>(a);
  std::vector<T> original;
  if (options.max_jitter > 0) original = packed<T>(a);
  double jitter = 0;
  Index row = Factorization<T>(a).run(threads);
  for (double share = 1e-10; row >= 0 && mean > 0 && share <= options.max_jitter * (1 + 1e-9);
       share *= 10) {
    jitter = share * mean;
    unpack(original, static_cast<T>(jitter), a);
    row = Factorization<T>(a).run(threads);
  }
  if (row < 0) return result_of<T>(a, jitter);
  throw Error(fmt::format(
      "{}: a [{}, {}] matrix{} is not positive definite: the pivot of row {} (from 0) is {}", who,
      a.rows, a.rows, jitter > 0 ? fmt::format(" with {} added to its diagonal", jitter) : "", row,
      a(row, row)));
}

template <class T>
void solve_lower(std::type_identity_t<Operand<T>> l, MatrixView<T> b, const TileThreads& threads) {
  expect_system("solve_lower", l.rows(), l.columns(), b.rows, b.columns);
  tile::require_blas("solve_lower");
  const double n = static_cast<double>(b.rows);
  threads.for_each(tiles_of(b.columns), n * n * static_cast<double>(b.columns), [&](Index i, int) {
    tile::solve_left<T>(l, window(b, {0, b.rows}, span_of(i, b.columns)));
  });
}

template <class T>
void solve_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> b,
                    const TileThreads& threads) {
  expect_system("solve_cholesky", l.rows, l.columns, b.rows, b.columns);
  tile::require_blas("solve_cholesky");
  const double n = static_cast<double>(b.rows);
  const double flops = 2 * n * n * static_cast<double>(b.columns);
  threads.for_each(tiles_of(b.columns), flops, [&](Index i, int) {
    const MatrixView<T> part = window(b, {0, b.rows}, span_of(i, b.columns));
    tile::solve_left<T>(l, part);
    tile::solve_left<T>(transpose(l), part);
  });
}

template <class T>
void invert_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> inverse,
                     const TileThreads& threads) {
  expect_system("invert_cholesky", l.rows, l.columns, inverse.rows, inverse.columns);
  expect_square("invert_cholesky", inverse.rows, inverse.columns);
  tile::require_blas("invert_cholesky");
  const auto invert = [&] {
    invert_lower<T>(l, inverse, threads);
    multiply_by_own_transpose(inverse, threads);
    mirror(inverse, threads);
  };
  if (tiles_of(l.rows) > 2) {
    threads.with_residents(invert);
  } else {
    invert();
  }
}

template void gemm(float, Operand<float>, Operand<float>, float, MatrixView<float>,
                   const TileThreads&);
template void syrk(float, Operand<float>, float, MatrixView<float>, Triangle, const TileThreads&);
template CholeskyResult cholesky(std::string_view, MatrixView<float>, const CholeskyOptions&,
                                 const TileThreads&);
template void solve_lower(Operand<float>, MatrixView<float>, const TileThreads&);
template void solve_cholesky(MatrixView<const float>, MatrixView<float>, const TileThreads&);
template void invert_cholesky(MatrixView<const float>, MatrixView<float>, const TileThreads&);
template void gemm(double, Operand<double>, Operand<double>, double, MatrixView<double>,
                   const TileThreads&);
template void syrk(double, Operand<double>, double, MatrixView<double>, Triangle,
                   const TileThreads&);
template CholeskyResult cholesky(std::string_view, MatrixView<double>, const CholeskyOptions&,
                                 const TileThreads&);
template void solve_lower(Operand<double>, MatrixView<double>, const TileThreads&);
template void solve_cholesky(MatrixView<const double>, MatrixView<double>, const TileThreads&);
template void invert_cholesky(MatrixView<const double>, MatrixView<double>, const TileThreads&);

}  // namespace chainrule::internal::dense
