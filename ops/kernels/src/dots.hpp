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

inline constexpr int kMostDotColumns = 12;
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

/// Where the elements of some rows go once they are sums.
template <class B, int N>
class DotTarget {
  using T = Value<B>;
  static constexpr int kWidth = static_cast<int>(kLanes<B>);
  static constexpr int kVectors = (DotShape<B, N>::kRows * N + kWidth - 1) / kWidth;

 public:
  DotTarget(Out<B> c, bool accumulate, const T* bias, bool relu)
      : ld_(c.ld), accumulate_(accumulate), has_bias_(bias != nullptr), is_relu_(relu) {
    if (!has_bias_) return;
    const Index rows = std::min<Index>(c.rows, DotShape<B, N>::kRows);
    for (Index r = 0; r < rows; ++r) std::memcpy(bias_ + r * N, bias, N * sizeof(T));
  }

  /// To `kRows` rows of c, of which sum[r * N + j] are the parts.
  template <int kRows>
  void store(T* c, B* sum) const {
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

 private:
  template <int kCount>
  static B load_sums(const T* from) {
    return kCount < kWidth ? load_first(from, kCount) : B::load_unaligned(from);
  }

  Index ld_;
  bool accumulate_;
  bool has_bias_;
  bool is_relu_;
  alignas(64) T bias_[kVectors * kWidth];  ///< once a row
};

/// Rows of one inner block of c, which has N columns. Where rows come from memory the instructions
/// between two lines decide how many of them are on their way: views are not read in the loop.
template <class B, int N>
void dot_rows(In<B> a, In<B> b, Out<B> c, const DotTarget<B, N>& target) {
  constexpr int kRows = DotShape<B, N>::kRows;
  constexpr int kTogether = DotShape<B, N>::kTogether;
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

/// c.columns == N.
template <class B, int N>
void gemm_dots(const DotProduct<B>& p) {
  const auto& [a, b, c, accumulate, finish] = p;
  const GemmEnding<B> ending(finish);
  Index k = 0;
  do {  // once for inner = 0
    const Index depth = std::min(b.columns - k, kDotInnerBlock<Value<B>>);
    const bool ends = k + depth == b.columns && ending.on_sums();
    dot_rows<B, N>(
        {a.data + k, c.rows, depth, a.ld}, {b.data + k, N, depth, b.ld}, c,
        {c, accumulate || k > 0, ends ? finish.bias : nullptr, ends && ending.is_relu()});
    k += depth;
  } while (k < b.columns);
  if (ending.on_sums()) {
    ending.complete(c, 0, 0);
  } else {
    ending.apply(c, 0);
  }
}

template <class B>
inline constexpr auto kGemmDots = []<int... N>(std::integer_sequence<int, N...>) {
  return std::array{&gemm_dots<B, N + 1>...};
}
(std::make_integer_sequence<int, kMostDotColumns>{});

/// Tiles take an FMA a term and a vector of columns; dots an FMA and a sixteenth a vector of terms
/// and a column, and then the fold, the dearer the more lanes. Products of few terms are not worth
/// a mirror. HACKING.md has what was measured.
template <class B>
bool prefers_dots(Index columns, Index inner) {
  constexpr Index kFold = kLanes<B> * (kLanes<B> + 15) / 8;
  constexpr Index kLeastInner = 32;
  const Index vectors = (columns + kLanes<B> - 1) / kLanes<B>;
  return columns > 1 && columns <= kMostDotColumns && inner >= kLeastInner &&
         columns * (17 * inner + 16 * kFold) < 16 * inner * vectors * kLanes<B>;
}

/// c (+)= a b^T of 1 to kMostDotColumns columns.
template <class B>
PreparedCall prepare_dots(In<B> a, In<B> b, Out<B> c, bool accumulate,
                          const GemmFinish<Value<B>>& finish) {
  const DotProduct<B> p{a, b, c, accumulate, finish};
  if (c.columns == 1) return [p] { gemm_dots<B, 1>(p); };
  const auto dots = kGemmDots<B>[static_cast<std::size_t>(c.columns - 1)];
  return [p, dots] { dots(p); };
}

}  // namespace chainrule::simd
