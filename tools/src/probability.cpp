// SPDX-License-Identifier: Apache-2.0
#include "probability.hpp"

#include <cmath>
#include <limits>
#include <numbers>

namespace chainrule::tools {
namespace {

// The continued fraction of the incomplete beta function (Abramowitz & Stegun, 26.5.8) by Lentz's
// algorithm; fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
  constexpr double kTiny = std::numeric_limits<double>::min();
  constexpr int kMaxTerms = 10000;
  const auto nonzero = [](double v) { return v == 0 ? kTiny : v; };
  double c = 1, d = 1 / nonzero(1 - (a + b) * x / (a + 1)), value = d;
  for (int m = 1; m < kMaxTerms; ++m) {
    double change = 1;
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    for (const double term : {even, odd}) {
      d = 1 / nonzero(1 + term * d);
      c = nonzero(1 + term / c);
      value *= c * d;
      change = c * d;
    }
    if (std::abs(change - 1) <= std::numeric_limits<double>::epsilon()) break;
  }
  return value;
}

// I_x(a, b), y = 1 - x.
double incomplete_beta(double a, double b, double x, double y) {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  const double front = std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) +
                                a * std::log(x) + b * std::log(y));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, y) / b;
}

}  // namespace

double normal_p_value(double z) { return std::erfc(std::abs(z) / std::numbers::sqrt2); }

double student_p_value(double t, double freedom) {
  const double all = freedom + t * t;
  return incomplete_beta(freedom / 2, 0.5, freedom / all, t * t / all);
}

}  // namespace chainrule::tools
