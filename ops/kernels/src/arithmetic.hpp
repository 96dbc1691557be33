// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <bit>
#include <tuple>

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"

// Sums, products, broadcasts and the transpose.

namespace chainrule::simd {

template <class B>
void add(In<B> a, In<B> b, Out<B> y) {
  map<B>(
      y, [](B u, B v) { return u + v; }, a, b);
}

template <class B>
void sub(In<B> a, In<B> b, Out<B> y) {
  map<B>(
      y, [](B u, B v) { return u - v; }, a, b);
}

template <class B>
void mul(In<B> a, In<B> b, Out<B> y) {
  map<B>(
      y, [](B u, B v) { return u * v; }, a, b);
}

template <class B>
void mul_into(In<B> a, In<B> b, Out<B> y, bool accumulate) {
  map_into<B>(
      accumulate, y, [](B u, B v) { return u * v; }, a, b);
}

template <class B>
void scale_into(Value<B> alpha, In<B> x, Out<B> y, bool accumulate) {
  map_into<B>(
      accumulate, y, [factor = B(alpha)](B v) { return factor * v; }, x);
}

template <class B>
void add_bias(In<B> x, const Value<B>* bias, Out<B> y) {
  if (x.columns == 1) {
    Index i = 0;
    if (x.ld == 1 && y.ld == 1) {
      for (const B b(*bias); i + kLanes<B> <= x.rows; i += kLanes<B>) {
        (B::load_unaligned(x.row(i)) + b).store_unaligned(y.row(i));
      }
    }
    for (; i < x.rows; ++i) *y.row(i) = *x.row(i) + *bias;
    return;
  }
  for (Index i = 0; i < x.rows; ++i) {
    for_each_vector<B>(x.columns, [&](Index j, auto lanes) CHAINRULE_INLINE_BODY {
      lanes.store(y.row(i) + j, lanes.load(x.row(i) + j) + lanes.load(bias + j));
    });
  }
}

/// A single column of fewer rows is summed row by row, which takes no longer then.
inline constexpr Index kShortColumn = 16;

/// add(vector) for the rows of a single column, a vector at a time, with 0 where there is none.
template <class B, class Add>
[[gnu::always_inline]] inline void for_each_vector_of_column(In<B> x, Add add) {
  if (x.ld == 1) {
    for_each_vector<B>(
        x.rows, [&](Index i, auto lanes) CHAINRULE_INLINE_BODY { add(lanes.load(x.row(i))); });
    return;
  }
  for (Index i = 0; i < x.rows; i += kLanes<B>) {
    Value<B> values[kLanes<B>] = {};
    for (Index l = 0; l < std::min(kLanes<B>, x.rows - i); ++l) values[l] = *x.row(i + l);
    add(B::load_unaligned(values));
  }
}

template <class B>
void column_sum(In<B> x, Value<B>* out, bool accumulate) {
  if (x.columns == 1) {
    Value<B> sum = accumulate ? *out : Value<B>(0);
    if (x.rows < kShortColumn) {
      for (Index i = 0; i < x.rows; ++i) sum += *x.row(i);
    } else {
      B lanes(Value<B>(0));
      for_each_vector_of_column<B>(x, [&](B rows) { lanes = lanes + rows; });
      sum += reduce_sum(lanes);
    }
    *out = sum;
    return;
  }
  constexpr int kUnroll = 4;  // independent chains hide the latency of the addition
  const B zero(Value<B>(0));
  Index j = 0;
  for (; j + kUnroll * kLanes<B> <= x.columns; j += kUnroll * kLanes<B>) {
    B sum[kUnroll];
    unrolled<kUnroll>(
        [&](auto u) { sum[u] = accumulate ? B::load_unaligned(out + j + u * kLanes<B>) : zero; });
    for (Index i = 0; i < x.rows; ++i) {
      const Value<B>* const row = x.row(i) + j;
      unrolled<kUnroll>([&](auto u) { sum[u] = sum[u] + B::load_unaligned(row + u * kLanes<B>); });
    }
    unrolled<kUnroll>([&](auto u) { sum[u].store_unaligned(out + j + u * kLanes<B>); });
  }
  for_each_vector<B>(x.columns - j, [&](Index offset, auto lanes) CHAINRULE_INLINE_BODY {
    const Index column = j + offset;
    B sum = accumulate ? lanes.load(out + column) : zero;
    for (Index i = 0; i < x.rows; ++i) sum = sum + lanes.load(x.row(i) + column);
    lanes.store(out + column, sum);
  });
}

template <class B>
void column_sum_double(In<B> x, double* out) {
  if (x.columns == 1) {
    if (x.rows < kShortColumn) {
      for (Index i = 0; i < x.rows; ++i) *out += static_cast<double>(*x.row(i));
    } else {
      WideSum<B> lanes;
      for_each_vector_of_column<B>(x, [&](B rows) { lanes.add(rows); });
      *out += lanes.total();
    }
    return;
  }
  for_each_vector<B>(x.columns, [&](Index j, auto lanes) CHAINRULE_INLINE_BODY {
    const Index count = std::min(kLanes<B>, x.columns - j);
    double start[kLanes<B>] = {};
    std::copy_n(out + j, count, start);
    WideSum<B> sum(start);
    for (Index i = 0; i < x.rows; ++i) sum.add(lanes.load(x.row(i) + j));
    sum.store_to(start);
    std::copy_n(start, count, out + j);
  });
}

template <class B>
void row_sum(In<B> x, Out<B> out, bool accumulate) {
  for (Index i = 0; i < x.rows; ++i) {
    const Value<B> sum = sum_over_row<B>(x.columns, [&](Index j, auto lanes) CHAINRULE_INLINE_BODY {
      return lanes.load(x.row(i) + j);
    });
    out(i, 0) = accumulate ? out(i, 0) + sum : sum;
  }
}

template <class B>
void broadcast_column(In<B> column, Out<B> y, bool accumulate) {
  for (Index i = 0; i < y.rows; ++i) {
    const B value(column(i, 0));
    for_each_vector<B>(y.columns, [&](Index j, auto lanes) CHAINRULE_INLINE_BODY {
      lanes.store(y.row(i) + j, accumulate ? lanes.load(y.row(i) + j) + value : value);
    });
  }
}

/// At most one vector of rows and columns. Interleaving the first half of the rows with the second
/// moves the highest bit of a row's number to the lowest of the column's: once a bit.
template <class B>
void transpose_tile(In<B> x, Out<B> y) {
  constexpr int kWidth = static_cast<int>(kLanes<B>);
  B rows[kWidth];
  unrolled<kWidth>([&](auto i) {
    rows[i] = B(Value<B>(0));
    if (i >= x.rows) return;
    rows[i] = x.columns == kWidth ? B::load_unaligned(x.row(i)) : load_first(x.row(i), x.columns);
  });
  unrolled<std::countr_zero(static_cast<unsigned>(kWidth))>([&](auto) {
    B next[kWidth];
    unrolled<kWidth / 2>([&](auto i) {
      std::tie(next[2 * i], next[2 * i + 1]) = interleave(rows[i], rows[i + kWidth / 2]);
    });
    unrolled<kWidth>([&](auto i) { rows[i] = next[i]; });
  });
  unrolled<kWidth>([&](auto j) {
    if (j >= y.rows) return;
    if (y.columns == kWidth) {
      rows[j].store_unaligned(y.row(j));
    } else {
      store_first(y.row(j), rows[j], y.columns);
    }
  });
}

template <class B>
void transpose(In<B> x, Out<B> y) {
  if (x.rows == 1 || x.columns == 1) {
    const Index step = x.columns == 1 ? x.ld : 1;
    const Index to = x.columns == 1 ? 1 : y.ld;
    const Index count = x.columns == 1 ? x.rows : x.columns;
    for (Index i = 0; i < count; ++i) y.data[i * to] = x.data[i * step];
    return;
  }
  for (Index i = 0; i < x.rows; i += kLanes<B>) {
    const Index rows = std::min(x.rows - i, kLanes<B>);
    for (Index j = 0; j < x.columns; j += kLanes<B>) {
      const Index columns = std::min(x.columns - j, kLanes<B>);
      transpose_tile<B>({x.row(i) + j, rows, columns, x.ld}, {y.row(j) + i, columns, rows, y.ld});
    }
  }
}

}  // namespace chainrule::simd
