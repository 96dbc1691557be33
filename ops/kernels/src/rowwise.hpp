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

template <class B>
Value<B> row_max(const Value<B>* x, Index columns) {
  const B lowest(-std::numeric_limits<Value<B>>::infinity());
  B most = lowest;
  for_each_vector<B>(columns, [&](Index j, auto lanes) {
    most = larger(lanes.keep(lanes.load(x + j), lowest), most);
  });
  return reduce_max(most);
}

/// y = exp(x - shift), returns its sum; y may be x, or null when only the sum is wanted.
template <class B>
Value<B> exp_shifted(const Value<B>* x, Value<B> shift, Value<B>* y, Index columns) {
  return sum_over_row<B>(columns, [&](Index j, auto lanes) {
    const B e = vexp(lanes.load(x + j) - B(shift));
    if (y != nullptr) lanes.store(y + j, e);
    return e;
  });
}

template <class B>
void scale_row(Value<B>* y, Value<B> factor, Index columns) {
  for_each_vector<B>(
      columns, [&](Index j, auto lanes) { lanes.store(y + j, lanes.load(y + j) * B(factor)); });
}

/// A row of softmax into y unless that is null; returns log(sum(exp(x - max))), and the max through
/// `shift`.
template <class B>
Value<B> softmax_row(const Value<B>* x, Value<B>* y, Index columns, Value<B>& shift) {
  shift = row_max<B>(x, columns);
  const Value<B> sum = exp_shifted<B>(x, shift, y, columns);
  if (y != nullptr) scale_row<B>(y, Value<B>(1) / sum, columns);
  return std::log(sum);
}

template <class B>
void softmax(In<B> x, Out<B> y) {
  for (Index i = 0; i < x.rows; ++i) {
    const Value<B> shift = row_max<B>(x.row(i), x.columns);
    const Value<B> sum = exp_shifted<B>(x.row(i), shift, y.row(i), x.columns);
    scale_row<B>(y.row(i), Value<B>(1) / sum, x.columns);
  }
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
  for (Index i = 0; i < x.rows; ++i) {
    const Value<B> shift = row_max<B>(x.row(i), x.columns);
    const Value<B> sum = sum_over_row<B>(
        x.columns, [&](Index j, auto lanes) { return vexp(lanes.load(x.row(i) + j) - B(shift)); });
    const B log_sum(std::log(sum));
    for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
      lanes.store(y.row(i) + j, (lanes.load(x.row(i) + j) - B(shift)) - log_sum);
    });
  }
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
