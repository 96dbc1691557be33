// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <type_traits>
#include <utility>

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "unary.hpp"
#include "updates.hpp"

// The microkernel of gemm.hpp: a tile of c in registers, of one of three shapes.

namespace chainrule::simd {

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
  T* descending = nullptr;  ///< is stored to, rather than c
  Index descending_ld = 0;
  const double* sgd = nullptr;
  Index ahead = 0;  ///< columns from b's element to one that the next tiles read, or 0

  void move_down(Index rows) noexcept {
    a += rows * a_row;
    c += rows * c_ld;
    if (relu_output != nullptr) relu_output += rows * relu_output_ld;
    if (descending != nullptr) descending += rows * descending_ld;
  }
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
  if (tile.descending != nullptr) {
    unrolled<R>([&](auto r) CHAINRULE_INLINE_BODY {
      unrolled<V>([&](auto v) CHAINRULE_INLINE_BODY {
        __builtin_prefetch(tile.descending + r * tile.descending_ld + v * kWidth, 1);
      });
    });
  }
  for (Index k = 0; k < tile.inner; ++k) {
    // Of rows of x (rows_ahead()) the hardware fetches the rest, faster than by a request a line.
    // A lambda that only fetches must be inlined at once: compilers drop calls without effects.
    constexpr int kEvery = R == 1 ? 2 : 1;
    if (R > 1 || tile.ahead != 0) {
      unrolled<V>([&](auto v) CHAINRULE_INLINE_BODY {
        if constexpr (v % kEvery == 0) __builtin_prefetch(b + tile.ahead + v * kWidth, 0, 2);
      });
    }
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

  T* result = tile.c;
  Index result_ld = tile.c_ld;
  if (tile.descending != nullptr) {
    result = tile.descending;
    result_ld = tile.descending_ld;
    const Descent<B> descent(tile.sgd);
    unrolled<R>([&](auto r) {
      const T* const p = result + r * result_ld;
      unrolled<V>([&](auto v) { sum[r][v] = descent(load_vector(p, v), sum[r][v]); });
    });
  }
  unrolled<R>([&](auto r) {
    T* const row = result + r * result_ld;
    unrolled<V - 1>([&](auto v) { sum[r][v].store_unaligned(row + v * kWidth); });
    last.store(row + (V - 1) * kWidth, sum[r][V - 1]);
  });
}

template <class B>
struct GemmTiles {
  using Function = void (*)(const GemmTile<Value<B>>&);
  static constexpr int kTallRows = kGemmRows;      ///< at two vectors
  static constexpr int kFlatRows = kGemmRows / 2;  ///< at four
  static constexpr int kThinRows = kGemmRows / 4;  ///< at eight, which streams b's rows

  /// How many vectors a tile of so many rows may have.
  static constexpr Index most_vectors(Index rows) noexcept {
    return rows <= kThinRows ? 8 : rows <= kFlatRows ? 4 : 2;
  }
  static constexpr Index most_rows(Index vectors) noexcept {
    return vectors > 4 ? kThinRows : vectors > 2 ? kFlatRows : kTallRows;
  }

  /// The kernel of a tile; its `last` says whether the last vector is a partial one.
  Function at(Index rows, Index columns) const noexcept {
    const Index vectors = (columns + kLanes<B> - 1) / kLanes<B>;
    return of[static_cast<std::size_t>(rows - 1)][static_cast<std::size_t>(vectors - 1)]
             [columns % kLanes<B> != 0 ? 1 : 0];
  }

  static constexpr GemmTiles make() {
    GemmTiles tiles;
    [&]<int... R>(std::integer_sequence<int, R...>) { (tiles.template set_rows<R + 1>(), ...); }
    (std::make_integer_sequence<int, kTallRows>{});
    return tiles;
  }

 private:
  /// [rows - 1][vectors - 1][whether the last vector is partial]
  std::array<std::array<std::array<Function, 2>, 8>, kTallRows> of{};

  template <int R>
  constexpr void set_rows() {
    set<R, 1>();
    set<R, 2>();
    if constexpr (R <= kFlatRows) {
      set<R, 3>();
      set<R, 4>();
    }
    if constexpr (R <= kThinRows) {
      set<R, 5>();
      set<R, 6>();
      set<R, 7>();
      set<R, 8>();
    }
  }
  template <int R, int V>
  constexpr void set() {
    using Last = std::conditional_t<V == 1, Tail<B>, Part<B>>;
    of[R - 1][V - 1] = {&gemm_tile<B, R, V, Whole<B>>, &gemm_tile<B, R, V, Last>};
  }
};

template <class B>
inline constexpr GemmTiles<B> kGemmTiles = GemmTiles<B>::make();

/// How a column of tiles is cut: heights differ by one row at most, for a small tile at the end
/// would wait for its own sums.
struct GemmCut {
  Index rows;
  Index height;
  Index low_rows;  ///< of the tiles of that height; the others, below them, are one row higher

  GemmCut(Index rows_, Index most_rows) : rows(rows_) {
    const Index tiles = (rows + most_rows - 1) / most_rows;
    height = rows / tiles;
    low_rows = height * (tiles - rows % tiles);
  }
};

/// The kernels of a column of tiles.
template <class B>
class GemmColumn {
  using Function = typename GemmTiles<B>::Function;

 public:
  GemmColumn(const GemmCut& cut, Index columns)
      : cut_(cut),
        low_(kGemmTiles<B>.at(cut.height, columns)),
        high_(cut.low_rows < cut.rows ? kGemmTiles<B>.at(cut.height + 1, columns) : low_) {}

  /// Moves `tile`, the first one, down the column; calls then(first row, height) after each tile.
  /// The last one alone fetches ahead.
  template <class Then>
  void run(GemmTile<Value<B>>& tile, Then then) const {
    const Index ahead = std::exchange(tile.ahead, 0);
    for (Index i = 0; i < cut_.rows;) {
      const bool low = i < cut_.low_rows;
      const Index height = low ? cut_.height : cut_.height + 1;
      if (i + height == cut_.rows) tile.ahead = ahead;
      (low ? low_ : high_)(tile);
      then(i, height);
      tile.move_down(height);
      i += height;
    }
  }

 private:
  GemmCut cut_;
  Function low_;
  Function high_;
};

}  // namespace chainrule::simd
