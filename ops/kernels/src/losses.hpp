// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "math.hpp"

// One struct a loss: value(x, t) and gradient(x, t), the derivative by x. None of them makes a NaN
// out of finite arguments; inf only where the loss itself leaves the type's range.

namespace chainrule::simd {

template <class B>
struct SquaredError {
  explicit SquaredError(const double*) {}
  B value(B x, B t) const { return (x - t) * (x - t); }
  B gradient(B x, B t) const { return (x - t) + (x - t); }
};

template <class B>
struct AbsoluteError {
  B zero = B(Value<B>(0));
  B one = B(Value<B>(1));

  explicit AbsoluteError(const double*) {}
  B value(B x, B t) const { return abs(x - t); }
  B gradient(B x, B t) const {
    const B d = x - t;
    return select(d > zero, one, select(d < zero, zero - one, d));
  }
};

template <class B>
struct Huber {
  B delta;
  B half = B(Value<B>(0.5));

  explicit Huber(const double* parameters) : delta(static_cast<Value<B>>(parameters[0])) {}
  B value(B x, B t) const {
    const B d = abs(x - t);
    return select(d <= delta, half * d * d, delta * (d - half * delta));
  }
  B gradient(B x, B t) const { return at_most(at_least(x - t, B(Value<B>(0)) - delta), delta); }
};

template <class B>
struct BinaryCrossEntropy {
  explicit BinaryCrossEntropy(const double*) {}
  B value(B x, B t) const {
    const B zero(Value<B>(0));
    // max(x, 0) - x t with x factored out, which cannot cancel.
    return x * (select(x > zero, B(Value<B>(1)), zero) - t) + log1p_unit(vexp(-abs(x)));
  }
  B gradient(B x, B t) const { return sigmoid(x) - t; }
};

template <class B>
struct Hinge {
  B zero = B(Value<B>(0));
  B one = B(Value<B>(1));

  explicit Hinge(const double*) {}
  B value(B x, B t) const { return at_least(fnma(t, x, one), zero); }
  B gradient(B x, B t) const {
    const B margin = fnma(t, x, one);
    return select(margin > zero, zero - t, select(margin <= zero, zero, margin));
  }
};

template <class B>
struct Poisson {
  explicit Poisson(const double*) {}
  B value(B x, B t) const { return fnma(t, x, vexp(x)); }
  B gradient(B x, B t) const { return vexp(x) - t; }
};

template <class B>
struct Gamma {
  B shape;

  explicit Gamma(const double* parameters) : shape(static_cast<Value<B>>(parameters[0])) {}
  B value(B x, B t) const { return shape * (ratio(x, t) + x); }
  B gradient(B x, B t) const { return shape * (B(Value<B>(1)) - ratio(x, t)); }

 private:
  /// t exp(-x), 0 for t = 0 even where exp overflows.
  static B ratio(B x, B t) {
    const B zero(Value<B>(0));
    return select(t == zero, x * zero, t * vexp(-x));
  }
};

/// With u = x + log(alpha) and r = 1 / alpha the loss (t + r) softplus(u) - t x equals
/// r softplus(u) + t (softplus(-u) + log(alpha)), which does not cancel.
template <class B>
struct NegativeBinomial {
  B log_alpha;
  B r;

  explicit NegativeBinomial(const double* parameters)
      : log_alpha(static_cast<Value<B>>(std::log(parameters[0]))),
        r(static_cast<Value<B>>(1.0 / parameters[0])) {}
  B value(B x, B t) const {
    const B zero(Value<B>(0));
    const B u = x + log_alpha;
    const B tail = log1p_unit(vexp(-abs(u)));
    return fma(r, at_least(u, zero) + tail, t * (at_least(zero - u, zero) + tail + log_alpha));
  }
  B gradient(B x, B t) const {
    const B u = x + log_alpha;
    const Logistic<B> logistic(u);
    return fnma(t, logistic.complement(u), r * logistic.value(u));
  }
};

/// True when the views are dense columns, which run as one long row.
template <class... View>
bool dense_columns(View... views) {
  return ((views.columns == 1 && views.ld == 1) && ...);
}

template <class B, template <class> class L>
void loss_forward(In<B> x, In<B> target, const double* parameters, Out<B> loss) {
  using T = Value<B>;
  const L<B> f(parameters);
  if (dense_columns(x, target, loss)) {
    map<B>(
        loss, [f](B v, B t) { return f.value(v, t); }, x, target);
    return;
  }
  for (Index i = 0; i < x.rows; ++i) {
    const T sum = sum_over_row<B>(x.columns, [&](Index j, auto lanes) {
      return f.value(lanes.load(x.row(i) + j), lanes.load(target.row(i) + j));
    });
    loss(i, 0) = sum / static_cast<T>(x.columns);
  }
}

template <class B, template <class> class L>
void loss_backward(In<B> x, In<B> target, const double* parameters, In<B> dloss, Out<B> dx,
                   bool accumulate) {
  using T = Value<B>;
  const L<B> f(parameters);
  const auto scaled = [f](B v, B t, B d) {
    const B zero(T(0));
    return select(d == zero, zero, d * f.gradient(v, t));
  };
  if (dense_columns(x, target, dloss, dx)) {
    map_into<B>(accumulate, dx, scaled, x, target, dloss);
    return;
  }
  for (Index i = 0; i < x.rows; ++i) {
    const B d(dloss(i, 0) / static_cast<T>(x.columns));
    const In<B> x_row{x.row(i), 1, x.columns, x.ld};
    const In<B> target_row{target.row(i), 1, x.columns, target.ld};
    const Out<B> dx_row{dx.row(i), 1, x.columns, dx.ld};
    map_into<B>(
        accumulate, dx_row, [scaled, d](B v, B t) { return scaled(v, t, d); }, x_row, target_row);
  }
}

template <class B, template <class> class L>
constexpr void set_loss(Kernels<Value<B>>& kernels, LossKernel which) {
  kernels.loss[static_cast<std::size_t>(which)] = &loss_forward<B, L>;
  kernels.loss_backward[static_cast<std::size_t>(which)] = &loss_backward<B, L>;
}

}  // namespace chainrule::simd
