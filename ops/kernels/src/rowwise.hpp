// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "math.hpp"

// Softmax, its logarithm and layer normalization: reductions along a row. A row's result depends on
// its columns alone.

namespace chainrule::simd {

/// body(first row, count) for blocks of up to as many rows as a vector has lanes.
template <class B, class Body>
void for_each_row_block(Index rows, Body body) {
  for (Index i = 0; i < rows; i += kLanes<B>) body(i, std::min(rows - i, kLanes<B>));
}

/// Softmax of a block of rows, and what it knows of them: one number a row.
template <class B>
class SoftmaxBlock {
  using T = Value<B>;

 public:
  B shift;  ///< the largest of the row
  B sum;    ///< of exp(x - shift)

  /// Softmax goes to y, which may be x, unless its data is null.
  SoftmaxBlock(In<B> x, Out<B> y, Index first, Index count) : first_(first), count_(count) {
    if (x.columns > kLanes<B>) {
      wide(x, y);
    } else if (x.columns == kLanes<B>) {
      narrow(x, y, Whole<B>{});
    } else {
      narrow(x, y, Part<B>{x.columns});
    }
  }

  /// The sums of x - shift.
  B sum_shifted(In<B> x) const {
    const RowValues<B> shifts(shift);
    return fold_rows<B>(count_, Plus{}, [&](Index r) {
      return lane_sums<B>(x.columns, [&](Index j, auto lanes) {
        return lanes.load(x.row(first_ + r) + j) - shifts[r];
      });
    });
  }

 private:
  void wide(In<B> x, Out<B> y) {
    shift = fold_rows<B>(count_, Larger{}, [&](Index r) {
      B most = lowest_;
      for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
        most = larger(lanes.keep(lanes.load(x.row(first_ + r) + j), lowest_), most);
      });
      return most;
    });
    const RowValues<B> shifts(shift);
    sum = fold_rows<B>(count_, Plus{}, [&](Index r) {
      return lane_sums<B>(x.columns, [&](Index j, auto lanes) {
        const B e = vexp(lanes.load(x.row(first_ + r) + j) - shifts[r]);
        if (y.data != nullptr) lanes.store(y.row(first_ + r) + j, e);
        return e;
      });
    });
    if (y.data == nullptr) return;
    const RowValues<B> factors(B(T(1)) / sum);
    for (Index r = 0; r < count_; ++r) {
      T* const row = y.row(first_ + r);
      for_each_vector<B>(y.columns, [&](Index j, auto lanes) {
        lanes.store(row + j, lanes.load(row + j) * factors[r]);
      });
    }
  }

  /// The same of rows of one vector each, which stay in registers or near them.
  template <class Lanes>
  void narrow(In<B> x, Out<B> y, Lanes lanes) {
    B e[kLanes<B>];
    for (Index r = 0; r < count_; ++r) e[r] = lanes.keep(lanes.load(x.row(first_ + r)), lowest_);
    shift = fold_rows<B>(count_, Larger{}, [&](Index r) { return e[r]; });
    const RowValues<B> shifts(shift);
    for (Index r = 0; r < count_; ++r) e[r] = lanes.keep(vexp(e[r] - shifts[r]), B(T(0)));
    sum = fold_rows<B>(count_, Plus{}, [&](Index r) { return e[r]; });
    if (y.data == nullptr) return;
    const RowValues<B> factors(B(T(1)) / sum);
    for (Index r = 0; r < count_; ++r) lanes.store(y.row(first_ + r), e[r] * factors[r]);
  }

  Index first_;
  Index count_;
  B lowest_ = B(-std::numeric_limits<T>::infinity());
};

template <class B>
void softmax(In<B> x, Out<B> y) {
  for_each_row_block<B>(x.rows,
                        [&](Index first, Index count) { SoftmaxBlock<B>(x, y, first, count); });
}

/// dx (+)= y (dy - sum(y dy)).
template <class B>
void softmax_backward(In<B> y, In<B> dy, Out<B> dx, bool accumulate) {
  for (Index i = 0; i < y.rows; ++i) {
    const B dot(sum_over_row<B>(y.columns, [&](Index j, auto lanes) {
      return lanes.load(y.row(i) + j) * lanes.load(dy.row(i) + j);
    }));
    map_into<B>(
        accumulate, Out<B>{dx.row(i), 1, dx.columns, dx.ld},
        [dot](B p, B d) { return p * (d - dot); }, In<B>{y.row(i), 1, y.columns, y.ld},
        In<B>{dy.row(i), 1, y.columns, dy.ld});
  }
}

template <class B>
void log_softmax(In<B> x, Out<B> y) {
  for_each_row_block<B>(x.rows, [&](Index first, Index count) {
    const SoftmaxBlock<B> block(x, {}, first, count);
    const RowValues<B> shifts(block.shift), log_sums(vlog(block.sum));
    for (Index r = 0; r < count; ++r) {
      const Value<B>* const from = x.row(first + r);
      for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
        lanes.store(y.row(first + r) + j, (lanes.load(from + j) - shifts[r]) - log_sums[r]);
      });
    }
  });
}

/// dx (+)= dy - exp(y) sum(dy).
template <class B>
void log_softmax_backward(In<B> y, In<B> dy, Out<B> dx, bool accumulate) {
  for (Index i = 0; i < y.rows; ++i) {
    const B sum(
        sum_over_row<B>(y.columns, [&](Index j, auto lanes) { return lanes.load(dy.row(i) + j); }));
    map_into<B>(
        accumulate, Out<B>{dx.row(i), 1, dx.columns, dx.ld},
        [sum](B v, B d) { return fnma(vexp(v), sum, d); }, In<B>{y.row(i), 1, y.columns, y.ld},
        In<B>{dy.row(i), 1, y.columns, dy.ld});
  }
}

template <class B>
void layer_norm(In<B> x, const Value<B>* gamma, const Value<B>* beta, double epsilon, Out<B> y,
                Out<B> stats) {
  using T = Value<B>;
  const T count = static_cast<T>(x.columns);
  for (Index i = 0; i < x.rows; ++i) {
    const T* row = x.row(i);
    const T mean =
        sum_over_row<B>(x.columns, [&](Index j, auto lanes) { return lanes.load(row + j); }) /
        count;
    const T variance = sum_over_row<B>(x.columns,
                                       [&](Index j, auto lanes) {
                                         const B d = lanes.load(row + j) - B(mean);
                                         return d * d;
                                       }) /
                       count;
    const T rstd = T(1) / std::sqrt(variance + static_cast<T>(epsilon));
    for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
      const B normal = (lanes.load(row + j) - B(mean)) * B(rstd);
      lanes.store(y.row(i) + j, fma(normal, lanes.load(gamma + j), lanes.load(beta + j)));
    });
    if (stats.data == nullptr) continue;
    stats(i, 0) = mean;
    stats(i, 1) = rstd;
  }
}

template <class B>
void add_to_row(Value<B>* sum, Index columns, auto term) {
  for_each_vector<B>(columns, [&](Index j, auto lanes) {
    lanes.store(sum + j, lanes.load(sum + j) + term(j, lanes));
  });
}

template <class B>
void layer_norm_backward(In<B> x, const Value<B>* gamma, In<B> stats, In<B> dy, Out<B> dx,
                         bool accumulate_dx, Value<B>* dgamma, bool accumulate_dgamma,
                         Value<B>* dbeta, bool accumulate_dbeta) {
  using T = Value<B>;
  const Index columns = x.columns;
  if (dgamma != nullptr && !accumulate_dgamma) std::fill_n(dgamma, columns, T(0));
  if (dbeta != nullptr && !accumulate_dbeta) std::fill_n(dbeta, columns, T(0));
  for (Index i = 0; i < x.rows; ++i) {
    const T* x_row = x.row(i);
    const T* dy_row = dy.row(i);
    const B mean(stats(i, 0));
    const B rstd(stats(i, 1));
    const auto normal = [&](Index j, auto lanes) { return (lanes.load(x_row + j) - mean) * rstd; };
    if (dgamma != nullptr) {
      add_to_row<B>(dgamma, columns,
                    [&](Index j, auto lanes) { return lanes.load(dy_row + j) * normal(j, lanes); });
    }
    if (dbeta != nullptr) {
      add_to_row<B>(dbeta, columns, [&](Index j, auto lanes) { return lanes.load(dy_row + j); });
    }
    if (dx.data == nullptr) continue;
    const auto scaled = [&](Index j, auto lanes) {
      return lanes.load(dy_row + j) * lanes.load(gamma + j);
    };
    const T count = static_cast<T>(columns);
    const B mean_dy(sum_over_row<B>(columns, scaled) / count);
    const B mean_product(
        sum_over_row<B>(columns,
                        [&](Index j, auto lanes) { return scaled(j, lanes) * normal(j, lanes); }) /
        count);
    T* dx_row = dx.row(i);
    for_each_vector<B>(columns, [&](Index j, auto lanes) {
      const B d = rstd * fnma(normal(j, lanes), mean_product, scaled(j, lanes) - mean_dy);
      lanes.store(dx_row + j, accumulate_dx ? lanes.load(dx_row + j) + d : d);
    });
  }
}

}  // namespace chainrule::simd
