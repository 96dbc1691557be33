// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "math.hpp"

// One struct a function: operator() is y = f(x), gradient(source, dy) is dy * f' and
// curvature(source) is f'', with the source that unary_reads_output() names. slope(x) is f' once
// more, from x and by other formulas where there are any: forward mode checks backward. A
// comparison with NaN is false: each select is written so that NaN ends in the branch that keeps
// it.

namespace chainrule::simd {

/// Products with x stop here, where every factor has long reached its limit; avoids 0 * inf.
template <class B>
B bounded(B x) {
  return at_most(at_least(x, B(Value<B>(-1000))), B(Value<B>(1000)));
}

template <class B>
struct Relu {
  B zero = B(Value<B>(0));

  explicit Relu(const double*) {}
  B operator()(B x) const { return at_least(x, zero); }
  B gradient(B y, B dy) const { return select(y > zero, dy, y * zero); }
  B slope(B x) const { return select(x > zero, B(Value<B>(1)), select(x <= zero, zero, x)); }
  B curvature(B) const { return zero; }
};

template <class B>
struct LeakyRelu {
  B zero = B(Value<B>(0));
  B negative;  ///< the slope there

  explicit LeakyRelu(const double* parameters) : negative(static_cast<Value<B>>(parameters[0])) {}
  B operator()(B x) const { return select(x > zero, x, negative * x); }
  B gradient(B x, B dy) const { return select(x > zero, dy, select(x <= zero, negative, x) * dy); }
  B slope(B x) const { return select(x > zero, B(Value<B>(1)), select(x <= zero, negative, x)); }
  B curvature(B) const { return zero; }
};

template <class B>
struct Elu {
  B zero = B(Value<B>(0));
  B alpha;

  explicit Elu(const double* parameters) : alpha(static_cast<Value<B>>(parameters[0])) {}
  B operator()(B x) const {
    return select(x > zero, x, alpha * expm1_nonpositive(at_most(x, zero)));
  }
  B gradient(B y, B dy) const { return select(y > zero, dy, (y + alpha) * dy); }
  B slope(B x) const { return select(x > zero, B(Value<B>(1)), alpha * vexp(at_most(x, zero))); }
  B curvature(B y) const { return select(y > zero, zero, y + alpha); }
};

template <class B>
struct Sigmoid {
  explicit Sigmoid(const double*) {}
  B operator()(B x) const { return sigmoid(x); }
  B gradient(B y, B dy) const { return dy * (y * (B(Value<B>(1)) - y)); }
  B slope(B x) const { return Logistic<B>(x).slope(); }
  B curvature(B y) const {
    const B one(Value<B>(1));
    return y * (one - y) * fnma(B(Value<B>(2)), y, one);
  }
};

template <class B>
struct Tanh {
  explicit Tanh(const double*) {}
  B operator()(B x) const { return vtanh(x); }
  B gradient(B y, B dy) const { return dy * fnma(y, y, B(Value<B>(1))); }
  /// 1 / cosh^2.
  B slope(B x) const { return B(Value<B>(4)) * Logistic<B>(x + x).slope(); }
  B curvature(B y) const { return B(Value<B>(-2)) * y * fnma(y, y, B(Value<B>(1))); }
};

template <class B>
struct Softplus {
  explicit Softplus(const double*) {}
  B operator()(B x) const { return softplus(x); }
  B gradient(B x, B dy) const { return dy * sigmoid(x); }
  B slope(B x) const {
    const B one(Value<B>(1));
    const B small = exp_of_minus_abs(x);
    return select(x > B(Value<B>(0)), one, small) / (one + small);
  }
  B curvature(B x) const { return Logistic<B>(x).slope(); }
};

template <class B>
struct Silu {
  explicit Silu(const double*) {}
  B operator()(B x) const { return at_least(x, B(Value<B>(-1000))) * sigmoid(x); }
  B gradient(B x, B dy) const {
    const Logistic<B> logistic(x);
    return dy * fma(bounded(x), logistic.slope(), logistic.value(x));
  }
  B slope(B x) const {
    const Logistic<B> logistic(x);
    return logistic.value(x) * fma(bounded(x), logistic.complement(x), B(Value<B>(1)));
  }
  /// s' (2 + x (1 - 2 s)), s = sigmoid(x).
  B curvature(B x) const {
    const Logistic<B> logistic(x);
    const B two(Value<B>(2));
    const B odd = fnma(two, logistic.value(x), B(Value<B>(1)));
    return logistic.slope() * fma(bounded(x), odd, two);
  }
};

template <class B>
struct Gelu {
  explicit Gelu(const double*) {}
  /// x Phi(x) = max(x, 0) - |x| Phi(-|x|).
  B operator()(B x) const {
    const NormalTail<B> normal(x);
    return fnma(normal.distance, normal.tail, at_least(x, B(Value<B>(0))));
  }
  B gradient(B x, B dy) const {
    const NormalTail<B> normal(x);
    return dy * fma(bounded(x), normal.density, normal.below(x));
  }
  B slope(B x) const {
    const NormalTail<B> normal(x);
    return normal.below(x) + bounded(x) * normal.density;
  }
  B curvature(B x) const {
    const B bound = bounded(x);
    return NormalTail<B>(x).density * fnma(bound, bound, B(Value<B>(2)));
  }
};

/// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <class B>
struct GeluTanh {
  using T = Value<B>;
  static constexpr double kScale = 2.0 * 0.7978845608028653558799;

  explicit GeluTanh(const double*) {}
  B operator()(B x) const {
    const B bound = bounded(x);
    const B cubic = fma(bound * bound, B(T(kScale * 0.044715)), B(T(kScale)));
    return at_least(x, B(T(-1000))) * sigmoid(bound * cubic);
  }
  B gradient(B x, B dy) const {
    const B bound = bounded(x);
    const B square = bound * bound;
    const B u2 = bound * fma(square, B(T(kScale * 0.044715)), B(T(kScale)));
    const B du2 = fma(square, B(T(kScale * 3 * 0.044715)), B(T(kScale)));
    const Logistic<B> logistic(u2);
    return dy * fma(bound * du2, logistic.slope(), logistic.value(u2));
  }
  /// s (1 + x v' (1 - s)), s = sigmoid(v), v = 2 u.
  B slope(B x) const {
    const B bound = bounded(x);
    const B square = bound * bound;
    const B v = bound * fma(square, B(T(kScale * 0.044715)), B(T(kScale)));
    const B v1 = fma(square, B(T(kScale * 3 * 0.044715)), B(T(kScale)));
    const Logistic<B> logistic(v);
    return logistic.value(v) * fma(bound * v1, logistic.complement(v), B(T(1)));
  }
  /// s' (2 v' + x v'' + x v'^2 (1 - 2 s)), s = sigmoid(v), v = 2 u.
  B curvature(B x) const {
    const B bound = bounded(x), two(T(2));
    const B square = bound * bound;
    const B v = bound * fma(square, B(T(kScale * 0.044715)), B(T(kScale)));
    const B v1 = fma(square, B(T(kScale * 3 * 0.044715)), B(T(kScale)));
    const B v2 = bound * B(T(kScale * 6 * 0.044715));
    const Logistic<B> logistic(v);
    const B odd = fnma(two, logistic.value(v), B(T(1)));
    return logistic.slope() * fma(two, v1, bound * fma(v1 * v1, odd, v2));
  }
};

template <class B>
struct Exp {
  explicit Exp(const double*) {}
  B operator()(B x) const { return vexp(x); }
  B gradient(B y, B dy) const { return dy * y; }
  B slope(B x) const { return vexp(x); }
  B curvature(B y) const { return y; }
};

template <class B>
struct Log {
  explicit Log(const double*) {}
  B operator()(B x) const { return vlog(x); }
  B gradient(B x, B dy) const { return dy / x; }
  B slope(B x) const { return B(Value<B>(1)) / x; }
  B curvature(B x) const {
    const B inverse = B(Value<B>(1)) / x;
    return (B(Value<B>(0)) - inverse) * inverse;
  }
};

template <class B, template <class> class F>
void unary_forward(In<B> x, Out<B> y, const double* parameters) {
  map<B>(
      y, [f = F<B>(parameters)](B v) { return f(v); }, x);
}

template <class B, template <class> class F>
void unary_backward(In<B> source, In<B> dy, Out<B> dx, const double* parameters, bool accumulate) {
  map_into<B>(
      accumulate, dx, [f = F<B>(parameters)](B s, B d) { return f.gradient(s, d); }, source, dy);
}

template <class B, template <class> class F>
void unary_tangent(In<B> x, In<B> tx, Out<B> ty, const double* parameters) {
  map<B>(
      ty, [f = F<B>(parameters)](B v, B t) { return f.slope(v) * t; }, x, tx);
}

template <class B, template <class> class F>
void unary_curvature(In<B> source, In<B> dy, In<B> tx, Out<B> dx, const double* parameters,
                     bool accumulate) {
  const auto product = [f = F<B>(parameters)](B s, B d, B t) { return d * (f.curvature(s) * t); };
  map_into<B>(accumulate, dx, product, source, dy, tx);
}

template <class B, template <class> class F>
constexpr void set_unary(Kernels<Value<B>>& kernels, UnaryKernel which) {
  const auto k = static_cast<std::size_t>(which);
  kernels.unary[k] = &unary_forward<B, F>;
  kernels.unary_backward[k] = &unary_backward<B, F>;
  kernels.unary_tangent[k] = &unary_tangent<B, F>;
  kernels.unary_curvature[k] = &unary_curvature<B, F>;
}

template <class B>
constexpr void set_all_unary(Kernels<Value<B>>& kernels) {
  set_unary<B, Relu>(kernels, UnaryKernel::kRelu);
  set_unary<B, LeakyRelu>(kernels, UnaryKernel::kLeakyRelu);
  set_unary<B, Elu>(kernels, UnaryKernel::kElu);
  set_unary<B, Sigmoid>(kernels, UnaryKernel::kSigmoid);
  set_unary<B, Tanh>(kernels, UnaryKernel::kTanh);
  set_unary<B, Softplus>(kernels, UnaryKernel::kSoftplus);
  set_unary<B, Silu>(kernels, UnaryKernel::kSilu);
  set_unary<B, Gelu>(kernels, UnaryKernel::kGelu);
  set_unary<B, GeluTanh>(kernels, UnaryKernel::kGeluTanh);
  set_unary<B, Exp>(kernels, UnaryKernel::kExp);
  set_unary<B, Log>(kernels, UnaryKernel::kLog);
}

}  // namespace chainrule::simd
