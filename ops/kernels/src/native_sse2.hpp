// SPDX-License-Identifier: Apache-2.0
#pragma once

// What xsimd lacks on plain x86-64; see native_avx512.hpp for the contracts.

#include <emmintrin.h>

#include <utility>
#include <xsimd/xsimd.hpp>

namespace chainrule::simd {

using NativeArch = xsimd::sse2;
using Floats = xsimd::batch<float, NativeArch>;
using Doubles = xsimd::batch<double, NativeArch>;

inline constexpr int kGemmRows = 4;
inline constexpr int kVectorRegisters = 16;
inline constexpr bool kHasFma = false;
inline constexpr bool kHasTables = false;

// No FMA here: two roundings, always, so that results do not depend on the compiler.
inline Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return a * b + c; }
inline Floats fnma(Floats a, Floats b, Floats c) { return c - a * b; }
inline Doubles fnma(Doubles a, Doubles b, Doubles c) { return c - a * b; }

inline Floats at_least(Floats a, Floats low) { return _mm_max_ps(low, a); }
inline Doubles at_least(Doubles a, Doubles low) { return _mm_max_pd(low, a); }
inline Floats at_most(Floats a, Floats high) { return _mm_min_ps(high, a); }
inline Doubles at_most(Doubles a, Doubles high) { return _mm_min_pd(high, a); }

inline Floats load_first(const float* from, Index count) {
  switch (count) {
    case 1:
      return _mm_load_ss(from);
    case 2:
      return _mm_castpd_ps(_mm_loadl_pd(_mm_setzero_pd(), reinterpret_cast<const double*>(from)));
    default:
      return _mm_movelh_ps(
          _mm_castpd_ps(_mm_loadl_pd(_mm_setzero_pd(), reinterpret_cast<const double*>(from))),
          _mm_load_ss(from + 2));
  }
}
inline Doubles load_first(const double* from, Index) { return _mm_load_sd(from); }
inline void store_first(float* to, Floats value, Index count) {
  switch (count) {
    case 1:
      _mm_store_ss(to, value);
      return;
    case 2:
      _mm_storel_pi(reinterpret_cast<__m64*>(to), value);
      return;
    default:
      _mm_storel_pi(reinterpret_cast<__m64*>(to), value);
      _mm_store_ss(to + 2, _mm_movehl_ps(value, value));
  }
}
inline void store_first(double* to, Doubles value, Index) { _mm_store_sd(to, value); }

// Nothing is masked.
template <class T>
auto load_tail(const T* from, Index count) {
  return load_first(from, count);
}
template <class T, class B>
void store_tail(T* to, B value, Index count) {
  store_first(to, value, count);
}

inline Floats keep_first(Floats value, Index count, Floats other) {
  const __m128 first = _mm_castsi128_ps(
      _mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(count)), _mm_setr_epi32(0, 1, 2, 3)));
  return _mm_or_ps(_mm_and_ps(first, value), _mm_andnot_ps(first, other));
}
inline Doubles keep_first(Doubles value, Index, Doubles other) { return _mm_move_sd(other, value); }

inline std::pair<Doubles, Doubles> widen(Floats x) {
  return {_mm_cvtps_pd(x), _mm_cvtps_pd(_mm_movehl_ps(x, x))};
}
inline Floats narrow(Doubles low, Doubles high) {
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
}

inline std::pair<Floats, Floats> interleave(Floats a, Floats b) {
  return {_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b)};
}
inline std::pair<Doubles, Doubles> interleave(Doubles a, Doubles b) {
  return {_mm_unpacklo_pd(a, b), _mm_unpackhi_pd(a, b)};
}

template <class Op>
float fold(Floats x, Op op) {
  x = op(x, Floats(_mm_movehl_ps(x, x)));
  x = op(x, Floats(_mm_shuffle_ps(x, x, 1)));
  return _mm_cvtss_f32(x);
}
template <class Op>
double fold(Doubles x, Op op) {
  x = op(x, Doubles(_mm_unpackhi_pd(x, x)));
  return _mm_cvtsd_f64(x);
}

}  // namespace chainrule::simd
