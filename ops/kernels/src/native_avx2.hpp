// SPDX-License-Identifier: Apache-2.0
#pragma once

// What xsimd lacks, or does slowly, on AVX2 with FMA; see native_avx512.hpp for the contracts.

#include <immintrin.h>

#include <utility>
#include <xsimd/xsimd.hpp>

namespace chainrule::simd {

using NativeArch = xsimd::avx2;
using Floats = xsimd::batch<float, NativeArch>;
using Doubles = xsimd::batch<double, NativeArch>;

inline constexpr int kGemmRows = 6;
inline constexpr int kVectorRegisters = 16;
inline constexpr bool kHasFma = true;
inline constexpr bool kHasTables = false;

inline Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return _mm256_fmadd_pd(a, b, c); }
inline Floats fnma(Floats a, Floats b, Floats c) { return _mm256_fnmadd_ps(a, b, c); }
inline Doubles fnma(Doubles a, Doubles b, Doubles c) { return _mm256_fnmadd_pd(a, b, c); }

inline Floats at_least(Floats a, Floats low) { return _mm256_max_ps(low, a); }
inline Doubles at_least(Doubles a, Doubles low) { return _mm256_max_pd(low, a); }
inline Floats at_most(Floats a, Floats high) { return _mm256_min_ps(high, a); }
inline Doubles at_most(Doubles a, Doubles high) { return _mm256_min_pd(high, a); }

inline __m256i first_floats(Index count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)),
                            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline __m256i first_doubles(Index count) {
  return _mm256_cmpgt_epi64(_mm256_set1_epi64x(count), _mm256_setr_epi64x(0, 1, 2, 3));
}

inline Floats load_first(const float* from, Index count) {
  return _mm256_maskload_ps(from, first_floats(count));
}
inline Doubles load_first(const double* from, Index count) {
  return _mm256_maskload_pd(from, first_doubles(count));
}
inline void store_first(float* to, Floats value, Index count) {
  _mm256_maskstore_ps(to, first_floats(count), value);
}
inline void store_first(double* to, Doubles value, Index count) {
  _mm256_maskstore_pd(to, first_doubles(count), value);
}

// A masked store takes some 20 cycles here.
inline Floats load_tail(const float* from, Index count) {
  if (count == 1) return _mm256_zextps128_ps256(_mm_load_ss(from));
  if (count == 4) return _mm256_zextps128_ps256(_mm_loadu_ps(from));
  return load_first(from, count);
}
inline Doubles load_tail(const double* from, Index count) {
  if (count == 1) return _mm256_zextpd128_pd256(_mm_load_sd(from));
  if (count == 2) return _mm256_zextpd128_pd256(_mm_loadu_pd(from));
  return load_first(from, count);
}
inline void store_tail(float* to, Floats value, Index count) {
  if (count == 1) {
    _mm_store_ss(to, _mm256_castps256_ps128(value));
  } else if (count == 4) {
    _mm_storeu_ps(to, _mm256_castps256_ps128(value));
  } else {
    store_first(to, value, count);
  }
}
inline void store_tail(double* to, Doubles value, Index count) {
  if (count == 1) {
    _mm_store_sd(to, _mm256_castpd256_pd128(value));
  } else if (count == 2) {
    _mm_storeu_pd(to, _mm256_castpd256_pd128(value));
  } else {
    store_first(to, value, count);
  }
}

inline Floats keep_first(Floats value, Index count, Floats other) {
  return _mm256_blendv_ps(other, value, _mm256_castsi256_ps(first_floats(count)));
}
inline Doubles keep_first(Doubles value, Index count, Doubles other) {
  return _mm256_blendv_pd(other, value, _mm256_castsi256_pd(first_doubles(count)));
}

inline std::pair<Doubles, Doubles> widen(Floats x) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
}
inline Floats narrow(Doubles low, Doubles high) {
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
}

inline std::pair<Floats, Floats> interleave(Floats a, Floats b) {
  const __m256 low = _mm256_unpacklo_ps(a, b), high = _mm256_unpackhi_ps(a, b);  // of each half
  return {_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31)};
}
inline std::pair<Doubles, Doubles> interleave(Doubles a, Doubles b) {
  const __m256d low = _mm256_unpacklo_pd(a, b), high = _mm256_unpackhi_pd(a, b);
  return {_mm256_permute2f128_pd(low, high, 0x20), _mm256_permute2f128_pd(low, high, 0x31)};
}

template <class Op>
float fold(Floats x, Op op) {
  using Half = xsimd::batch<float, xsimd::sse2>;
  Half y = op(Half(_mm256_castps256_ps128(x)), Half(_mm256_extractf128_ps(x, 1)));
  y = op(y, Half(_mm_movehl_ps(y, y)));
  y = op(y, Half(_mm_shuffle_ps(y, y, 1)));
  return _mm_cvtss_f32(y);
}
template <class Op>
double fold(Doubles x, Op op) {
  using Half = xsimd::batch<double, xsimd::sse2>;
  Half y = op(Half(_mm256_castpd256_pd128(x)), Half(_mm256_extractf128_pd(x, 1)));
  y = op(y, Half(_mm_unpackhi_pd(y, y)));
  return _mm_cvtsd_f64(y);
}

}  // namespace chainrule::simd
