// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"

// Optimizer steps; the meaning of `scalars` stands at UpdateKernel.

namespace chainrule::simd {

/// One step of kSgd.
template <class B>
struct Descent {
  B rate;
  B decay;

  explicit Descent(const double* scalars)
      : rate(static_cast<Value<B>>(scalars[0])), decay(static_cast<Value<B>>(scalars[1])) {}
  B operator()(B p, B g) const { return fnma(rate, fma(decay, p, g), p); }
};

template <class B>
void sgd_update(Out<B> parameter, In<B> gradient, Out<B>, Out<B>, const double* scalars) {
  map<B>(parameter, Descent<B>(scalars), In<B>(parameter), gradient);
}

template <class B>
void momentum_update(Out<B> parameter, In<B> gradient, Out<B> velocity, Out<B>,
                     const double* scalars) {
  using T = Value<B>;
  const B rate(static_cast<T>(scalars[0]));
  const B momentum(static_cast<T>(scalars[1]));
  const bool nesterov = scalars[2] != 0.0;
  const B decay(static_cast<T>(scalars[3]));
  for (Index i = 0; i < parameter.rows; ++i) {
    T* const p = parameter.row(i);
    T* const v = velocity.row(i);
    for_each_vector<B>(parameter.columns, [&](Index j, auto lanes) {
      const B old = lanes.load(p + j);
      const B g = fma(decay, old, lanes.load(gradient.row(i) + j));
      const B speed = fma(momentum, lanes.load(v + j), g);
      lanes.store(v + j, speed);
      lanes.store(p + j, fnma(rate, nesterov ? fma(momentum, speed, g) : speed, old));
    });
  }
}

template <class B>
void adam_update(Out<B> parameter, In<B> gradient, Out<B> first, Out<B> second,
                 const double* scalars) {
  using T = Value<B>;
  const auto scalar = [scalars](int i) { return B(static_cast<T>(scalars[i])); };
  const B step = scalar(0);
  const B beta1 = scalar(1);
  const B beta2 = scalar(2);
  const B rest1(static_cast<T>(1.0 - scalars[1]));
  const B rest2(static_cast<T>(1.0 - scalars[2]));
  const B epsilon = scalar(3);
  const B inverse_bias = scalar(4);
  const B l2 = scalar(5);
  const B shrink(static_cast<T>(1.0 - scalars[6]));
  for (Index i = 0; i < parameter.rows; ++i) {
    T* const p = parameter.row(i);
    T* const m = first.row(i);
    T* const v = second.row(i);
    for_each_vector<B>(parameter.columns, [&](Index j, auto lanes) {
      const B old = lanes.load(p + j);
      const B g = fma(l2, old, lanes.load(gradient.row(i) + j));
      const B mean = fma(beta1, lanes.load(m + j), rest1 * g);
      const B square = fma(beta2, lanes.load(v + j), rest2 * (g * g));
      lanes.store(m + j, mean);
      lanes.store(v + j, square);
      const B scale = fma(sqrt(square), inverse_bias, epsilon);
      lanes.store(p + j, fnma(step, mean / scale, old * shrink));
    });
  }
}

}  // namespace chainrule::simd
