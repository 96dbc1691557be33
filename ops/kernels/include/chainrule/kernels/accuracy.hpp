// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule {

/// What an error is measured in.
enum class UlpOf : std::uint8_t {
  kResult,       ///< the spacing of the element type at the exact result y
  kResultOrOne,  ///< the spacing at max(1, |y|)
};

/// The largest error of an elementwise kernel for arguments in [low, high].
struct AccuracyBound {
  UnaryKernel kernel;
  UlpOf unit;
  double low;
  double high;
  double float_ulp;
  double double_ulp;
  double without_fma = 1;  ///< architectures without FMA ("baseline") may be worse by this factor
};

/// A bound that every argument keeps.
inline constexpr double kAnything = std::numeric_limits<double>::infinity();

/// The accuracy table; a test asserts it on every architecture that runs. Denormal arguments and
/// results count. Special values, for every function: NaN gives NaN and infinities give the
/// function's limit; log(0) = -inf, and log(x) = NaN for x < 0.
inline constexpr AccuracyBound kUnaryAccuracy[] = {
    {UnaryKernel::kRelu, UlpOf::kResult, -kAnything, kAnything, 0.0, 0.0},
    {UnaryKernel::kLeakyRelu, UlpOf::kResult, -kAnything, kAnything, 0.5, 0.5},
    {UnaryKernel::kElu, UlpOf::kResult, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kSigmoid, UlpOf::kResult, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kTanh, UlpOf::kResult, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kSoftplus, UlpOf::kResult, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kSilu, UlpOf::kResult, -80.0, kAnything, 3.0, 3.0, 1.25},
    {UnaryKernel::kSilu, UlpOf::kResultOrOne, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kGelu, UlpOf::kResult, -12.0, kAnything, 7.0, 7.0},
    {UnaryKernel::kGelu, UlpOf::kResultOrOne, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kGeluTanh, UlpOf::kResultOrOne, -kAnything, kAnything, 2.0, 2.0},
    {UnaryKernel::kExp, UlpOf::kResult, -kAnything, kAnything, 1.0, 1.0},
    {UnaryKernel::kLog, UlpOf::kResult, 0.0, kAnything, 1.0, 1.0},
};

}  // namespace chainrule
