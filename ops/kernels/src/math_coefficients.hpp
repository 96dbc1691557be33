// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Numbers of math.hpp.

namespace chainrule::simd {

/// kTail: (exp(r) - 1 - r) / r^2 on |r| <= ln(2) / 2, Chebyshev interpolation (relative error
/// 4e-9 and 3e-18).
template <class T>
struct ExpCoefficients;

template <>
struct ExpCoefficients<float> {
  static constexpr float kLog2E = 1.44269504F;
  static constexpr float kLn2High = 0.693359375F;
  static constexpr float kLn2Low = -2.12194440e-4F;
  static constexpr float kTail[] = {5.000000013e-1F, 1.666666668e-1F, 4.166646493e-2F,
                                    8.333310925e-3F, 1.393365e-3F,    1.989099082e-4F};
};

template <>
struct ExpCoefficients<double> {
  static constexpr double kLog2E = 1.4426950408889634;
  static constexpr double kLn2High = 6.93145751953125e-1;
  static constexpr double kLn2Low = 1.42860682030941723212e-6;
  static constexpr double kTail[] = {5.0e-1,
                                     1.6666666666666671e-1,
                                     4.16666666666666698e-2,
                                     8.33333333332613513e-3,
                                     1.38888888888837483e-3,
                                     1.98412698748206253e-4,
                                     2.48015873255477412e-5,
                                     2.75572554002064244e-6,
                                     2.75572736431102953e-7,
                                     2.51052170047207452e-8,
                                     2.09146869680868772e-9};
};

/// kOdd and kEven: the minimax polynomials of FreeBSD's e_logf.c and e_log.c.
template <class T>
struct LogCoefficients;

template <>
struct LogCoefficients<float> {
  static constexpr std::uint32_t kOneBits = 0x3f800000;
  static constexpr std::uint32_t kSqrtHalfBits = 0x3f3504f3;
  static constexpr std::uint32_t kMantissaMask = 0x007fffff;
  static constexpr std::uint32_t kExponentMagicBits = 0x4b000000;  // 2^23
  static constexpr float kExponentMagic = 8388608.0F + 127.0F;
  static constexpr float kLn2High = 6.9313812256e-01F;
  static constexpr float kLn2Low = 9.0580006145e-06F;
  static constexpr float kOdd[] = {0xaaaaaa.0p-24F, 0x91e9ee.0p-25F};
  static constexpr float kEven[] = {0xccce13.0p-25F, 0xf89e26.0p-26F};
};

template <>
struct LogCoefficients<double> {
  static constexpr std::uint64_t kOneBits = 0x3ff0000000000000;
  static constexpr std::uint64_t kSqrtHalfBits = 0x3fe6a09e667f3bcd;
  static constexpr std::uint64_t kMantissaMask = 0x000fffffffffffff;
  static constexpr std::uint64_t kExponentMagicBits = 0x4330000000000000;  // 2^52
  static constexpr double kExponentMagic = 4503599627370496.0 + 1023.0;
  static constexpr double kLn2High = 6.93147180369123816490e-01;
  static constexpr double kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kOdd[] = {6.666666666666735130e-01, 2.857142874366239149e-01,
                                    1.818357216161805012e-01, 1.479819860511658591e-01};
  static constexpr double kEven[] = {3.999999999940941908e-01, 2.222219843214978396e-01,
                                     1.531383769920937332e-01};
};

/// kRatio: (a + 4) exp(a^2 / 2) Phi(-a) as a polynomial in t = (a - 4) / (a + 4), 0 <= a <= kBound,
/// Chebyshev interpolation (relative error 3e-9 and 4e-17). Phi(-kBound) rounds to 0.
template <class T>
struct NormalTailCoefficients;

template <>
struct NormalTailCoefficients<float> {
  static constexpr float kBound = 14.5F;
  static constexpr float kRatio[] = {7.552851305e-1F,  -6.078966578e-1F, 3.871373823e-1F,
                                     -1.865213075e-1F, 6.039729391e-2F,  -7.545268164e-3F,
                                     -3.48807553e-3F,  1.646295612e-3F,  1.693554583e-4F,
                                     -2.346217611e-4F, -5.264564978e-5F};
};

template <>
struct NormalTailCoefficients<double> {
  static constexpr double kBound = 39.0;
  static constexpr double kRatio[] = {
      7.5528513041575148e-1,   -6.07896641971891759e-1, 3.87137400742218879e-1,
      -1.86521857959694163e-1, 6.03965748906994641e-2,  -7.54018896559305902e-3,
      -3.47969236224253334e-3, 1.6308184418903596e-3,   1.33344254019049116e-4,
      -2.31094818319376211e-4, -1.90786653166135743e-6, 3.51441811577609727e-5,
      7.15005595921609866e-7,  -5.91889273176323645e-6, -6.25132104047868019e-7,
      1.01980485181351727e-6,  2.63682485764076251e-7,  -1.54263205367710739e-7,
      -7.63808205349045035e-8, 1.45785933470364597e-8,  1.39240239935017101e-8,
      7.26954547902668946e-11, -9.65342542022850467e-10};
};

}  // namespace chainrule::simd
