// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "arithmetic.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "gemm_tile.hpp"
#include "loop.hpp"
#include "unary.hpp"

// c (+)= a b without packing. A tile of c lives in registers: up to kGemmRows rows of two vectors,
// half as many rows of four, or few rows of eight. The inner dimension is cut in blocks between
// which the tile rests in c, so each element stays one ascending chain of FMAs whatever the tiles.
// Two forms serve narrow results: a transposed tile, which fills its vectors and changes no bit,
// and dot products for one column. What follows a product follows it tile by tile: bias, relu and
// the step of SGD down a gradient in registers, other functions while the tile is in L1.

namespace chainrule::simd {

inline constexpr Index kGemmInnerBlock = 512;
inline constexpr Index kGemmRowBlock = 256;  ///< rows of a that stay in L2 while b streams by

/// One product: c (+)= a b, then `finish`.
template <class B>
struct Product {
  StridedView<Value<B>> a;
  In<B> b;
  Out<B> c;
  bool accumulate;
  GemmFinish<Value<B>> finish;
  Index ahead = 0;  ///< of every tile, where it is not 0; see GemmTile

  Index inner() const { return b.rows; }
};

/// Of x^T times a column x may be one block of the rows of a large batch: how far the rows are that
/// the calls after this one will read from memory, if they fit L2 beside these.
template <class B>
Index rows_ahead(const Product<B>& p) {
  constexpr Index kFewRows = 64;
  constexpr Index kMostBytes = 512 * 1024;
  const Index distance = p.inner() * p.a.column_stride;
  const bool fits = distance * static_cast<Index>(sizeof(Value<B>)) <= kMostBytes;
  return p.inner() >= kFewRows && fits ? distance : 0;
}

/// The finish of one call, moved from tile to tile.
template <class B>
class GemmEnding {
  using T = Value<B>;

 public:
  explicit GemmEnding(const GemmFinish<T>& finish)
      : finish_(finish),
        gradient_(finish.source.data != nullptr),
        relu_(finish.function == UnaryKernel::kRelu),
        at_once_(relu_ || finish.function == UnaryKernel::kCount) {}

  /// Nothing has to be done to a tile that left the registers.
  bool at_once() const { return at_once_; }

  /// What the tile at (i, j) does itself.
  void prepare(GemmTile<T>& tile, Index i, Index j) const {
    if (finish_.bias != nullptr) tile.bias = finish_.bias + j;
    tile.relu = relu_ && !gradient_;
    if (relu_ && gradient_) {
      tile.relu_output = finish_.source.row(i) + j;
      tile.relu_output_ld = finish_.source.ld;
    }
    if (finish_.descending.data != nullptr && at_once_) {
      tile.descending = finish_.descending.row(i) + j;
      tile.descending_ld = finish_.descending.ld;
      tile.sgd = finish_.sgd;
    }
  }

  /// What is left to do to a stored tile.
  void complete(Out<B> tile, Index i, Index j) const {
    if (at_once_) return;
    apply_function(tile, i, j);
    descend(tile, i, j);
  }

  /// All of it, to rows from i of c that were stored without prepare().
  void apply(Out<B> c, Index i) const {
    if (finish_.bias != nullptr) add_bias<B>(c, finish_.bias, c);
    apply_function(c, i, 0);
    descend(c, i, 0);
  }

 private:
  void apply_function(Out<B> tile, Index i, Index j) const {
    if (finish_.function == UnaryKernel::kCount) return;
    const auto f = static_cast<std::size_t>(finish_.function);
    if (gradient_) {
      const In<B> source{finish_.source.row(i) + j, tile.rows, tile.columns, finish_.source.ld};
      kFunctions.unary_backward[f](source, tile, tile, finish_.parameters, false);
    } else {
      kFunctions.unary[f](tile, tile, finish_.parameters);
    }
  }

  void descend(Out<B> tile, Index i, Index j) const {
    if (finish_.descending.data == nullptr) return;
    const Out<B> p{finish_.descending.row(i) + j, tile.rows, tile.columns, finish_.descending.ld};
    sgd_update<B>(p, tile, {}, {}, finish_.sgd);
  }

  static constexpr Kernels<T> kFunctions = [] {
    Kernels<T> kernels{};
    set_all_unary<B>(kernels);
    return kernels;
  }();

  const GemmFinish<T>& finish_;
  bool gradient_;
  bool relu_;
  bool at_once_;
};

/// c's rows [first_row, first_row + rows) against the inner block that `tile` describes; `ending`
/// is null where other inner blocks follow.
template <class B>
void gemm_block(GemmTile<Value<B>> tile, Index first_row, Index rows, Index columns,
                const GemmEnding<B>* ending) {
  using Tiles = GemmTiles<B>;
  const Index most_vectors = Tiles::most_vectors(rows);
  const Index most_columns = most_vectors * kLanes<B>;
  const GemmCut cut(rows, Tiles::most_rows(most_vectors));
  const auto* const a = tile.a;
  auto* const c = tile.c;
  const Index ahead = tile.ahead;
  for (Index j = 0; j < columns; j += most_columns) {
    const Index width = std::min(columns - j, most_columns);
    tile.a = a;
    tile.c = c + j;
    tile.last = width % kLanes<B>;
    tile.ahead = ahead != 0 ? ahead : j + width < columns ? width : 0;
    if (ending != nullptr) ending->prepare(tile, first_row, j);
    GemmColumn<B>(cut, width).run(tile, [&](Index i, Index height) {
      if (ending != nullptr) {
        ending->complete({tile.c, height, width, tile.c_ld}, first_row + i, j);
      }
    });
    if (tile.inner > 0) tile.b += width;  // b may be null
  }
}

template <class B>
bool is_one_column(Out<B> c, Index inner) {
  return c.rows > 0 && c.columns > 0 && inner <= kGemmInnerBlock &&
         c.columns <= GemmTiles<B>::most_vectors(c.rows) * kLanes<B>;
}

/// The first tile of a product that one column of tiles does.
template <class B>
GemmTile<Value<B>> as_one_column(const Product<B>& p, const GemmEnding<B>& ending) {
  GemmTile<Value<B>> tile{.a = p.a.data,
                          .a_row = p.a.row_stride,
                          .a_column = p.a.column_stride,
                          .b = p.b.data,
                          .b_ld = p.b.ld,
                          .c = p.c.data,
                          .c_ld = p.c.ld,
                          .inner = p.inner(),
                          .last = p.c.columns % kLanes<B>,
                          .load_c = p.accumulate,
                          .ahead = p.ahead};
  ending.prepare(tile, 0, 0);
  return tile;
}

template <class B>
GemmColumn<B> column_of(Out<B> c) {
  using Tiles = GemmTiles<B>;
  return {GemmCut(c.rows, Tiles::most_rows(Tiles::most_vectors(c.rows))), c.columns};
}

template <class B>
void gemm_one_column(const Product<B>& p) {
  const GemmEnding<B> ending(p.finish);
  GemmTile<Value<B>> tile = as_one_column<B>(p, ending);
  column_of<B>(p.c).run(tile, [&](Index i, Index height) {
    ending.complete({tile.c, height, p.c.columns, p.c.ld}, i, 0);
  });
}

/// c = x^T b of fewer columns than a vector has: the tile holds c^T, whose vectors run along x's
/// rows. A product has the same bits whichever factor comes first.
template <class B>
void gemm_transposed(const Product<B>& p) {
  using T = Value<B>;
  using Tiles = GemmTiles<B>;
  constexpr Index kMostColumns = 4 * kLanes<B>;
  alignas(64) T memory[kGemmRows * kMostColumns];
  const auto& [a, b, c, accumulate, finish, ahead] = p;
  const Index width = std::min<Index>(Tiles::most_vectors(c.columns), 4) * kLanes<B>;
  for (Index i = 0; i < c.rows; i += width) {
    const Index count = std::min(width, c.rows - i);
    const Out<B> part{c.row(i), count, c.columns, c.ld};
    const Out<B> tile{memory, c.columns, count, width};
    if (accumulate) transpose<B>(part, tile);
    Index k = 0;
    do {
      const Index depth = std::min(b.rows - k, kGemmInnerBlock);
      kGemmTiles<B>.at(c.columns, count)({.a = b.row(k),
                                          .a_row = 1,
                                          .a_column = b.ld,
                                          .b = a.data + i + k * a.column_stride,
                                          .b_ld = a.column_stride,
                                          .c = memory,
                                          .c_ld = width,
                                          .inner = depth,
                                          .last = count % kLanes<B>,
                                          .load_c = accumulate || k > 0,
                                          .ahead = ahead});
      k += depth;
    } while (k < b.rows);
    transpose<B>(tile, part);
  }
  GemmEnding<B>(finish).apply(c, 0);
}

/// A column that the rows of a are multiplied by; its elements lie one after the other.
template <class B>
struct Column {
  const Value<B>* data;
  Index count;

  /// A sum a lane.
  B times(const Value<B>* row) const {
    B sum(Value<B>(0));
    for_each_vector<B>(count, [&](Index k, auto lanes) CHAINRULE_INLINE_BODY {
      sum = fma(lanes.load(row + k), lanes.load(data + k), sum);
    });
    return sum;
  }
};

/// One of V vectors, in registers: half the loads of a row, and the same bits. Last is the access
/// to the last vector.
template <class B, int V, class Last>
class ShortColumn {
 public:
  explicit ShortColumn(const Column<B>& column) {
    if constexpr (!std::is_empty_v<Last>) last_.count = column.count - (V - 1) * kLanes<B>;
    unrolled<V>([&](auto v) CHAINRULE_INLINE_BODY { values_[v] = load(column.data, v); });
  }

  B times(const Value<B>* row) const {
    B sum(Value<B>(0));
    unrolled<V>([&](auto v) CHAINRULE_INLINE_BODY { sum = fma(load(row, v), values_[v], sum); });
    return sum;
  }

 private:
  B load(const Value<B>* from, auto v) const {
    return v + 1 < V ? B::load_unaligned(from + v * kLanes<B>) : last_.load(from + v * kLanes<B>);
  }

  Last last_{};
  B values_[V];
};

/// c (+)= a times a column.
template <class B, class AnyColumn>
[[gnu::always_inline]] inline void dot_rows(const Value<B>* a, Index a_row, const AnyColumn& column,
                                            Out<B> c, bool accumulate) {
  constexpr int kWidth = static_cast<int>(kLanes<B>);
  Index i = 0;
  for (; i + kWidth <= c.rows; i += kWidth) {
    B sums[kWidth];
    for (int r = 0; r < kWidth; ++r) sums[r] = column.times(a + (i + r) * a_row);
    const B folded = fold_all(sums, Plus{});
    if (c.ld == 1) {
      const B total = accumulate ? B::load_unaligned(c.row(i)) + folded : folded;
      total.store_unaligned(c.row(i));
      continue;
    }
    alignas(64) Value<B> totals[kWidth];
    folded.store_unaligned(totals);
    for (int r = 0; r < kWidth; ++r) {
      Value<B>& to = *c.row(i + r);
      to = accumulate ? to + totals[r] : totals[r];
    }
  }
  for (; i < c.rows; ++i) {
    const Value<B> total = reduce_sum(column.times(a + i * a_row));
    *c.row(i) = accumulate ? *c.row(i) + total : total;
  }
}

/// c of one column: a row's bits depend on the inner dimension alone here as well.
template <class B>
void gemm_dot(const Product<B>& p) {
  const auto& [a, b, c, accumulate, finish, ahead] = p;
  alignas(64) Value<B> copied[kGemmInnerBlock];
  Index k = 0;
  do {
    const Index depth = std::min(b.rows - k, kGemmInnerBlock);
    const Value<B>* column = b.row(k);
    if (b.ld != 1) {
      for (Index l = 0; l < depth; ++l) copied[l] = *b.row(k + l);
      column = copied;
    }
    dot_rows<B>(a.data + k, a.row_stride, Column<B>{column, depth}, c, accumulate || k > 0);
    k += depth;
  } while (k < b.rows);
  GemmEnding<B>(finish).apply(c, 0);
}

template <class B, int V, class Last>
void gemm_dot_short(const Product<B>& p) {
  const ShortColumn<B, V, Last> column({p.b.data, p.inner()});
  dot_rows<B>(p.a.data, p.a.row_stride, column, p.c, p.accumulate);
  GemmEnding<B>(p.finish).apply(p.c, 0);
}

/// gemm_dot_short() by the vectors of the column.
template <class B>
class ShortDots {
 public:
  using Function = void (*)(const Product<B>&);

  static bool fit(const Product<B>& p) {
    return p.b.ld == 1 && p.inner() > 0 && p.inner() <= kMostVectors * kLanes<B>;
  }
  static Function of(Index inner) {
    const Index vectors = (inner + kLanes<B> - 1) / kLanes<B>;
    return kFunctions[static_cast<std::size_t>(vectors - 1)][inner % kLanes<B> != 0 ? 1 : 0];
  }

 private:
  static constexpr int kMostVectors = 8;

  static constexpr auto kFunctions = []<int... V>(std::integer_sequence<int, V...>) {
    return std::array<std::array<Function, 2>, kMostVectors>{
        {{&gemm_dot_short<B, V + 1, Whole<B>>, &gemm_dot_short<B, V + 1, Tail<B>>}...}};
  }
  (std::make_integer_sequence<int, kMostVectors>{});
};

template <class B>
void gemm_tiles(const Product<B>& p) {
  const auto& [a, b, c, accumulate, finish, ahead] = p;
  const Index inner = p.inner();
  const GemmEnding<B> ending(finish);
  for (Index i = 0; i < c.rows; i += kGemmRowBlock) {
    const Index rows = std::min(c.rows - i, kGemmRowBlock);
    Index k = 0;
    do {  // once for inner = 0, which stores zeros or leaves c
      const Index depth = std::min(inner - k, kGemmInnerBlock);
      gemm_block<B>({.a = a.data + i * a.row_stride + k * a.column_stride,
                     .a_row = a.row_stride,
                     .a_column = a.column_stride,
                     .b = b.row(k),
                     .b_ld = b.ld,
                     .c = c.row(i),
                     .c_ld = c.ld,
                     .inner = depth,
                     .last = 0,
                     .load_c = accumulate || k > 0,
                     .ahead = ahead},
                    i, rows, c.columns, k + depth == inner ? &ending : nullptr);
      k += depth;
    } while (k < inner);
  }
}

/// A column of c (and of what descends) whose elements lie one after the other, as the row that it
/// is in memory: c^T = b^T a^T.
template <class B>
Product<B> along_row(const Product<B>& p) {
  Product<B> row{.a = {p.b.data, 1, p.b.ld},
                 .b = {p.a.data, p.inner(), p.c.rows, p.a.column_stride},
                 .c = {p.c.data, 1, p.c.rows, p.c.rows},
                 .accumulate = p.accumulate,
                 .finish = p.finish,
                 .ahead = p.ahead};
  MatrixView<Value<B>>& w = row.finish.descending;
  if (w.data != nullptr) w = {w.data, 1, w.rows, w.rows};
  return row;
}

template <class B>
bool is_column_in_row(const Product<B>& p) {
  const auto& descending = p.finish.descending;
  return p.c.columns == 1 && p.c.ld == 1 && p.a.row_stride == 1 && p.finish.bias == nullptr &&
         p.finish.function == UnaryKernel::kCount &&
         (descending.data == nullptr || descending.ld == 1);
}

template <class B>
PreparedCall prepare_gemm(StridedView<Value<B>> a, In<B> b, Out<B> c, bool accumulate,
                          const GemmFinish<Value<B>>& finish) {
  Product<B> p{a, b, c, accumulate, finish};
  // Of a matrix with one column both strides may be 1: then it makes no difference.
  if (c.columns == 1 && a.column_stride == 1 && a.row_stride != 1) {
    if (ShortDots<B>::fit(p)) return [p, dot = ShortDots<B>::of(p.inner())] { dot(p); };
    return [p] { gemm_dot<B>(p); };
  }
  if (c.columns == 1 && a.row_stride == 1) p.ahead = rows_ahead<B>(p);
  if (is_column_in_row<B>(p)) p = along_row<B>(p);
  const bool narrow = p.a.row_stride == 1 && p.c.rows > 1 && p.c.columns > 0 &&
                      p.c.columns < kLanes<B> && p.c.columns <= kGemmRows;
  if (is_one_column<B>(p.c, p.inner()) && (!narrow || p.c.rows <= kGemmRows)) {
    const GemmEnding<B> ending(p.finish);
    if (!ending.at_once()) return [p] { gemm_one_column<B>(p); };
    const GemmTile<Value<B>> tile = as_one_column<B>(p, ending);
    if (p.c.rows <= kGemmRows) {
      return [kernel = kGemmTiles<B>.at(p.c.rows, p.c.columns), tile] { kernel(tile); };
    }
    return [column = column_of<B>(p.c), tile] {
      GemmTile<Value<B>> moving = tile;
      column.run(moving, [](Index, Index) {});
    };
  }
  if (narrow) return [p] { gemm_transposed<B>(p); };
  return [p] { gemm_tiles<B>(p); };
}

template <class B>
void gemm(StridedView<Value<B>> a, In<B> b, Out<B> c, bool accumulate,
          const GemmFinish<Value<B>>& finish) {
  prepare_gemm<B>(a, b, c, accumulate, finish)();
}

}  // namespace chainrule::simd
