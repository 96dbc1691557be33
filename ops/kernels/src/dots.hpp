// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

#include "chainrule/kernels/kernel_table.hpp"
#include "gemm_ending.hpp"
#include "loop.hpp"

// Products of few columns as dot products: c (+)= a b^T with both stored by rows, so that vectors
// run along the inner dimension and all their lanes work. An element is as many chains as a vector
// has lanes, folded in a tree; an inner dimension beyond one block is added up block by block.

namespace chainrule::simd {

/// Where a vector is short a tile of several wastes little of it.
template <class B>
inline constexpr int kMostDotColumns = kLanes<B> >= 8 ? 12 : 3;
/// Of all rows of b that much stays in L1.
template <class T>
inline constexpr Index kDotInnerBlock = 2048 / static_cast<Index>(sizeof(T));

/// c (+)= a b^T, then `finish`.
template <class B>
struct DotProduct {
  In<B> a;
  In<B> b;
  Out<B> c;
  bool accumulate;
  GemmFinish<Value<B>> finish;
};

/// Rows of a that share b's vectors, and rows whose sums are folded at once.
template <class B, int N>
struct DotShape {
  static constexpr int kWidth = static_cast<int>(kLanes<B>);
  // One column reads a as a stream, row after row: of several the hardware fetches less ahead.
  static constexpr int kTogether = N == 1                          ? 1
                                   : N * 4 + 4 <= kVectorRegisters ? 4
                                   : N * 2 + 3 <= kVectorRegisters ? 2
                                                                   : 1;
  static constexpr int kRows = kTogether * std::max(1, kWidth / (N * kTogether));
};

/// One vector of R rows of a and of N rows of b.
template <int R, int N, class B, class Lanes>
[[gnu::always_inline]] inline void dot_step(const Value<B>* a, Index a_row, const Value<B>* b,
                                            Index b_row, Lanes lanes, B (&sum)[R * N]) {
  B x[R];
  unrolled<R>([&](auto r) CHAINRULE_INLINE_BODY { x[r] = lanes.load(a + r * a_row); });
  unrolled<N>([&](auto j) CHAINRULE_INLINE_BODY {
    const B y = lanes.load(b + j * b_row);
    unrolled<R>([&](auto r)
                    CHAINRULE_INLINE_BODY { sum[r * N + j] = fma(x[r], y, sum[r * N + j]); });
  });
}

/// R rows of a against N of b: sums[r * N + j], a part a lane.
template <class B, int R, int N>
[[gnu::always_inline]] inline void dot_sums(const Value<B>* a, Index a_row, const Value<B>* b,
                                            Index b_row, Index inner, B* sums) {
  B sum[R * N];
  unrolled<R * N>([&](auto i) CHAINRULE_INLINE_BODY { sum[i] = B(Value<B>(0)); });
  const Index whole = inner - inner % kLanes<B>;
  for (Index k = 0; k < whole; k += kLanes<B>) {
    dot_step<R, N, B>(a + k, a_row, b + k, b_row, Whole<B>{}, sum);
  }
  using Last = std::conditional_t<N == 1, Tail<B>, Part<B>>;
  if (whole < inner) {
    dot_step<R, N, B>(a + whole, a_row, b + whole, b_row, Last{inner - whole}, sum);
  }
  unrolled<R * N>([&](auto i) CHAINRULE_INLINE_BODY { sums[i] = sum[i]; });
}

/// What becomes of the sums of one inner block.
template <class B>
struct DotEnd {
  bool accumulate;
  const Value<B>* bias;  ///< may be null
  bool relu;
};

/// Where the elements of some rows go once they are sums.
template <class B, int N>
class DotTarget {
  using T = Value<B>;
  static constexpr int kWidth = static_cast<int>(kLanes<B>);
  static constexpr int kVectors = (DotShape<B, N>::kRows * N + kWidth - 1) / kWidth;

 public:
  DotTarget(Out<B> c, const DotEnd<B>& end)
      : ld_(c.ld), accumulate_(end.accumulate), has_bias_(end.bias != nullptr), is_relu_(end.relu) {
    if (!has_bias_) return;
    if constexpr (N == 1) {  // a vector of it can be loaded at once
      for (int v = 0; v < kVectors; ++v) B(*end.bias).store_unaligned(bias_ + v * kWidth);
      return;
    }
    const Index rows = std::min<Index>(c.rows, DotShape<B, N>::kRows);
    for (Index r = 0; r < rows; ++r) std::memcpy(bias_ + r * N, end.bias, N * sizeof(T));
  }

  /// To `kRows` rows of c, of which sum[r * N + j] are the parts.
  template <int kRows>
  [[gnu::noinline]] void store(T* c, B* sum) const {  // many small functions share it
    constexpr int kSums = kRows * N;
    alignas(64) T values[kVectors * kWidth];
    if (accumulate_) {
      const T* from = c;
      unrolled<kRows>([&](auto r) {
        std::memcpy(values + r * N, from, N * sizeof(T));
        from += ld_;
      });
    }
    const Relu<B> relu(nullptr);
    unrolled<(kSums + kWidth - 1) / kWidth>([&](auto v) {
      constexpr int kCount = std::min(kSums - v * kWidth, kWidth);
      B total = sum_all<kCount>(sum + v * kWidth);
      if (accumulate_) total = load_sums<kCount>(values + v * kWidth) + total;
      if (has_bias_) total = total + load_sums<kCount>(bias_ + v * kWidth);
      if (is_relu_) total = relu(total);
      total.store_unaligned(values + v * kWidth);
    });
    unrolled<kRows>([&](auto r) {
      std::memcpy(c, values + r * N, N * sizeof(T));
      c += ld_;
    });
  }

  /// To one element of c's only column.
  [[gnu::always_inline]] void store_one(T* c, B sum) const {
    static_assert(N == 1);
    B total = sum_all<1>(&sum);
    if (accumulate_) total = B(*c) + total;
    if (has_bias_) total = total + B(*bias_);
    if (is_relu_) total = Relu<B>(nullptr)(total);
    alignas(64) T values[kWidth];
    total.store_unaligned(values);
    *c = *values;
  }

 private:
  template <int kCount>
  static B load_sums(const T* from) {
    if constexpr (kCount == 1) return B(*from);  // the rest of its lanes is nobody's
    return kCount < kWidth ? load_first(from, kCount) : B::load_unaligned(from);
  }

  Index ld_;
  bool accumulate_;
  bool has_bias_;
  bool is_relu_;
  alignas(64) T bias_[kVectors * kWidth];  ///< once a row
};

/// The rows of one inner block of c (+)= a b^T.
template <class B>
using DotRows = void (*)(In<B> a, In<B> b, Out<B> c, const DotEnd<B>& end);

/// Of N columns. Where rows come from memory the instructions between two lines decide how many of
/// them are on their way: views are not read in the loop.
template <class B, int N>
void dot_rows(In<B> a, In<B> b, Out<B> c, const DotEnd<B>& end) {
  constexpr int kRows = DotShape<B, N>::kRows;
  constexpr int kTogether = DotShape<B, N>::kTogether;
  const DotTarget<B, N> target(c, end);
  const Value<B>* from = a.data;
  Value<B>* to = c.data;
  const auto rows = [&](auto count, auto together) CHAINRULE_INLINE_BODY {
    B sum[count * N];
    for (int r = 0; r < count; r += together) {
      dot_sums<B, together, N>(from, a.ld, b.data, b.ld, b.columns, sum + r * N);
      from += together * a.ld;
    }
    target.template store<count>(to, sum);
    to += count * c.ld;
  };
  using One = std::integral_constant<int, 1>;
  Index i = 0;
  for (; i + kRows <= c.rows; i += kRows) {
    rows(std::integral_constant<int, kRows>{}, std::integral_constant<int, kTogether>{});
  }
  for (; i < c.rows; ++i) rows(One{}, One{});
}

/// The one row of b, of V vectors, in registers: half the loads of a row of a, and the same bits.
/// Last is the access to the last vector.
template <class B, int V, class Last>
class ShortRow {
 public:
  ShortRow(const Value<B>* data, Index count) {
    if constexpr (!std::is_empty_v<Last>) last_.count = count - (V - 1) * kLanes<B>;
    unrolled<V>([&](auto v) CHAINRULE_INLINE_BODY { values_[v] = load(data, v); });
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

/// dot_rows<B, 1> of a short inner dimension.
template <class B, int V, class Last>
void short_dot_rows(In<B> a, In<B> b, Out<B> c, const DotEnd<B>& end) {
  constexpr int kRows = DotShape<B, 1>::kRows;
  const ShortRow<B, V, Last> row(b.data, b.columns);
  const DotTarget<B, 1> target(c, end);
  const Value<B>* from = a.data;
  Value<B>* to = c.data;
  B sum[kRows];
  Index i = 0;
  for (; i + kRows <= c.rows; i += kRows, to += kRows * c.ld) {
#pragma GCC unroll 1  // small functions, and faster ones where rows come from memory
    for (int r = 0; r < kRows; ++r, from += a.ld) sum[r] = row.times(from);
    target.template store<kRows>(to, sum);
  }
#pragma GCC unroll 1
  for (; i < c.rows; ++i, from += a.ld, to += c.ld) target.store_one(to, row.times(from));
}

inline constexpr int kMostShortVectors = 8;

/// By the vectors of the inner dimension, from one, and whether the last one is part of one.
template <class B>
inline constexpr auto kShortDotRows = []<int... V>(std::integer_sequence<int, V...>) {
  return std::array{
      std::array{&short_dot_rows<B, V + 1, Whole<B>>, &short_dot_rows<B, V + 1, Tail<B>>}...};
}
(std::make_integer_sequence<int, kMostShortVectors>{});

/// By the columns, from one.
template <class B>
inline constexpr auto kDotRows = []<int... N>(std::integer_sequence<int, N...>) {
  return std::array{&dot_rows<B, N + 1>...};
}
(std::make_integer_sequence<int, kMostDotColumns<B>>{});

template <class B>
DotRows<B> dot_rows_for(Index columns, Index inner) {
  const Index vectors = (inner + kLanes<B> - 1) / kLanes<B>;
  if (columns > 1 || vectors < 1 || vectors > kMostShortVectors) {
    return kDotRows<B>[static_cast<std::size_t>(columns - 1)];
  }
  return kShortDotRows<B>[static_cast<std::size_t>(vectors - 1)][inner % kLanes<B> != 0 ? 1 : 0];
}

template <class B>
void gemm_dots(const DotProduct<B>& p, DotRows<B> rows) {
  const auto& [a, b, c, accumulate, finish] = p;
  const GemmEnding<B> ending(finish);
  Index k = 0;
  do {  // once for inner = 0
    const Index depth = std::min(b.columns - k, kDotInnerBlock<Value<B>>);
    const bool ends = k + depth == b.columns && ending.on_sums();
    rows({a.data + k, c.rows, depth, a.ld}, {b.data + k, c.columns, depth, b.ld}, c,
         {accumulate || k > 0, ends ? finish.bias : nullptr, ends && ending.is_relu()});
    k += depth;
  } while (k < b.columns);
  if (ending.on_sums()) {
    ending.complete(c, 0, 0);
  } else {
    ending.apply(c, 0);
  }
}

/// Tiles take an FMA a term and a vector of columns; dots an FMA and a sixteenth a vector of terms
/// and a column, and then the fold, the dearer the more lanes. Products of few terms are not worth
/// a mirror. HACKING.md has what was measured.
template <class B>
bool prefers_dots(Index columns, Index inner) {
  constexpr Index kFold = kLanes<B> * (kLanes<B> + 15) / 8;
  constexpr Index kLeastInner = 32;
  const Index vectors = (columns + kLanes<B> - 1) / kLanes<B>;
  return columns > 1 && columns <= kMostDotColumns<B> && inner >= kLeastInner &&
         columns * (17 * inner + 16 * kFold) < 16 * inner * vectors * kLanes<B>;
}

/// c (+)= a b^T of 1 to kMostDotColumns columns.
template <class B>
PreparedCall prepare_dots(In<B> a, In<B> b, Out<B> c, bool accumulate,
                          const GemmFinish<Value<B>>& finish) {
  const DotProduct<B> p{a, b, c, accumulate, finish};
  return [p, rows = dot_rows_for<B>(c.columns, b.columns)] { gemm_dots<B>(p, rows); };
}

}  // namespace chainrule::simd
