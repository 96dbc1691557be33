// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "simd.hpp"

namespace chainrule::simd {

template <class B>
using In = MatrixView<const Value<B>>;
template <class B>
using Out = MatrixView<Value<B>>;

// Loops are inlined into the kernels that write them, and bodies into the loops: views then live in
// registers and not behind a pointer, which is most of what a kernel costs on a short row.
#define CHAINRULE_INLINE_BODY __attribute__((always_inline))

/// body(std::integral_constant) for 0 .. N - 1: compilers keep arrays in registers only where every
/// index is a constant from the start.
template <int N, class Body>
[[gnu::always_inline]] inline void unrolled(Body body) {
  [&]<int... I>(std::integer_sequence<int, I...>) CHAINRULE_INLINE_BODY {
    (body(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

/// The lanes of one vector a lane folded by op, each with the bits of fold(). Interleaving two
/// vectors brings the halves of both under each other: once a level of the tree.
template <class B, class Op, int Half = static_cast<int>(kLanes<B>) / 2>
[[gnu::always_inline]] inline B fold_all(B* x, Op op) {
  unrolled<Half>([&](auto i) CHAINRULE_INLINE_BODY {
    const auto [low, high] = interleave(x[i], x[i + Half]);
    x[i] = op(low, high);
  });
  if constexpr (Half > 1) return fold_all<B, Op, Half / 2>(x, op);
  return x[0];
}

/// reduce_sum(x[i]) in lane i of the first `Count`; the lanes behind are unspecified. Where two
/// vectors take turns every `Half` lanes, their sum and that of what they left out belong together:
/// half the shuffles of fold_all().
template <int Count, class B, int Half = static_cast<int>(kLanes<B>) / 2>
B sum_all(B* x) {
  constexpr int kWidth = static_cast<int>(kLanes<B>);
  using Register = typename B::register_type;
  unrolled<std::min(Count, Half)>([&](auto i) CHAINRULE_INLINE_BODY {
    const Register a = x[i];
    const Register b = x[i + Half < Count ? i + Half : i];
    x[i] = [&]<int... I>(std::integer_sequence<int, I...>) CHAINRULE_INLINE_BODY {
      return B(Register(__builtin_shufflevector(a, b, (I & Half ? kWidth + I : I)...))) +
             B(Register(
                 __builtin_shufflevector(a, b, (I & Half ? kWidth + I - Half : I + Half)...)));
    }
    (std::make_integer_sequence<int, kWidth>{});
  });
  if constexpr (Half > 1) return sum_all<std::min(Count, Half), B, Half / 2>(x);
  return x[0];
}

/// Row r of up to as many rows as a vector has lanes, folded to lane r: partial(r) is a vector of
/// its parts. The bits do not depend on `count`.
template <class B, class Op, class Partial>
B fold_rows(Index count, Op op, Partial partial) {
  if (count == kLanes<B>) {
    B x[kLanes<B>];
    for (Index r = 0; r < kLanes<B>; ++r) x[r] = partial(r);
    return fold_all(x, op);
  }
  Value<B> values[kLanes<B>] = {};
  for (Index r = 0; r < count; ++r) values[r] = fold(partial(r), op);
  return B::load_unaligned(values);
}

/// The lanes of a vector one by one, each on all lanes.
template <class B>
class RowValues {
 public:
  explicit RowValues(B values) { std::memcpy(values_, &values, sizeof values_); }
  B operator[](Index r) const { return B(values_[r]); }

 private:
  Value<B> values_[kLanes<B>];
};

/// Access to one whole vector of a row.
template <class B>
struct Whole {
  B load(const Value<B>* from) const { return B::load_unaligned(from); }
  void store(Value<B>* to, B value) const { value.store_unaligned(to); }
  /// `value` in the lanes that exist, `neutral` in the others.
  B keep(B value, B) const { return value; }
};

/// Access to the last vector of a row, of which only `count` lanes exist. Missing lanes load as
/// zero; memory behind the row is neither read nor written.
template <class B>
struct Part {
  Index count;

  B load(const Value<B>* from) const { return load_first(from, count); }
  void store(Value<B>* to, B value) const { store_first(to, value, count); }
  B keep(B value, B neutral) const { return keep_first(value, count, neutral); }
};

/// The same, for what is stored and soon loaded again.
template <class B>
struct Tail {
  Index count;

  B load(const Value<B>* from) const { return load_tail(from, count); }
  void store(Value<B>* to, B value) const { store_tail(to, value, count); }
  B keep(B value, B neutral) const { return keep_first(value, count, neutral); }
};

/// The loop that owns the tails: body(j, lanes) for the vectors of a row that begin at column j,
/// `lanes` being a Whole or, once at most, a Tail.
template <class B, class Body>
[[gnu::always_inline]] inline void for_each_vector(Index columns, Body&& body) {
  Index j = 0;
  for (; j + kLanes<B> <= columns; j += kLanes<B>) body(j, Whole<B>{});
  if (j < columns) body(j, Tail<B>{columns - j});
}

/// y(i, j) = body(inputs(i, j)...) for views of y's shape.
template <class B, class Body, class... Inputs>
[[gnu::always_inline]] inline void map(Out<B> y, Body body, Inputs... inputs) {
  if (y.ld == y.columns && ((inputs.ld == y.columns) && ...)) {
    y.columns *= y.rows;  // dense: one long row
    y.rows = y.columns > 0 ? 1 : 0;
  }
  for (Index i = 0; i < y.rows; ++i) {
    for_each_vector<B>(y.columns, [&](Index j, auto lanes) CHAINRULE_INLINE_BODY {
      lanes.store(y.row(i) + j, body(lanes.load(inputs.row(i) + j)...));
    });
  }
}

/// y(i, j) (+)= body(inputs(i, j)...).
template <class B, class Body, class... Inputs>
[[gnu::always_inline]] inline void map_into(bool accumulate, Out<B> y, Body body,
                                            Inputs... inputs) {
  if (accumulate) {
    const In<B> before = y;
    map<B>(
        y, [body](B sum, auto... x) { return sum + body(x...); }, before, inputs...);
  } else {
    map<B>(y, body, inputs...);
  }
}

/// Sum over a row's columns of term(j, lanes), as one sum a lane.
template <class B, class Term>
[[gnu::always_inline]] inline B lane_sums(Index columns, Term term) {
  B sum(Value<B>(0));
  for_each_vector<B>(columns, [&](Index j, auto lanes) CHAINRULE_INLINE_BODY {
    sum = sum + lanes.keep(term(j, lanes), B(Value<B>(0)));
  });
  return sum;
}
template <class B, class Term>
[[gnu::always_inline]] inline Value<B> sum_over_row(Index columns, Term term) {
  return reduce_sum(lane_sums<B>(columns, term));
}

}  // namespace chainrule::simd
