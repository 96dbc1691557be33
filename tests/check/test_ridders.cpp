// SPDX-License-Identifier: Apache-2.0
#include "ridders.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace chainrule::internal {
namespace {

NumericDerivative at(double x, double first_step, double (*f)(double)) {
  const double weight = 1, y0 = f(x);
  return differentiate([&](double t, std::span<double> y) { y[0] = f(x + t); }, {&weight, 1},
                       {&y0, 1}, first_step);
}

void expect_within_bar(const NumericDerivative& d, double exact, double relative) {
  EXPECT_TRUE(d.resolved);
  EXPECT_FALSE(d.kink);
  EXPECT_NEAR(d.value, exact, relative * std::abs(exact));
  EXPECT_LE(std::abs(d.value - exact), 10 * d.error_bar + d.noise);
}

TEST(Ridders, IsRightWithinItsErrorBar) {
  expect_within_bar(at(1, 1. / 32, [](double x) { return std::exp(x); }), std::exp(1.), 1e-11);
  expect_within_bar(at(0.3, 1. / 32, [](double x) { return std::sin(x); }), std::cos(0.3), 1e-11);
  expect_within_bar(at(1e-12, 1e-12 / 32, [](double x) { return std::sqrt(x); }), 5e5, 1e-11);
  expect_within_bar(at(1, 1. / 32, [](double x) { return std::pow(x, x); }), 1, 1e-11);
  expect_within_bar(at(1e-300, 1e-300 / 32, [](double x) { return std::log(x); }), 1e300, 1e-9);
}

TEST(Ridders, DoesNotJumpOverAPole) {
  // The documentation example of Ceres; sin x = x^2 at 0.8767.
  const auto f = [](double x) { return std::exp(x) / (std::sin(x) - x * x); };
  for (const double step : {1. / 32, 0.1, 0.25, 0.5}) {
    expect_within_bar(at(1, step, f), 140.7377355712966, 1e-9);
  }
}

TEST(Ridders, LeavesTheDomainOfNoFunction) {
  expect_within_bar(at(1e-3, 1, [](double x) { return std::log(x); }), 1e3, 1e-9);
}

TEST(Ridders, FindsAKinkAndBothSlopes) {
  const NumericDerivative d = at(0, 1. / 32, [](double x) { return x > 0 ? 3 * x : -x; });
  ASSERT_TRUE(d.kink);
  EXPECT_NEAR(d.left_slope, -1, 1e-9);
  EXPECT_NEAR(d.right_slope, 3, 1e-9);
  const NumericDerivative curved =
      at(0, 1. / 32, [](double x) { return x > 0 ? std::exp(x) : 1 + std::sin(2 * x); });
  ASSERT_TRUE(curved.kink);
  EXPECT_NEAR(curved.left_slope, 2, curved.slope_error);
  EXPECT_NEAR(curved.right_slope, 1, curved.slope_error);
  EXPECT_LT(curved.slope_error, 1e-3);
}

TEST(Ridders, AKinkNearbyIsNoKinkHere) {
  for (int k = 1; k < 12; ++k) {
    const double x = std::ldexp(1.1, -k);
    const NumericDerivative d = at(x, 1. / 32, [](double z) { return z > 0 ? z : 0; });
    EXPECT_TRUE(d.resolved) << x;
    EXPECT_FALSE(d.kink) << x;
    EXPECT_NEAR(d.value, 1, 1e-9) << x;
  }
}

TEST(Ridders, ANoisyFunctionHasAWideBar) {
  const NumericDerivative d =
      at(1, 1. / 32, [](double x) { return x + 1e-8 * std::sin(1e14 * x); });
  EXPECT_TRUE(!d.resolved || d.error_bar > 1e-8);
  EXPECT_NEAR(d.value, 1, 10 * d.error_bar + d.noise);
}

TEST(Ridders, AFlatFunctionSaysNothing) {
  const NumericDerivative d = at(40, 1, [](double x) { return std::tanh(x); });
  EXPECT_FALSE(d.moved);
  EXPECT_EQ(d.value, 0);
  EXPECT_GT(d.noise, 0);
}

}  // namespace
}  // namespace chainrule::internal
