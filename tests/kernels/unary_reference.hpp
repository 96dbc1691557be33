// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>

#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::test {

/// An elementwise function and its derivatives by the textbook, in long double.
struct UnaryReference {
  UnaryKernel kernel;
  std::string_view name;
  double parameter;
  long double (*value)(long double x);
  long double (*slope)(long double x);
  long double (*curvature)(long double x);
};

namespace reference {

using R = long double;
inline constexpr double kLeakySlope = 0.125;
inline constexpr double kEluAlpha = 1.5;

inline R logistic(R x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
inline R logistic_slope(R x) { return logistic(x) * logistic(-x); }
/// 1 - 2 logistic(x).
inline R logistic_odd(R x) { return -std::tanh(x / 2); }
inline R phi(R x) { return 0.5L * std::erfc(-x / std::sqrt(2.0L)); }
inline R density(R x) { return std::exp(-x * x / 2) * 0.398942280401432677939946059934L; }
inline R gelu_inner(R x) {
  return 2 * std::sqrt(0.636619772367581343075535053490L) * (x + 0.044715L * x * x * x);
}
inline R gelu_inner_slope(R x) {
  return 2 * std::sqrt(0.636619772367581343075535053490L) * (1 + 3 * 0.044715L * x * x);
}

}  // namespace reference

inline constexpr UnaryReference kUnaryReferences[] = {
    {UnaryKernel::kRelu, "relu", 0, [](long double x) { return x > 0 ? x : 0 * x; },
     [](long double x) { return x > 0 ? 1.0L : 0.0L; }, [](long double) { return 0.0L; }},
    {UnaryKernel::kLeakyRelu, "leaky_relu", reference::kLeakySlope,
     [](long double x) { return x > 0 ? x : reference::kLeakySlope * x; },
     [](long double x) { return x > 0 ? 1.0L : reference::kLeakySlope; },
     [](long double) { return 0.0L; }},
    {UnaryKernel::kElu, "elu", reference::kEluAlpha,
     [](long double x) { return x > 0 ? x : reference::kEluAlpha * std::expm1(x); },
     [](long double x) { return x > 0 ? 1.0L : reference::kEluAlpha * std::exp(x); },
     [](long double x) { return x > 0 ? 0.0L : reference::kEluAlpha * std::exp(x); }},
    {UnaryKernel::kSigmoid, "sigmoid", 0, reference::logistic, reference::logistic_slope,
     [](long double x) { return reference::logistic_slope(x) * reference::logistic_odd(x); }},
    {UnaryKernel::kTanh, "tanh", 0, [](long double x) { return std::tanh(x); },
     [](long double x) { return 1 / (std::cosh(x) * std::cosh(x)); },
     [](long double x) { return -2 * std::tanh(x) / (std::cosh(x) * std::cosh(x)); }},
    {UnaryKernel::kSoftplus, "softplus", 0,
     [](long double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); },
     reference::logistic, reference::logistic_slope},
    {UnaryKernel::kSilu, "silu", 0, [](long double x) { return x * reference::logistic(x); },
     [](long double x) { return reference::logistic(x) + x * reference::logistic_slope(x); },
     [](long double x) {
       return reference::logistic_slope(x) * (2 + x * reference::logistic_odd(x));
     }},
    {UnaryKernel::kGelu, "gelu", 0, [](long double x) { return x * reference::phi(x); },
     [](long double x) { return reference::phi(x) + x * reference::density(x); },
     [](long double x) { return reference::density(x) * (2 - x * x); }},
    {UnaryKernel::kGeluTanh, "gelu_tanh", 0,
     [](long double x) { return x * reference::logistic(reference::gelu_inner(x)); },
     [](long double x) {
       const long double u = reference::gelu_inner(x);
       return reference::logistic(u) +
              x * reference::logistic_slope(u) * reference::gelu_inner_slope(x);
     },
     [](long double x) {
       const long double u = reference::gelu_inner(x), du = reference::gelu_inner_slope(x);
       const long double d2u = 12 * std::sqrt(0.636619772367581343075535053490L) * 0.044715L * x;
       return reference::logistic_slope(u) *
              (2 * du + x * d2u + x * du * du * reference::logistic_odd(u));
     }},
    {UnaryKernel::kExp, "exp", 0, [](long double x) { return std::exp(x); },
     [](long double x) { return std::exp(x); }, [](long double x) { return std::exp(x); }},
    {UnaryKernel::kLog, "log", 0, [](long double x) { return std::log(x); },
     [](long double x) { return 1 / x; }, [](long double x) { return -1 / (x * x); }},
};

inline const UnaryReference& reference_of(UnaryKernel kernel) {
  for (const UnaryReference& entry : kUnaryReferences) {
    if (entry.kernel == kernel) return entry;
  }
  return kUnaryReferences[0];
}

}  // namespace chainrule::test
