// SPDX-License-Identifier: Apache-2.0
#pragma once

// What xsimd lacks on AArch64; see native_avx512.hpp for the contracts.

#include <arm_neon.h>

#include <utility>
#include <xsimd/xsimd.hpp>

namespace chainrule::simd {

using NativeArch = xsimd::neon64;
using Floats = xsimd::batch<float, NativeArch>;
using Doubles = xsimd::batch<double, NativeArch>;

inline constexpr int kGemmRows = 10;
inline constexpr int kVectorRegisters = 32;
inline constexpr bool kHasFma = true;
inline constexpr bool kHasTables = false;

inline Floats fma(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
inline Doubles fma(Doubles a, Doubles b, Doubles c) { return vfmaq_f64(c, a, b); }
inline Floats fnma(Floats a, Floats b, Floats c) { return vfmsq_f32(c, a, b); }
inline Doubles fnma(Doubles a, Doubles b, Doubles c) { return vfmsq_f64(c, a, b); }

inline Floats load_first(const float* from, Index count) {
  float32x4_t x = vsetq_lane_f32(from[0], vdupq_n_f32(0), 0);
  if (count > 1) x = vsetq_lane_f32(from[1], x, 1);
  if (count > 2) x = vsetq_lane_f32(from[2], x, 2);
  return x;
}
inline Doubles load_first(const double* from, Index) {
  return vsetq_lane_f64(from[0], vdupq_n_f64(0), 0);
}
inline void store_first(float* to, Floats value, Index count) {
  to[0] = vgetq_lane_f32(value, 0);
  if (count > 1) to[1] = vgetq_lane_f32(value, 1);
  if (count > 2) to[2] = vgetq_lane_f32(value, 2);
}
inline void store_first(double* to, Doubles value, Index) { to[0] = vgetq_lane_f64(value, 0); }

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
  const std::int32_t lanes[4] = {0, 1, 2, 3};
  return vbslq_f32(vcltq_s32(vld1q_s32(lanes), vdupq_n_s32(static_cast<std::int32_t>(count))),
                   value, other);
}
inline Doubles keep_first(Doubles value, Index, Doubles other) {
  return vsetq_lane_f64(vgetq_lane_f64(value, 0), other, 0);
}

inline std::pair<Doubles, Doubles> widen(Floats x) {
  return {vcvt_f64_f32(vget_low_f32(x)), vcvt_high_f64_f32(x)};
}
inline Floats narrow(Doubles low, Doubles high) {
  return vcvt_high_f32_f64(vcvt_f32_f64(low), high);
}

inline std::pair<Floats, Floats> interleave(Floats a, Floats b) {
  return {vzip1q_f32(a, b), vzip2q_f32(a, b)};
}
inline std::pair<Doubles, Doubles> interleave(Doubles a, Doubles b) {
  return {vzip1q_f64(a, b), vzip2q_f64(a, b)};
}

template <class Op>
float fold(Floats x, Op op) {
  x = op(x, Floats(vextq_f32(x, x, 2)));
  x = op(x, Floats(vextq_f32(x, x, 1)));
  return vgetq_lane_f32(x, 0);
}
template <class Op>
double fold(Doubles x, Op op) {
  x = op(x, Doubles(vextq_f64(x, x, 1)));
  return vgetq_lane_f64(x, 0);
}

}  // namespace chainrule::simd
