// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "rowwise.hpp"

// Softmax cross-entropy from logits. With smoothing s over C classes the target becomes
// (1 - s) target + s / C.

namespace chainrule::simd {

/// dx (+)= d * difference(j, lanes) for one row, nothing at all where d is 0.
template <class B>
void cross_entropy_gradient_row(Value<B> d, Value<B>* dx, Index columns, bool accumulate,
                                auto difference) {
  using T = Value<B>;
  if (d == T(0)) {
    if (!accumulate) std::fill_n(dx, columns, T(0));
    return;
  }
  for_each_vector<B>(columns, [&](Index j, auto lanes) {
    const B gradient = B(d) * difference(j, lanes);
    lanes.store(dx + j, accumulate ? lanes.load(dx + j) + gradient : gradient);
  });
}

template <class B>
void cross_entropy(In<B> x, MatrixView<const std::int32_t> labels, double smoothing, Out<B> loss,
                   Out<B> probabilities) {
  using T = Value<B>;
  const B keep(static_cast<T>(1.0 - smoothing));
  const B spread(static_cast<T>(smoothing / static_cast<double>(x.columns)));
  for_each_row_block<B>(x.rows, [&](Index first, Index count) {
    const SoftmaxBlock<B> block(x, probabilities, first, count);
    T values[kLanes<B>] = {};
    for (Index r = 0; r < count; ++r) values[r] = x(first + r, labels(first + r, 0));
    const B at_label = B::load_unaligned(values) - block.shift;
    B row_loss = fnma(keep, at_label, vlog(block.sum));
    if (smoothing != 0.0) row_loss = fnma(spread, block.sum_shifted(x), row_loss);
    row_loss.store_unaligned(values);
    for (Index r = 0; r < count; ++r) loss(first + r, 0) = values[r];
  });
}

template <class B>
void cross_entropy_backward(In<B> probabilities, MatrixView<const std::int32_t> labels,
                            double smoothing, In<B> dloss, Out<B> dx, bool accumulate) {
  using T = Value<B>;
  const T keep = static_cast<T>(1.0 - smoothing);
  const T spread = static_cast<T>(smoothing / static_cast<double>(dx.columns));
  for (Index i = 0; i < dx.rows; ++i) {
    const Index label = labels(i, 0);
    const T d = dloss(i, 0);
    const T* probability = probabilities.row(i);
    const T at_label_difference = probability[label] - (keep + spread);
    T* at_label = dx.row(i) + label;
    const T before = accumulate ? *at_label : T(0);
    cross_entropy_gradient_row<B>(d, dx.row(i), dx.columns, accumulate, [&](Index j, auto lanes) {
      return lanes.load(probability + j) - B(spread);
    });
    if (d != T(0)) *at_label = before + d * at_label_difference;
  }
}

template <class B>
void soft_cross_entropy(In<B> x, In<B> target, double smoothing, Out<B> loss,
                        Out<B> probabilities) {
  using T = Value<B>;
  const B keep(static_cast<T>(1.0 - smoothing));
  const B spread(static_cast<T>(smoothing / static_cast<double>(x.columns)));
  const B zero(T(0));
  for_each_row_block<B>(x.rows, [&](Index first, Index count) {
    const SoftmaxBlock<B> block(x, probabilities, first, count);
    const RowValues<B> shifts(block.shift), log_sums(vlog(block.sum));
    // -sum(target * log_softmax): also right where the target does not sum to 1.
    for (Index r = 0; r < count; ++r) {
      const T* const from = x.row(first + r);
      const T* const to = target.row(first + r);
      loss(first + r, 0) = sum_over_row<B>(x.columns, [&](Index j, auto lanes) {
        const B t = fma(keep, lanes.load(to + j), spread);
        const B minus_log = log_sums[r] - (lanes.load(from + j) - shifts[r]);
        return select(t == zero, zero, t * minus_log);
      });
    }
  });
}

template <class B>
void soft_cross_entropy_backward(In<B> probabilities, In<B> target, double smoothing, In<B> dloss,
                                 Out<B> dx, bool accumulate) {
  using T = Value<B>;
  const B keep(static_cast<T>(1.0 - smoothing));
  const B spread(static_cast<T>(smoothing / static_cast<double>(dx.columns)));
  for (Index i = 0; i < dx.rows; ++i) {
    const T* target_row = target.row(i);
    const auto smooth = [&](Index j, auto lanes) {
      return fma(keep, lanes.load(target_row + j), spread);
    };
    const B mass(sum_over_row<B>(dx.columns, smooth));  // 1, if the caller's row sums to 1
    const T* probability = probabilities.row(i);
    cross_entropy_gradient_row<B>(
        dloss(i, 0), dx.row(i), dx.columns, accumulate, [&](Index j, auto lanes) {
          return fma(lanes.load(probability + j), mass, B(T(0)) - smooth(j, lanes));
        });
  }
}

}  // namespace chainrule::simd
