// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>

#include "arithmetic.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "dots.hpp"
#include "gemm_ending.hpp"
#include "gemm_tile.hpp"
#include "loop.hpp"
#include "unary.hpp"

// c (+)= a b without packing. A tile of c lives in registers: up to kGemmRows rows of two vectors,
// half as many rows of four, or few rows of eight. The inner dimension is cut in blocks between
// which the tile rests in c, so each element stays one ascending chain of FMAs whatever the tiles.
// Two forms serve narrow results: a transposed tile, which fills its vectors and changes no bit,
// and dot products (dots.hpp) for one column. What follows a product follows it tile by tile: bias,
// relu and the step of SGD down a gradient in registers, other functions while the tile is in L1.

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

/// c of one column, which is copied where its elements do not lie one after the other.
template <class B>
void gemm_strided_dots(const Product<B>& p) {
  const auto& [a, b, c, accumulate, finish, ahead] = p;
  alignas(64) Value<B> column[kDotInnerBlock<Value<B>>];
  Index k = 0;
  do {
    const Index depth = std::min(b.rows - k, kDotInnerBlock<Value<B>>);
    for (Index l = 0; l < depth; ++l) column[l] = *b.row(k + l);
    dot_rows<B, 1>({a.data + k, c.rows, depth, a.row_stride}, {column, 1, depth, depth}, c,
                   {accumulate || k > 0, nullptr, false});
    k += depth;
  } while (k < b.rows);
  GemmEnding<B>(finish).apply(c, 0);
}

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
PreparedCall prepare_tiles(const Product<B>& p) {
  if (!is_one_column<B>(p.c, p.inner())) return [p] { gemm_tiles<B>(p); };
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

/// Neither a form nor its choice by the number of rows may change a bit: the dots of one column are
/// another order than all else, and are chosen whatever the rows.
template <class B>
GemmForm form_of(const Product<B>& p) {
  // Of a matrix with one column both strides may be 1: then it makes no difference.
  const bool by_rows = p.a.column_stride == 1 && p.a.row_stride != 1;
  if (p.c.columns == 1 && by_rows) return p.b.ld == 1 ? GemmForm::kDots : GemmForm::kStridedDots;
  if (is_column_in_row<B>(p)) return GemmForm::kColumnAsRow;
  if (is_one_column<B>(p.c, p.inner()) && p.c.rows <= kGemmRows) return GemmForm::kOneTile;
  // Less than three quarters of the lanes would work, and as rows the columns fit into one tile.
  const Index lanes = (p.c.columns + kLanes<B> - 1) / kLanes<B> * kLanes<B>;
  const bool narrow = p.c.columns > 0 && p.c.columns <= kGemmRows && p.c.rows > 1 &&
                      (p.c.columns < kLanes<B> || 4 * p.c.columns < 3 * lanes);
  return narrow && p.a.row_stride == 1 ? GemmForm::kTransposedTiles : GemmForm::kTiles;
}

template <class B>
GemmForm gemm_form(StridedView<Value<B>> a, In<B> b, Out<B> c, const GemmFinish<Value<B>>& finish) {
  return form_of<B>({a, b, c, false, finish});
}

template <class B>
PreparedCall prepare_gemm(StridedView<Value<B>> a, In<B> b, Out<B> c, bool accumulate,
                          const GemmFinish<Value<B>>& finish) {
  Product<B> p{a, b, c, accumulate, finish};
  if (c.columns == 1 && a.row_stride == 1) p.ahead = rows_ahead<B>(p);
  switch (form_of<B>(p)) {
    case GemmForm::kDots:
      return prepare_dots<B>({a.data, c.rows, b.rows, a.row_stride}, {b.data, 1, b.rows, b.rows}, c,
                             accumulate, finish);
    case GemmForm::kStridedDots:
      return [p] { gemm_strided_dots<B>(p); };
    case GemmForm::kColumnAsRow:
      return prepare_tiles<B>(along_row<B>(p));
    case GemmForm::kTransposedTiles:
      return [p] { gemm_transposed<B>(p); };
    default:
      return prepare_tiles<B>(p);
  }
}

template <class B>
void gemm(StridedView<Value<B>> a, In<B> b, Out<B> c, bool accumulate,
          const GemmFinish<Value<B>>& finish) {
  prepare_gemm<B>(a, b, c, accumulate, finish)();
}

}  // namespace chainrule::simd
