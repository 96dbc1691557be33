// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <iterator>
#include <limits>
#include <utility>

#include "math_coefficients.hpp"
#include "math_tables.hpp"
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

/// Tables are read where that takes an instruction and pays for the float32 functions below.
template <class B>
inline constexpr bool kTabled = kHasTables && sizeof(Value<B>) == sizeof(float);

/// A function on [0, Table::kBound], by a table of polynomials (tools/math_tables.cpp).
template <class Table, class B>
B by_pieces(B x) {
  constexpr int kDegree = static_cast<int>(std::size(Table::kCoefficients)) - 1;
  constexpr WordOf<B> kHead = ~WordOf<B>{0} << Table::kShift;
  const B origin(Table::kOrigin);
  const Word<B> bits = to_bits(x + origin);
  const B distance = x - (from_bits<B>(bits & Word<B>(kHead)) - origin);
  const Word<B> piece = bits >> Table::kShift;
  B y = look_up(Table::kCoefficients[kDegree], piece);
  [&]<int... I>(std::integer_sequence<int, I...>) {
    ((y = fma(y, distance, look_up(Table::kCoefficients[kDegree - 1 - I], piece))), ...);
  }
  (std::make_integer_sequence<int, kDegree>{});
  return y;
}

/// exp(x) = 2^power * (1 + excess), |excess| < 0.5. Precise also carries what rounding takes from
/// the reduced argument, which matters where 1 cancels.
template <class B, bool Precise = false>
struct ReducedExp {
  B power;
  B excess;

  explicit ReducedExp(B x) : ReducedExp(x, std::identity()) {}
  /// `correct` has the last word on the reduced argument.
  ReducedExp(B x, auto correct) {
    using C = ExpCoefficients<Value<B>>;
    power = round_to_integer(x * B(C::kLog2E));
    // Cody and Waite: power * kLn2High is exact.
    const B high = fnma(power, B(C::kLn2High), x);
    const B r = correct(fnma(power, B(C::kLn2Low), high));
    if constexpr (Precise) {
      const B lost = fnma(power, B(C::kLn2Low), high - r);
      excess = r + fma(r * r, polynomial(r, C::kTail), lost);
    } else {
      excess = fma(r * r, polynomial(r, C::kTail), r);
    }
  }
};

/// exp(x) = 2^power * mantissa, with the mantissa between 0.6 and 2. A table has the powers of
/// 2^(1/16) and, if that is to be Precise, what rounding took from them: there `power` counts
/// sixteenths, which are in the mantissa, and scale_by_power() drops them.
template <class B, bool Precise = true>
struct ExpParts {
  B mantissa;
  B power;

  explicit ExpParts(B x) : ExpParts(x, std::identity()) {}
  /// The argument is x - excess.
  ExpParts(B x, B excess) : ExpParts(x, [excess](B r) { return r - excess; }) {}

  B value() const { return scale_by_power(mantissa, power); }
  B times(B factor) const { return scale_by_power(mantissa * factor, power); }

 private:
  template <class Correct>
  ExpParts(B x, Correct correct) {
    if constexpr (kTabled<B>) {
      using C = ExpCoefficients<float>;
      const B magic(kRoundingMagic<float> / static_cast<float>(std::size(ExpTable::kPower)));
      const B sum = fma(x, B(C::kLog2E), magic);
      power = sum - magic;
      const B high = fnma(power, B(C::kLn2High), x);
      const B r = correct(fnma(power, B(C::kLn2Low), high));
      const B step = look_up(ExpTable::kPower, to_bits(sum));
      const B excess = fma(r * r, polynomial(r, ExpTable::kTail), r);
      if constexpr (Precise) {
        mantissa = step + fma(step, excess, look_up(ExpTable::kRest, to_bits(sum)));
      } else {
        mantissa = fma(step, excess, step);
      }
    } else {
      const ReducedExp<B> reduced(x, correct);
      mantissa = B(Value<B>(1)) + reduced.excess;
      power = reduced.power;
    }
  }
};

/// Beyond these exp(x) has long been 0 or inf.
template <class T>
inline constexpr T kExpLow = sizeof(T) == 4 ? T(-105) : T(-747);
template <class T>
inline constexpr T kExpHigh = sizeof(T) == 4 ? T(90) : T(711);

template <class B>
B vexp(B x) {
  using T = Value<B>;
  return ExpParts<B>(at_most(at_least(x, B(kExpLow<T>)), B(kExpHigh<T>))).value();
}

/// exp(-|x|).
template <class B>
B exp_of_minus_abs(B x) {
  using T = Value<B>;
  return ExpParts<B>(at_least(minus_abs(x), B(kExpLow<T>))).value();
}

/// exp(x) - 1 for x > -45 without cancellation.
template <class B>
B vexpm1(B x) {
  using T = Value<B>;
  const ReducedExp<B, true> e(x);
  const B scale = power_of_two(e.power);
  return fma(scale, e.excess, scale - B(T(1)));
}

template <class B>
B expm1_nonpositive(B x) {
  return vexpm1(at_least(x, B(Value<B>(-45))));
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
  if constexpr (kTabled<B>) return fma(x, by_pieces<Log1pPieces>(x), x);
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
  B zero = B(Value<B>(0));
  B small;  ///< exp(-|x|)

  explicit Logistic(B x) : small(exp_of_minus_abs(x)) {}

  /// 1 / (1 + exp(-x)).
  B value(B x) const { return part(select(x < zero, small, one)); }
  /// 1 - value(x), without cancellation.
  B complement(B x) const { return part(select(x > zero, small, one)); }
  /// value * complement.
  B slope() const { return fnma(lesser(), lesser(), lesser()); }

 private:
  /// The smaller one of value and complement.
  B lesser() const { return small / (one + small); }
  /// numerator / (1 + small), the numerator being one of these. Where exp has an error of little
  /// more than rounding, the shorter formula keeps the accuracy.
  B part(B numerator) const {
    if constexpr (kTabled<B>) return fnma(numerator, lesser(), numerator);
    return divide_by_sum(numerator, one, small);
  }
};

template <class B>
B sigmoid(B x) {
  return Logistic<B>(x).value(x);
}

/// log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)).
template <class B>
B softplus(B x) {
  return at_least(x, B(Value<B>(0))) + log1p_unit(exp_of_minus_abs(x));
}

template <class B>
B vtanh(B x) {
  using T = Value<B>;
  if constexpr (kTabled<B>) {
    return with_sign(by_pieces<TanhPieces>(at_most(abs(x), B(TanhPieces::kBound))), x);
  }
  const B two(T(2));
  if constexpr (!kHasFma) {
    // There are no exact remainders, so of the two forms the one that forgives more of e's error.
    const B e = vexpm1(two * at_most(abs(x), B(T(20))));
    const B sum = e + two, two_part = sum - e;
    const B lost = (e - (sum - two_part)) + (two - two_part);
    const B quotient = e / sum;
    return with_sign(quotient - quotient * (lost / sum), x);
  }
  const B e = expm1_nonpositive(two * minus_abs(x));
  return with_sign(divide_by_sum(e, two, e), x);
}

/// The lower tail of the standard normal distribution at -|x|, and its density.
template <class B>
struct NormalTail {
  B distance;  ///< |x|, or where the tail is 0 and |x| larger than that
  B tail;      ///< Phi(-|x|)
  B density;   ///< exp(-x^2 / 2) / sqrt(2 pi)

  explicit NormalTail(B x) : distance(at_most(abs(x), B(kBound))) {
    const ExactSquare<B> exponent(distance, B(T(-0.5)));
    const ExpParts<B, false> e(exponent.square, exponent.excess);
    tail = e.times(ratio());
    density = e.times(B(T(0.398942280401432677939946)));
  }

  /// Phi(x).
  B below(B x) const { return select(x < B(T(0)), tail, B(T(1)) - tail); }

 private:
  using T = Value<B>;
  static constexpr T kBound = NormalTailCoefficients<T>::kBound;

  /// h(a) = exp(a^2 / 2) Phi(-a) is smooth, so the tail keeps its relative accuracy where
  /// 0.5 (1 + erf) cancels. Without a table a polynomial has h(a) (a + 4) by (a - 4) / (a + 4).
  B ratio() const {
    if constexpr (kTabled<B>) return by_pieces<NormalTailPieces>(distance);
    const B inverse = B(T(1)) / (distance + B(T(4)));
    return polynomial((distance - B(T(4))) * inverse, NormalTailCoefficients<T>::kRatio) * inverse;
  }
};

}  // namespace chainrule::simd
