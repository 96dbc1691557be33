// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

namespace chainrule::testing {

/// A function with its derivative in closed form, which is typed in and evaluated in long double.
struct KnownDerivative {
  const char* name;
  double (*function)(double x);
  long double (*derivative)(long double x);
  double low;  ///< points are drawn from [low, high)
  double high;
};

std::span<const KnownDerivative> known_derivatives();

}  // namespace chainrule::testing
