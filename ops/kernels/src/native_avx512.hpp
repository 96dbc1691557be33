// SPDX-License-Identifier: Apache-2.0
#pragma once

// What xsimd lacks, or does slowly, on AVX-512. Every native_*.hpp offers the same names.

#include <immintrin.h>

#include <utility>
#include <xsimd/xsimd.hpp>

namespace chainrule::simd {

using NativeArch = xsimd::avx512bw;
using Floats = xsimd::batch<float, NativeArch>;
using Doubles = xsimd::batch<double, NativeArch>;

/// Most accumulator rows of the gemm microkernel at two vectors a row.
inline constexpr int kGemmRows = 14;
inline constexpr int kVectorRegisters = 32;
/// fma() rounds once.
inline constexpr bool kHasFma = true;
/// look_up() takes an instruction.
inline constexpr bool kHasTables = true;

// xsimd 8.1's fma is a multiplication and an addition here.
inline Floats fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm512_fmadd_pd(a, b, c); }
inline Floats fnma(Floats a, Floats b, Floats c) { return _mm512_fnmadd_ps(a, b, c); }
inline Doubles fnma(Doubles a, Doubles b, Doubles c) { return _mm512_fnmadd_pd(a, b, c); }

/// a, or `low` where a is less than that; NaN stays NaN.
inline Floats at_least(Floats a, Floats low) { return _mm512_max_ps(low, a); }
inline Doubles at_least(Doubles a, Doubles low) { return _mm512_max_pd(low, a); }
inline Floats at_most(Floats a, Floats high) { return _mm512_min_ps(high, a); }
inline Doubles at_most(Doubles a, Doubles high) { return _mm512_min_pd(high, a); }

/// |magnitude| with the sign bit of `sign`.
inline Floats with_sign(Floats magnitude, Floats sign) {
  constexpr int kSelect = 0xca;  // where a bit of the first is 1 that of the second, or the third's
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7fffffff),
                                                       _mm512_castps_si512(magnitude),
                                                       _mm512_castps_si512(sign), kSelect));
}

/// table[index mod its size].
inline Floats look_up(const float (&table)[16], xsimd::batch<std::uint32_t, NativeArch> index) {
  return _mm512_permutexvar_ps(index, _mm512_load_ps(table));
}
inline Floats look_up(const float (&table)[32], xsimd::batch<std::uint32_t, NativeArch> index) {
  return _mm512_permutex2var_ps(_mm512_load_ps(table), index, _mm512_load_ps(table + 16));
}

/// value * 2^exponent with one rounding; the exponent is rounded down.
inline Floats scale_by_power(Floats value, Floats exponent) {
  return _mm512_scalef_ps(value, exponent);
}
inline Doubles scale_by_power(Doubles value, Doubles exponent) {
  return _mm512_scalef_pd(value, exponent);
}

inline __mmask16 first_floats(Index count) {
  return static_cast<__mmask16>((1U << static_cast<unsigned>(count)) - 1U);
}
inline __mmask8 first_doubles(Index count) {
  return static_cast<__mmask8>((1U << static_cast<unsigned>(count)) - 1U);
}

/// The first `count` lanes from memory, zero in the others.
inline Floats load_first(const float* from, Index count) {
  return _mm512_maskz_loadu_ps(first_floats(count), from);
}
inline Doubles load_first(const double* from, Index count) {
  return _mm512_maskz_loadu_pd(first_doubles(count), from);
}
inline void store_first(float* to, Floats value, Index count) {
  _mm512_mask_storeu_ps(to, first_floats(count), value);
}
inline void store_first(double* to, Doubles value, Index count) {
  _mm512_mask_storeu_pd(to, first_doubles(count), value);
}

/// The same. What a masked store has written reaches a load some 12 cycles later than what another
/// has: one element and half a vector go without a mask.
inline Floats load_tail(const float* from, Index count) {
  if (count == 1) return _mm512_zextps128_ps512(_mm_load_ss(from));
  if (count == 8) return _mm512_zextps256_ps512(_mm256_loadu_ps(from));
  return load_first(from, count);
}
inline Doubles load_tail(const double* from, Index count) {
  if (count == 1) return _mm512_zextpd128_pd512(_mm_load_sd(from));
  if (count == 4) return _mm512_zextpd256_pd512(_mm256_loadu_pd(from));
  return load_first(from, count);
}
inline void store_tail(float* to, Floats value, Index count) {
  if (count == 1) {
    _mm_store_ss(to, _mm512_castps512_ps128(value));
  } else if (count == 8) {
    _mm256_storeu_ps(to, _mm512_castps512_ps256(value));
  } else {
    store_first(to, value, count);
  }
}
inline void store_tail(double* to, Doubles value, Index count) {
  if (count == 1) {
    _mm_store_sd(to, _mm512_castpd512_pd128(value));
  } else if (count == 4) {
    _mm256_storeu_pd(to, _mm512_castpd512_pd256(value));
  } else {
    store_first(to, value, count);
  }
}

/// `value` in the first `count` lanes, `other` in the rest.
inline Floats keep_first(Floats value, Index count, Floats other) {
  return _mm512_mask_blend_ps(first_floats(count), other, value);
}
inline Doubles keep_first(Doubles value, Index count, Doubles other) {
  return _mm512_mask_blend_pd(first_doubles(count), other, value);
}

inline std::pair<Doubles, Doubles> widen(Floats x) {
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(x)),
          _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
}
inline Floats narrow(Doubles low, Doubles high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
}

/// a0, b0, a1, b1, ...: the first half of it, and the second.
inline std::pair<Floats, Floats> interleave(Floats a, Floats b) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
  return {_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b)};
}
inline std::pair<Doubles, Doubles> interleave(Doubles a, Doubles b) {
  const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i high = _mm512_add_epi64(low, _mm512_set1_epi64(4));
  return {_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b)};
}

template <class Op>
float fold(Floats x, Op op) {
  using Half = xsimd::batch<float, xsimd::avx2>;
  using Quarter = xsimd::batch<float, xsimd::sse2>;
  const Half half = op(Half(_mm512_castps512_ps256(x)), Half(_mm512_extractf32x8_ps(x, 1)));
  Quarter y = op(Quarter(_mm256_castps256_ps128(half)), Quarter(_mm256_extractf128_ps(half, 1)));
  y = op(y, Quarter(_mm_movehl_ps(y, y)));
  y = op(y, Quarter(_mm_shuffle_ps(y, y, 1)));
  return _mm_cvtss_f32(y);
}
template <class Op>
double fold(Doubles x, Op op) {
  using Half = xsimd::batch<double, xsimd::avx2>;
  using Quarter = xsimd::batch<double, xsimd::sse2>;
  const Half half = op(Half(_mm512_castpd512_pd256(x)), Half(_mm512_extractf64x4_pd(x, 1)));
  Quarter y = op(Quarter(_mm256_castpd256_pd128(half)), Quarter(_mm256_extractf128_pd(half, 1)));
  y = op(y, Quarter(_mm_unpackhi_pd(y, y)));
  return _mm_cvtsd_f64(y);
}

}  // namespace chainrule::simd
