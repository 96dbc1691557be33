// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>
#include <utility>

#include "math_coefficients.hpp"
#include "simd.hpp"

// Elementary functions on batches. Accuracy: chainrule/kernels/accuracy.hpp. All of them return NaN
// for NaN. A bound on an argument is a select, so that NaN passes it.

namespace chainrule::simd {

/// c[0] + c[1] x + ... by Horner's rule.
template <class B, std::size_t N>
B polynomial(B x, const Value<B> (&c)[N]) {
  B y(c[N - 1]);
  [&]<std::size_t... I>(std::index_sequence<I...>) { ((y = fma(y, x, B(c[N - 2 - I]))), ...); }
  (std::make_index_sequence<N - 1>{});
  return y;
}

/// exp(x) = 2^power * (1 + excess), |excess| < 0.42. Precise also carries what rounding takes from
/// the reduced argument, which matters where 1 cancels.
template <class B, bool Precise = false>
struct ReducedExp {
  B power;
  B excess;

  explicit ReducedExp(B x) {
    using C = ExpCoefficients<Value<B>>;
    power = round_to_integer(x * B(C::kLog2E));
    // Cody and Waite: power * kLn2High is exact.
    const B high = fnma(power, B(C::kLn2High), x);
    const B r = fnma(power, B(C::kLn2Low), high);
    if constexpr (Precise) {
      const B lost = fnma(power, B(C::kLn2Low), high - r);
      excess = r + fma(r * r, polynomial(r, C::kTail), lost);
    } else {
      excess = fma(r * r, polynomial(r, C::kTail), r);
    }
  }
};

template <class B>
B vexp(B x) {
  using T = Value<B>;
  // Beyond these the result has long been inf or 0.
  const T low = sizeof(T) == 4 ? T(-105) : T(-747);
  const T high = sizeof(T) == 4 ? T(90) : T(711);
  const ReducedExp<B> e(at_most(at_least(x, B(low)), B(high)));
  return scale_by_power(B(T(1)) + e.excess, e.power);
}

/// exp(x) - 1 for x <= 0 without cancellation.
template <class B>
B expm1_nonpositive(B x) {
  using T = Value<B>;
  const ReducedExp<B, true> e(at_least(x, B(T(-45))));
  const B scale = power_of_two(e.power);
  return fma(scale, e.excess, scale - B(T(1)));
}

/// log(u) + correction for normal positive u (FreeBSD's e_log.c).
template <class B>
B log_corrected(B u, B correction) {
  using T = Value<B>;
  using C = LogCoefficients<T>;
  const Word<B> shifted = to_bits(u) + Word<B>(C::kOneBits - C::kSqrtHalfBits);
  const Word<B> mantissa = shifted & Word<B>(C::kMantissaMask);
  const B m = from_bits<B>(mantissa + Word<B>(C::kSqrtHalfBits));
  // An integer or-ed into the mantissa of 2^mantissa bits becomes that float.
  const B k = from_bits<B>((shifted >> kMantissaBits<T>) | Word<B>(C::kExponentMagicBits)) -
              B(C::kExponentMagic);
  const B f = m - B(T(1));
  const B s = f / (B(T(2)) + f);
  const B z = s * s;
  const B w = z * z;
  const B tail = z * polynomial(w, C::kOdd) + w * polynomial(w, C::kEven);
  const B half_square = B(T(0.5)) * f * f;
  const B low = fma(s, half_square + tail, fma(k, B(C::kLn2Low), correction));
  return fma(k, B(C::kLn2High), f - (half_square - low));
}

template <class B>
B vlog(B x) {
  using T = Value<B>;
  using Limits = std::numeric_limits<T>;
  const T scale = sizeof(T) == 4 ? T(8388608) : T(18014398509481984.0);  // 2^23, 2^54
  const T shift = sizeof(T) == 4 ? T(15.942385152878742) : T(37.429947750237047);
  const auto denormal = x < B(Limits::min());
  const B zero(T(0));
  const B y = log_corrected(select(denormal, x * B(scale), x), zero);
  B result = select(denormal, y - B(shift), y);
  result = select(x == B(Limits::infinity()), x, result);
  result = select(x == zero, B(-Limits::infinity()), result);
  return select(x >= zero, result, B(Limits::quiet_NaN()));
}

/// log(1 + x) for x in [0, 1].
template <class B>
B log1p_unit(B x) {
  const B one(Value<B>(1));
  const B u = one + x;
  return log_corrected(u, (x - (u - one)) / u);
}

/// numerator / (larger + smaller) for a sum in [1, 2], as if the sum were not rounded.
template <class B>
B divide_by_sum(B numerator, B larger, B smaller) {
  using T = Value<B>;
  const B sum = larger + smaller;
  const B lost = (larger - sum) + smaller;
  const B quotient = numerator / sum;
  const B about_inverse = fnma(sum, B(T(0.5)), B(T(1.5)));
  const B remainder = fnma(quotient, lost, fnma(quotient, sum, numerator));
  return fma(remainder, about_inverse, quotient);
}

/// What sigmoid and its derivatives share.
template <class B>
struct Logistic {
  B one = B(Value<B>(1));
  B small;  ///< exp(-|x|)

  explicit Logistic(B x) : small(vexp(-abs(x))) {}

  /// 1 / (1 + exp(-x)).
  B value(B x) const { return divide_by_sum(select(x < B(Value<B>(0)), small, one), one, small); }
  /// 1 - value(x), without cancellation.
  B complement(B x) const { return value(-x); }
  /// value * complement.
  B slope() const { return small / ((one + small) * (one + small)); }
};

template <class B>
B sigmoid(B x) {
  return Logistic<B>(x).value(x);
}

/// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)).
template <class B>
B softplus(B x) {
  return at_least(x, B(Value<B>(0))) + log1p_unit(vexp(-abs(x)));
}

template <class B>
B vtanh(B x) {
  using T = Value<B>;
  const B e = expm1_nonpositive(B(T(-2)) * abs(x));
  return with_sign(divide_by_sum(e, B(T(2)), e), x);
}

/// The lower tail of the standard normal distribution at -|x|, and its density.
template <class B>
struct NormalTail {
  B tail;     ///< Phi(-|x|)
  B density;  ///< exp(-x^2 / 2) / sqrt(2 pi)

  /// Phi(-a) = exp(-a^2 / 2) h((a - 4) / (a + 4)) / (a + 4): h is smooth, so the tail keeps its
  /// relative accuracy where 0.5 (1 + erf) cancels.
  explicit NormalTail(B x) {
    using T = Value<B>;
    using C = NormalTailCoefficients<T>;
    const B a = at_most(abs(x), B(C::kBound));
    // a^2 in two parts: the first 12 (26) bits of a have an exact square.
    const B head = from_bits<B>(to_bits(a) & Word<B>(C::kHeadMask));
    const B rest = (a - head) * (a + head);
    const B e = vexp(B(T(-0.5)) * head * head) * exp_small(B(T(-0.5)) * rest);
    const B inverse = B(T(1)) / (a + B(T(4)));
    const B h = polynomial((a - B(T(4))) * inverse, C::kRatio);
    tail = e * (h * inverse);
    density = e * B(T(0.398942280401432677939946));
  }

  /// Phi(x).
  B below(B x) const { return select(x < B(Value<B>(0)), tail, B(Value<B>(1)) - tail); }

 private:
  static B exp_small(B x) {
    using C = ExpCoefficients<Value<B>>;
    return B(Value<B>(1)) + fma(x * x, polynomial(x, C::kTail), x);
  }
};

}  // namespace chainrule::simd
