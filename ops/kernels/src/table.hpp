// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "arithmetic.hpp"
#include "batch_norm.hpp"
#include "cross_entropy.hpp"
#include "dual.hpp"
#include "gemm.hpp"
#include "losses.hpp"
#include "rowwise.hpp"
#include "unary.hpp"
#include "updates.hpp"

namespace chainrule::simd {

/// Enough independent chains to keep two FMA units busy through their latency.
template <class B>
double fma_burst(Index iterations, Value<B>* sink) {
  using T = Value<B>;
  constexpr int kChains = 12;
  B sum[kChains];
  unrolled<kChains>([&](auto i) { sum[i] = B(static_cast<T>(i)); });
  const B factor(T(0.5));
  const B term(T(1));
  for (Index k = 0; k < iterations; ++k) {
    unrolled<kChains>([&](auto i) { sum[i] = fma(sum[i], factor, term); });
  }
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  *sink = reduce_sum(sum[0]);
  return 2.0 * kChains * static_cast<double>(kLanes<B>) * static_cast<double>(iterations);
}

/// Enough independent chains that loads are what limits it.
template <class B>
void read_burst(In<B> x, Value<B>* sink) {
  constexpr int kChains = 8;
  constexpr Index kStep = kChains * kLanes<B>;
  B sum[kChains];
  unrolled<kChains>([&](auto i) { sum[i] = B(Value<B>(0)); });
  for (Index row = 0; row < x.rows; ++row) {
    const Value<B>* const from = x.row(row);
    Index j = 0;
    for (; j + kStep <= x.columns; j += kStep) {
      unrolled<kChains>(
          [&](auto i) { sum[i] = sum[i] + B::load_unaligned(from + j + i * kLanes<B>); });
    }
    for_each_vector<B>(x.columns - j,
                       [&](Index k, auto lanes) { sum[0] = sum[0] + lanes.load(from + j + k); });
  }
  for (int i = 1; i < kChains; ++i) sum[0] = sum[0] + sum[i];
  *sink = reduce_sum(sum[0]);
}

template <class B>
constexpr void set_elementwise(Kernels<Value<B>>& k) {
  set_all_unary<B>(k);

  set_loss<B, SquaredError>(k, LossKernel::kSquaredError);
  set_loss<B, AbsoluteError>(k, LossKernel::kAbsoluteError);
  set_loss<B, Huber>(k, LossKernel::kHuber);
  set_loss<B, BinaryCrossEntropy>(k, LossKernel::kBinaryCrossEntropy);
  set_loss<B, Hinge>(k, LossKernel::kHinge);
  set_loss<B, Poisson>(k, LossKernel::kPoisson);
  set_loss<B, Gamma>(k, LossKernel::kGamma);
  set_loss<B, NegativeBinomial>(k, LossKernel::kNegativeBinomial);

  k.update[static_cast<std::size_t>(UpdateKernel::kSgd)] = &sgd_update<B>;
  k.update[static_cast<std::size_t>(UpdateKernel::kMomentum)] = &momentum_update<B>;
  k.update[static_cast<std::size_t>(UpdateKernel::kAdam)] = &adam_update<B>;
}

template <class B>
constexpr Kernels<Value<B>> make_kernels() {
  Kernels<Value<B>> k{};
  set_elementwise<B>(k);
  k.add = &add<B>;
  k.sub = &sub<B>;
  k.mul = &mul<B>;
  k.mul_into = &mul_into<B>;
  k.scale_into = &scale_into<B>;
  k.add_bias = &add_bias<B>;
  k.column_sum = &column_sum<B>;
  k.column_sum_double = &column_sum_double<B>;
  k.row_sum = &row_sum<B>;
  k.broadcast_column = &broadcast_column<B>;
  k.transpose = &transpose<B>;
  k.gemm = &gemm<B>;
  k.prepare_gemm = &prepare_gemm<B>;
  k.gemm_form = &gemm_form<B>;
  k.prepare_dots = &prepare_dots<B>;
  k.most_dot_columns = kMostDotColumns<B>;
  k.prefers_dots = &prefers_dots<B>;
  k.softmax = &softmax<B>;
  k.softmax_backward = &softmax_backward<B>;
  k.log_softmax = &log_softmax<B>;
  k.log_softmax_backward = &log_softmax_backward<B>;
  k.layer_norm = &layer_norm<B>;
  k.layer_norm_backward = &layer_norm_backward<B>;
  k.column_moments = &column_moments<B>;
  k.batch_norm = &batch_norm<B>;
  k.batch_norm_backward = &batch_norm_backward<B>;
  k.cross_entropy = &cross_entropy<B>;
  k.cross_entropy_backward = &cross_entropy_backward<B>;
  k.soft_cross_entropy = &soft_cross_entropy<B>;
  k.soft_cross_entropy_backward = &soft_cross_entropy_backward<B>;
  k.fma_burst = &fma_burst<B>;
  k.read_burst = &read_burst<B>;
  return k;
}

/// The table of one architecture, for its arch_*.cpp.
template <class Arch>
constexpr KernelTable make_table(std::string_view name) {
  return {.architecture = name,
          .float_lanes = kLanes<Batch<float, Arch>>,
          .f32 = make_kernels<Batch<float, Arch>>(),
          .f64 = make_kernels<Batch<double, Arch>>(),
          .dual = make_dual_kernels<Batch<double, Arch>>()};
}

}  // namespace chainrule::simd
