// SPDX-License-Identifier: Apache-2.0
#pragma once

// The one place that knows which xsimd is installed (8.1 to 14). Kernel bodies see batches only
// through the names in this header and the operators + - * / and comparisons of xsimd::batch.
//
// Traps of xsimd 8.1 that the names here step around: fma() multiplies and adds on AVX-512,
// max(NaN, 0) differs between versions, batch_bool ^ is wrong on AVX-512, cpuid forgets the
// operating system.

#include <bit>
#include <cstdint>
#include <type_traits>

#include "chainrule/core/tensor.hpp"

#if defined(__AVX512BW__)
#include "native_avx512.hpp"
#elif defined(__AVX2__)
#include "native_avx2.hpp"
#elif defined(__SSE2__)
#include "native_sse2.hpp"
#elif defined(__aarch64__)
#include "native_neon.hpp"
#else
#error "no kernels for this architecture"
#endif

namespace chainrule::simd {

// Batches are made with B(x), never B{x}: xsimd would take that for a list of lanes. A function
// named as one of xsimd's would lose to it by argument-dependent lookup: hence vexp, vlog, vtanh.

template <class T, class Arch>
using Batch = xsimd::batch<T, Arch>;

template <class B>
using Value = typename B::value_type;

template <class B>
inline constexpr Index kLanes = static_cast<Index>(B::size);

using xsimd::abs;
using xsimd::select;
using xsimd::sqrt;

/// The larger one; b where either is NaN.
template <class B>
B larger(B a, B b) {
  return select(a > b, a, b);
}
/// a, or `low` where a is less than that; NaN stays NaN.
template <class B>
B at_least(B a, B low) {
  return select(a < low, low, a);
}
template <class B>
B at_most(B a, B high) {
  return select(a > high, high, a);
}

// Bits. Word<B> is the batch of unsigned integers as wide as B's elements.

template <class B>
using WordOf = std::conditional_t<sizeof(Value<B>) == 4, std::uint32_t, std::uint64_t>;
template <class B>
using Word = xsimd::batch<WordOf<B>, typename B::arch_type>;

template <class B>
Word<B> to_bits(B x) {
#if XSIMD_VERSION_MAJOR < 9
  return xsimd::bitwise_cast<Word<B>>(x);
#else
  return xsimd::bitwise_cast<WordOf<B>>(x);
#endif
}
template <class B>
B from_bits(Word<B> x) {
#if XSIMD_VERSION_MAJOR < 9
  return xsimd::bitwise_cast<B>(x);
#else
  return xsimd::bitwise_cast<Value<B>>(x);
#endif
}

template <class B>
inline constexpr WordOf<B> kSignBit = WordOf<B>{1} << (8 * sizeof(Value<B>) - 1);

/// |magnitude| with the sign bit of `sign`.
template <class B>
B with_sign(B magnitude, B sign) {
  return from_bits<B>(to_bits(abs(magnitude)) | (to_bits(sign) & Word<B>(kSignBit<B>)));
}
/// -|x|.
template <class B>
B minus_abs(B x) {
  return from_bits<B>(to_bits(x) | Word<B>(kSignBit<B>));
}

template <class T>
inline constexpr int kMantissaBits = sizeof(T) == 4 ? 23 : 52;

/// Adding it rounds to the nearest integer and leaves that integer in the low bits.
template <class T>
inline constexpr T kRoundingMagic = sizeof(T) == 4
                                        ? T{12582912.0}
                                        : T{6755399441055744.0};  // 1.5 * 2^mantissa bits

/// x rounded to the nearest integer, |x| < 2^(mantissa bits - 1).
template <class B>
B round_to_integer(B x) {
  const B magic(kRoundingMagic<Value<B>>);
  return (x + magic) - magic;
}

/// 2^n for integral n inside the normal range.
template <class B>
B power_of_two(B n) {
  const Word<B> bits = to_bits(n + B(kRoundingMagic<Value<B>>));
  const WordOf<B> one = std::bit_cast<WordOf<B>>(Value<B>{1});
  return from_bits<B>((bits << kMantissaBits<Value<B>>)+Word<B>(one));
}

#if !defined(__AVX512BW__)
/// value * 2^exponent, also where 2^exponent alone would overflow or be denormal.
template <class B>
B scale_by_power(B value, B exponent) {
  const B half = round_to_integer(exponent * B(Value<B>(0.5)));
  return value * power_of_two(half) * power_of_two(exponent - half);
}
#endif

/// scale x^2 = square - excess without error, the scale being a power of two. Without FMA: the
/// first half of x's bits has an exact square.
template <class B>
struct ExactSquare {
  B square;
  B excess;

  ExactSquare(B x, B scale) {
    if constexpr (kHasFma) {
      square = (scale * x) * x;
      excess = fnma(scale * x, x, square);
    } else {
      constexpr WordOf<B> kHead = ~WordOf<B>{0} << (kMantissaBits<Value<B>> / 2 + 1);
      const B head = from_bits<B>(to_bits(x) & Word<B>(kHead));
      square = (scale * head) * head;
      excess = (scale * (head - x)) * (head + x);
    }
  }
};

struct Plus {
  template <class B>
  B operator()(B a, B b) const {
    return a + b;
  }
};
struct Larger {
  template <class B>
  B operator()(B a, B b) const {
    return larger(a, b);
  }
};

/// Sum of all lanes, in a fixed tree.
template <class B>
Value<B> reduce_sum(B x) {
  return fold(x, Plus{});
}
template <class B>
Value<B> reduce_max(B x) {
  return fold(x, Larger{});
}

/// One vector of column sums held in double.
template <class B>
class WideSum {
 public:
  WideSum() = default;
  /// Starts from one double a lane.
  explicit WideSum(const double* start) : low_(D::load_unaligned(start)) {
    if constexpr (kWide) high_ = D::load_unaligned(start + kLanes<D>);
  }
  void add(B x) {
    if constexpr (kWide) {
      const auto [low, high] = widen(x);
      low_ = low_ + low;
      high_ = high_ + high;
    } else {
      low_ = low_ + x;
    }
  }
  /// total * scale, rounded to the element type.
  B scaled(double scale) const {
    if constexpr (kWide) {
      return narrow(low_ * D(scale), high_ * D(scale));
    } else {
      return low_ * D(scale);
    }
  }
  B value() const { return scaled(1.0); }
  /// Of all lanes, in a fixed tree.
  double total() const {
    if constexpr (kWide) {
      return reduce_sum(low_ + high_);
    } else {
      return reduce_sum(low_);
    }
  }
  void store_to(double* to) const {
    low_.store_unaligned(to);
    if constexpr (kWide) high_.store_unaligned(to + kLanes<D>);
  }

 private:
  static constexpr bool kWide = sizeof(Value<B>) == sizeof(float);
  using D = xsimd::batch<double, typename B::arch_type>;
  D low_ = D(0.0);
  D high_ = D(0.0);
};

}  // namespace chainrule::simd
