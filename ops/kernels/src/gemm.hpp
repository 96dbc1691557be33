// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "unary.hpp"

// c (+)= a b without packing. A tile of c lives in registers: up to kGemmRows rows of two vectors,
// or half as many rows of four. The inner dimension is cut in blocks between which the tile rests
// in c, so each element stays one ascending chain of FMAs whatever the tiles. What follows a
// product follows it tile by tile: bias and relu in registers, other functions while the tile is in
// L1.

namespace chainrule::simd {

inline constexpr Index kGemmInnerBlock = 512;
inline constexpr Index kGemmRowBlock = 256;  ///< rows of a that stay in L2 while b streams by

/// One tile: pointers to its first elements.
template <class T>
struct GemmTile {
  const T* a;
  Index a_row;
  Index a_column;
  const T* b;
  Index b_ld;
  T* c;
  Index c_ld;
  Index inner;
  Index last;   ///< columns of the last vector where it is a partial one
  bool load_c;  ///< start from c rather than zero
  // What is done before the store, as GemmFinish says; its pointers moved to this tile.
  const T* bias = nullptr;
  bool relu = false;
  const T* relu_output = nullptr;  ///< of the relu whose derivative is multiplied
  Index relu_output_ld = 0;
};

/// R rows x V vectors; Last is the access to the last vector.
template <class B, int R, int V, class Last>
void gemm_tile(const GemmTile<Value<B>>& tile) {
  using T = Value<B>;
  constexpr Index kWidth = kLanes<B>;
  Last last{};
  if constexpr (!std::is_empty_v<Last>) last.count = tile.last;
  const auto load_vector = [last](const T* from, auto v) {
    return v + 1 < V ? B::load_unaligned(from + v * kWidth) : last.load(from + v * kWidth);
  };

  B sum[R][V];
  unrolled<R>([&](auto r) {
    unrolled<V>([&](auto v) {
      sum[r][v] = tile.load_c ? load_vector(tile.c + r * tile.c_ld, v) : B(T(0));
    });
  });

  // Three rows share a pointer, so that the addresses fit the general registers.
  constexpr int kGroups = (R + 2) / 3;
  const Index row = tile.a_row;
  const T* a[kGroups];
  unrolled<kGroups>([&](auto g) { a[g] = tile.a + 3 * g * row; });
  const T* b = tile.b;
  for (Index k = 0; k < tile.inner; ++k) {
    B b_row[V];
    unrolled<V>([&](auto v) { b_row[v] = load_vector(b, v); });
    unrolled<R>([&](auto r) {
      const B a_element(a[r / 3][(r % 3) * row]);
      unrolled<V>([&](auto v) { sum[r][v] = fma(a_element, b_row[v], sum[r][v]); });
    });
    unrolled<kGroups>([&](auto g) { a[g] += tile.a_column; });
    b += tile.b_ld;
  }

  if (tile.bias != nullptr) {
    unrolled<V>([&](auto v) {
      const B bias = load_vector(tile.bias, v);
      unrolled<R>([&](auto r) { sum[r][v] = sum[r][v] + bias; });
    });
  }
  const Relu<B> relu(nullptr);
  if (tile.relu) {
    unrolled<R>([&](auto r) { unrolled<V>([&](auto v) { sum[r][v] = relu(sum[r][v]); }); });
  }
  if (tile.relu_output != nullptr) {
    unrolled<R>([&](auto r) {
      const T* const y = tile.relu_output + r * tile.relu_output_ld;
      unrolled<V>([&](auto v) { sum[r][v] = relu.gradient(load_vector(y, v), sum[r][v]); });
    });
  }

  unrolled<R>([&](auto r) {
    T* const c = tile.c + r * tile.c_ld;
    unrolled<V - 1>([&](auto v) { sum[r][v].store_unaligned(c + v * kWidth); });
    last.store(c + (V - 1) * kWidth, sum[r][V - 1]);
  });
}

template <class B>
struct GemmTiles {
  using Function = void (*)(const GemmTile<Value<B>>&);
  static constexpr int kTallRows = kGemmRows;      ///< at two vectors
  static constexpr int kFlatRows = kGemmRows / 2;  ///< at four

  /// [rows - 1][vectors - 1][whether the last vector is partial]
  std::array<std::array<std::array<Function, 2>, 4>, kTallRows> of{};

  static constexpr GemmTiles make() {
    GemmTiles tiles;
    [&]<int... R>(std::integer_sequence<int, R...>) { (tiles.template set_rows<R + 1>(), ...); }
    (std::make_integer_sequence<int, kTallRows>{});
    return tiles;
  }

 private:
  template <int R>
  constexpr void set_rows() {
    set<R, 1>();
    set<R, 2>();
    if constexpr (R <= kFlatRows) {
      set<R, 3>();
      set<R, 4>();
    }
  }
  template <int R, int V>
  constexpr void set() {
    of[R - 1][V - 1] = {&gemm_tile<B, R, V, Whole<B>>, &gemm_tile<B, R, V, Part<B>>};
  }
};

template <class B>
inline constexpr GemmTiles<B> kGemmTiles = GemmTiles<B>::make();

/// The finish of one call, moved from tile to tile.
template <class B>
class GemmEnding {
  using T = Value<B>;

 public:
  explicit GemmEnding(const GemmFinish<T>& finish)
      : finish_(finish),
        gradient_(finish.source.data != nullptr),
        relu_(finish.function == UnaryKernel::kRelu) {}

  /// What the tile at (i, j) does itself.
  void prepare(GemmTile<T>& tile, Index i, Index j) const {
    if (finish_.bias != nullptr) tile.bias = finish_.bias + j;
    tile.relu = relu_ && !gradient_;
    if (relu_ && gradient_) {
      tile.relu_output = finish_.source.row(i) + j;
      tile.relu_output_ld = finish_.source.ld;
    }
  }

  /// What is left to do to a stored tile.
  void complete(Out<B> tile, Index i, Index j) const {
    if (relu_ || finish_.function == UnaryKernel::kCount) return;
    const auto f = static_cast<std::size_t>(finish_.function);
    if (gradient_) {
      const In<B> source{finish_.source.row(i) + j, tile.rows, tile.columns, finish_.source.ld};
      kFunctions.unary_backward[f](source, tile, tile, finish_.parameters, false);
    } else {
      kFunctions.unary[f](tile, tile, finish_.parameters);
    }
  }

 private:
  static constexpr Kernels<T> kFunctions = [] {
    Kernels<T> kernels{};
    set_all_unary<B>(kernels);
    return kernels;
  }();

  GemmFinish<T> finish_;
  bool gradient_;
  bool relu_;
};

/// c's rows [first_row, first_row + rows) against the inner block that `tile` describes; `ending`
/// is null where other inner blocks follow.
template <class B>
void gemm_block(GemmTile<Value<B>> tile, Index first_row, Index rows, Index columns,
                const GemmEnding<B>* ending) {
  using Tiles = GemmTiles<B>;
  const bool flat = rows <= Tiles::kFlatRows;
  const Index most_vectors = flat ? 4 : 2;
  const Index most_rows = flat ? Tiles::kFlatRows : Tiles::kTallRows;
  const Index row_tiles = (rows + most_rows - 1) / most_rows;
  const auto* const a = tile.a;
  auto* const c = tile.c;
  for (Index j = 0; j < columns; j += most_vectors * kLanes<B>) {
    const Index rest = std::min(columns - j, most_vectors * kLanes<B>);
    const Index vectors = (rest + kLanes<B> - 1) / kLanes<B>;
    tile.last = rest % kLanes<B>;
    Index i = 0;
    for (Index t = 0; t < row_tiles; ++t) {
      // Even heights: no small, latency-bound tile at the end.
      const Index height = (rows - i) / (row_tiles - t);
      tile.a = a + i * tile.a_row;
      tile.c = c + i * tile.c_ld + j;
      if (ending != nullptr) ending->prepare(tile, first_row + i, j);
      kGemmTiles<B>.of[static_cast<std::size_t>(height - 1)][static_cast<std::size_t>(vectors - 1)]
                      [tile.last != 0 ? 1 : 0](tile);
      if (ending != nullptr) {
        ending->complete({tile.c, height, rest, tile.c_ld}, first_row + i, j);
      }
      i += height;
    }
    if (tile.inner > 0) tile.b += rest;  // b may be null
  }
}

template <class B>
void gemm(StridedView<Value<B>> a, In<B> b, Out<B> c, bool accumulate,
          const GemmFinish<Value<B>>& finish) {
  const Index inner = b.rows;
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
                     .load_c = accumulate || k > 0},
                    i, rows, c.columns, k + depth == inner ? &ending : nullptr);
      k += depth;
    } while (k < inner);
  }
}

}  // namespace chainrule::simd
