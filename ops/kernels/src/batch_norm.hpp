// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"

// Statistics of columns and batch normalization. Sums run over the rows in ascending order, in
// double.

namespace chainrule::simd {

/// Sum over the rows of term(i), as a vector of columns.
template <class B>
WideSum<B> sum_over_rows(Index rows, auto term) {
  WideSum<B> sum;
  for (Index i = 0; i < rows; ++i) sum.add(term(i));
  return sum;
}

template <class B>
void column_moments(In<B> x, Out<B> stats) {
  const double inverse = 1.0 / static_cast<double>(x.rows);
  for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
    const B mean =
        sum_over_rows<B>(x.rows, [&](Index i) { return lanes.load(x.row(i) + j); }).scaled(inverse);
    const B variance = sum_over_rows<B>(x.rows, [&](Index i) {
                         const B d = lanes.load(x.row(i) + j) - mean;
                         return d * d;
                       }).scaled(inverse);
    lanes.store(stats.row(0) + j, mean);
    lanes.store(stats.row(1) + j, variance);
  });
}

template <class B>
B reciprocal_deviation(B variance, double epsilon) {
  using T = Value<B>;
  return B(T(1)) / sqrt(variance + B(static_cast<T>(epsilon)));
}

template <class B>
void batch_norm(In<B> x, In<B> stats, const Value<B>* gamma, const Value<B>* beta, double epsilon,
                Out<B> y) {
  for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
    const B mean = lanes.load(stats.row(0) + j);
    const B scale = reciprocal_deviation(lanes.load(stats.row(1) + j), epsilon);
    const B gamma_j = lanes.load(gamma + j);
    const B beta_j = lanes.load(beta + j);
    for (Index i = 0; i < x.rows; ++i) {
      lanes.store(y.row(i) + j, fma((lanes.load(x.row(i) + j) - mean) * scale, gamma_j, beta_j));
    }
  });
}

/// With n = (x - mean) * rstd: dx = gamma * rstd * (dy - mean(dy) - n * mean(dy n)).
template <class B>
void batch_norm_backward(In<B> x, In<B> stats, const Value<B>* gamma, double epsilon, In<B> dy,
                         Out<B> dx, bool accumulate_dx, Value<B>* dgamma, bool accumulate_dgamma,
                         Value<B>* dbeta, bool accumulate_dbeta) {
  const double inverse = 1.0 / static_cast<double>(x.rows);
  for_each_vector<B>(x.columns, [&](Index j, auto lanes) {
    const B mean = lanes.load(stats.row(0) + j);
    const B rstd = reciprocal_deviation(lanes.load(stats.row(1) + j), epsilon);
    const auto normal = [&](Index i) { return (lanes.load(x.row(i) + j) - mean) * rstd; };
    const auto gradient = [&](Index i) { return lanes.load(dy.row(i) + j); };
    const auto add_to = [&](Value<B>* sums, bool accumulate, B sum) {
      if (sums == nullptr) return;
      lanes.store(sums + j, accumulate ? lanes.load(sums + j) + sum : sum);
    };
    const WideSum<B> sum = sum_over_rows<B>(x.rows, gradient);
    const WideSum<B> product =
        sum_over_rows<B>(x.rows, [&](Index i) { return gradient(i) * normal(i); });
    add_to(dbeta, accumulate_dbeta, sum.value());
    add_to(dgamma, accumulate_dgamma, product.value());
    if (dx.data == nullptr) return;
    const B mean_gradient = sum.scaled(inverse);
    const B mean_product = product.scaled(inverse);
    const B scale = lanes.load(gamma + j) * rstd;
    for (Index i = 0; i < x.rows; ++i) {
      const B d = scale * fnma(normal(i), mean_product, gradient(i) - mean_gradient);
      lanes.store(dx.row(i) + j, accumulate_dx ? lanes.load(dx.row(i) + j) + d : d);
    }
  });
}

}  // namespace chainrule::simd
