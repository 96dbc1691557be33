// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "math.hpp"

// One struct a loss: value(x, t), gradient(x, t), the derivative by x, and curvature(x, t), the
// second. slope(x, t) is the derivative once more, of value() as it is written: forward mode checks
// backward. None of them makes a NaN out of finite arguments; inf only where the loss itself leaves
// the type's range.

namespace chainrule::simd {

template <class B>
struct SquaredError {
  explicit SquaredError(const double*) {}
  B value(B x, B t) const { return (x - t) * (x - t); }
  B gradient(B x, B t) const { return (x - t) + (x - t); }
  B slope(B x, B t) const { return B(Value<B>(2)) * (x - t); }
  B curvature(B, B) const { return B(Value<B>(2)); }
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
  B slope(B x, B t) const { return select(x > t, one, select(x < t, zero - one, x - t)); }
  B curvature(B, B) const { return zero; }
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
  B slope(B x, B t) const {
    const B d = x - t;
    return select(abs(d) > delta, with_sign(delta, d), d);
  }
  B curvature(B x, B t) const { return select(abs(x - t) > delta, B(Value<B>(0)), B(Value<B>(1))); }
};

template <class B>
struct BinaryCrossEntropy {
  explicit BinaryCrossEntropy(const double*) {}
  B value(B x, B t) const {
    const B zero(Value<B>(0));
    // max(x, 0) - x t with x factored out, which cannot cancel.
    return x * (select(x > zero, B(Value<B>(1)), zero) - t) + log1p_unit(exp_of_minus_abs(x));
  }
  B gradient(B x, B t) const { return sigmoid(x) - t; }
  B slope(B x, B t) const {
    const B one(Value<B>(1));
    const B e = exp_of_minus_abs(x);
    const B tail = e / (one + e);
    return select(x > B(Value<B>(0)), (one - t) - tail, tail - t);
  }
  B curvature(B x, B) const { return Logistic<B>(x).slope(); }
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
  B slope(B x, B t) const {
    const B product = t * x;
    return select(product < one, zero - t, select(product >= one, zero, product));
  }
  B curvature(B, B) const { return zero; }
};

template <class B>
struct Poisson {
  explicit Poisson(const double*) {}
  B value(B x, B t) const { return fnma(t, x, vexp(x)); }
  B gradient(B x, B t) const { return vexp(x) - t; }
  B slope(B x, B t) const { return vexp(x) - t; }
  B curvature(B x, B) const { return vexp(x); }
};

template <class B>
struct Gamma {
  B shape;

  explicit Gamma(const double* parameters) : shape(static_cast<Value<B>>(parameters[0])) {}
  B value(B x, B t) const { return shape * (ratio(x, t) + x); }
  B gradient(B x, B t) const { return shape * (B(Value<B>(1)) - ratio(x, t)); }
  B slope(B x, B t) const { return shape - shape * ratio(x, t); }
  B curvature(B x, B t) const { return shape * ratio(x, t); }

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
    const B tail = log1p_unit(exp_of_minus_abs(u));
    return fma(r, at_least(u, zero) + tail, t * (at_least(zero - u, zero) + tail + log_alpha));
  }
  B gradient(B x, B t) const {
    const B u = x + log_alpha;
    const Logistic<B> logistic(u);
    return fnma(t, logistic.complement(u), r * logistic.value(u));
  }
  B slope(B x, B t) const {
    const B one(Value<B>(1));
    const B u = x + log_alpha;
    const B e = exp_of_minus_abs(u);
    const B near = one / (one + e);  // sigmoid(|u|)
    const B far = e / (one + e);
    const auto positive = u > B(Value<B>(0));
    return r * select(positive, near, far) - t * select(positive, far, near);
  }
  B curvature(B x, B t) const { return (r + t) * Logistic<B>(x + log_alpha).slope(); }
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
void loss_tangent(In<B> x, In<B> target, const double* parameters, In<B> tx, Out<B> tloss) {
  using T = Value<B>;
  const L<B> f(parameters);
  if (dense_columns(x, target, tx, tloss)) {
    map<B>(
        tloss, [f](B v, B t, B along) { return f.slope(v, t) * along; }, x, target, tx);
    return;
  }
  for (Index i = 0; i < x.rows; ++i) {
    const T sum = sum_over_row<B>(x.columns, [&](Index j, auto lanes) {
      return f.slope(lanes.load(x.row(i) + j), lanes.load(target.row(i) + j)) *
             lanes.load(tx.row(i) + j);
    });
    tloss(i, 0) = sum / static_cast<T>(x.columns);
  }
}

template <class B, template <class> class L>
void loss_curvature(In<B> x, In<B> target, const double* parameters, In<B> dloss, In<B> tx,
                    Out<B> dx, bool accumulate) {
  using T = Value<B>;
  const L<B> f(parameters);
  for (Index i = 0; i < x.rows; ++i) {
    const B d(dloss(i, 0) / static_cast<T>(x.columns));
    const auto scaled = [f, d](B v, B t, B along) {
      const B zero(T(0));
      return select(d == zero, zero, d * (f.curvature(v, t) * along));
    };
    const auto row = [&](In<B> view) { return In<B>{view.row(i), 1, view.columns, view.ld}; };
    map_into<B>(accumulate, Out<B>{dx.row(i), 1, dx.columns, dx.ld}, scaled, row(x), row(target),
                row(tx));
  }
}

template <class B, template <class> class L>
constexpr void set_loss(Kernels<Value<B>>& kernels, LossKernel which) {
  const auto k = static_cast<std::size_t>(which);
  kernels.loss[k] = &loss_forward<B, L>;
  kernels.loss_backward[k] = &loss_backward<B, L>;
  kernels.loss_tangent[k] = &loss_tangent<B, L>;
  kernels.loss_curvature[k] = &loss_curvature<B, L>;
}

}  // namespace chainrule::simd
