// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "math.hpp"

// One struct a function: operator() is y = f(x), gradient(source, dy) is dy * f', with the source
// that unary_reads_output() names. A comparison with NaN is false: each select is written so that
// NaN ends in the branch that keeps it.

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
  B operator()(B x) const { return select(x <= zero, zero, x); }
  B gradient(B y, B dy) const { return select(y > zero, dy, y * zero); }
};

template <class B>
struct LeakyRelu {
  B zero = B(Value<B>(0));
  B slope;

  explicit LeakyRelu(const double* parameters) : slope(static_cast<Value<B>>(parameters[0])) {}
  B operator()(B x) const { return select(x > zero, x, slope * x); }
  B gradient(B x, B dy) const { return select(x > zero, dy, select(x <= zero, slope, x) * dy); }
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
};

template <class B>
struct Sigmoid {
  explicit Sigmoid(const double*) {}
  B operator()(B x) const { return sigmoid(x); }
  B gradient(B y, B dy) const { return dy * (y * (B(Value<B>(1)) - y)); }
};

template <class B>
struct Tanh {
  explicit Tanh(const double*) {}
  B operator()(B x) const { return vtanh(x); }
  B gradient(B y, B dy) const { return dy * fnma(y, y, B(Value<B>(1))); }
};

template <class B>
struct Softplus {
  explicit Softplus(const double*) {}
  B operator()(B x) const { return softplus(x); }
  B gradient(B x, B dy) const { return dy * sigmoid(x); }
};

template <class B>
struct Silu {
  explicit Silu(const double*) {}
  B operator()(B x) const { return at_least(x, B(Value<B>(-1000))) * sigmoid(x); }
  B gradient(B x, B dy) const {
    const Logistic<B> logistic(x);
    return dy * fma(bounded(x), logistic.slope(), logistic.value(x));
  }
};

template <class B>
struct Gelu {
  explicit Gelu(const double*) {}
  B operator()(B x) const { return at_least(x, B(Value<B>(-1000))) * NormalTail<B>(x).below(x); }
  B gradient(B x, B dy) const {
    const NormalTail<B> normal(x);
    return dy * fma(bounded(x), normal.density, normal.below(x));
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
};

template <class B>
struct Exp {
  explicit Exp(const double*) {}
  B operator()(B x) const { return vexp(x); }
  B gradient(B y, B dy) const { return dy * y; }
};

template <class B>
struct Log {
  explicit Log(const double*) {}
  B operator()(B x) const { return vlog(x); }
  B gradient(B x, B dy) const { return dy / x; }
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
constexpr void set_unary(Kernels<Value<B>>& kernels, UnaryKernel which) {
  kernels.unary[static_cast<std::size_t>(which)] = &unary_forward<B, F>;
  kernels.unary_backward[static_cast<std::size_t>(which)] = &unary_backward<B, F>;
}

}  // namespace chainrule::simd
