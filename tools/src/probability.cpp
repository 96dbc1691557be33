// SPDX-License-Identifier: Apache-2.0
#include "probability.hpp"

#include <cmath>
#include <initializer_list>
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

// log of Gamma(a + 1/2) / Gamma(a), for large a by the asymptotic series, as their difference loses
// digits.
double log_gamma_ratio(double a) {
  if (a < 100) return std::lgamma(a + 0.5) - std::lgamma(a);
  return 0.5 * std::log(a) - 1 / (8 * a) + 1 / (192 * a * a * a);
}

// I_x(a, 1/2), y = 1 - x.
double incomplete_beta(double a, double x, double y) {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  const double log_x = y < 0.5 ? std::log1p(-y) : std::log(x);
  const double front = std::exp(log_gamma_ratio(a) + a * log_x) * std::sqrt(y / std::numbers::pi);
  if (x < (a + 1) / (a + 2.5)) return front * beta_fraction(a, 0.5, x) / a;
  return 1 - front * beta_fraction(0.5, a, y) / 0.5;
}

}  // namespace

double normal_p_value(double z) { return std::erfc(std::abs(z) / std::numbers::sqrt2); }

double student_p_value(double t, double freedom) {
  // Abramowitz & Stegun, 26.7.8, where the fraction loses digits.
  if (freedom > 1e5) {
    return normal_p_value(t * (1 - 1 / (4 * freedom)) / std::sqrt(1 + t * t / (2 * freedom)));
  }
  const double all = freedom + t * t;
  return incomplete_beta(freedom / 2, freedom / all, t * t / all);
}

}  // namespace chainrule::tools
