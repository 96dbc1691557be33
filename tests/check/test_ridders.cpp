// SPDX-License-Identifier: Apache-2.0
// The numeric derivative alone: its value, its error bar, and what it says where there is none.
#include "ridders.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "plateau.hpp"

namespace chainrule::internal {
namespace {

constexpr double kFirstStep = 0.2;

// A function of one number and the line through x; `scale` 0 stands for |x|.
class Point {
 public:
  Point(double x, std::function<double(double)> f, double scale = 0)
      : y0_(f(x)),
        line_(
            [x, f](double t, std::span<double> y) {
              const double moved = x + t;
              y[0] = f(moved);
              return moved - x;
            },
            {&weight_, 1}, {&y0_, 1},
            {.first = kFirstStep * (scale > 0 ? scale : size_of(x)),
             .smallest = std::ldexp(std::abs(x), -46)}) {}

  NumericDerivative differentiate() { return internal::differentiate(line_); }
  // From the first step on.
  Plateau plateau() { return plateau_around(line_, 0, 0); }
  double quantum_of_small_steps() {
    const auto plateau = plateau_of_small_steps(line_, 0);
    return plateau ? plateau->quantum : 0;
  }

 private:
  static double size_of(double x) { return x == 0 ? 1 : std::abs(x); }

  double weight_ = 1;
  double y0_;
  Line line_;
};

NumericDerivative at(double x, std::function<double(double)> f, double scale = 0) {
  return Point(x, std::move(f), scale).differentiate();
}

double ceres(double x) { return std::exp(x) / (std::sin(x) - x * x); }
double relu(double x) { return std::max(x, 0.0); }

void expect_smooth(const NumericDerivative& d, double exact, double relative) {
  EXPECT_TRUE(d.resolved);
  EXPECT_FALSE(d.kink);
  EXPECT_NEAR(d.value, exact, relative * std::abs(exact));
  EXPECT_LE(std::abs(d.value - exact), d.error_bar + 8 * d.rounding);
  EXPECT_LE(d.error_bar, 10 * relative * std::abs(exact));
}

TEST(Ridders, IsRightToTwelveDigitsFromDefaultSettings) {
  expect_smooth(at(1, ceres), 140.7377355712966, 1e-12);
  expect_smooth(at(1e-12, [](double x) { return std::sqrt(x); }), 0.5 / std::sqrt(1e-12), 1e-12);
  expect_smooth(at(1, [](double x) { return std::pow(x, x); }), 1, 1e-12);
  expect_smooth(at(1, [](double x) { return std::exp(x); }), std::exp(1.0), 1e-12);
  expect_smooth(at(0.3, [](double x) { return std::sin(x); }), std::cos(0.3), 1e-12);
  expect_smooth(at(1e-8, [](double x) { return 1 / x; }), -1e16, 1e-12);
  expect_smooth(at(700, [](double x) { return std::exp(x); }), std::exp(700.0), 1e-12);
  expect_smooth(at(-700, [](double x) { return std::exp(x); }), std::exp(-700.0), 1e-11);
  // 2048 pi: steps that are powers of two would all be periods.
  const double pi = std::acos(-1.0);
  expect_smooth(at(0, [pi](double x) { return std::sin(2048 * pi * x); }), 2048 * pi, 1e-12);
}

// Central differences are then off by a multiple of h, and not of h^2.
TEST(Ridders, IsRightWhereTheSecondDerivativeJumps) {
  const auto huber = [](double x) {
    return std::abs(x) <= 0.75 ? x * x / 2 : 0.75 * std::abs(x) - 0.28125;
  };
  expect_smooth(at(0.75, huber), 0.75, 1e-10);
  expect_smooth(at(-0.75, huber), -0.75, 1e-10);
  expect_smooth(at(1, [](double x) { return x < 1 ? std::exp(x) : std::exp(1.0) * x; }),
                std::exp(1.0), 1e-9);
}

TEST(Ridders, LogOfATinyNumberIsWithinItsOwnBar) {
  const NumericDerivative d = at(1e-300, [](double x) { return std::log(x); });
  EXPECT_TRUE(d.resolved);
  EXPECT_LE(std::abs(d.value - 1e300), d.error_bar);
  EXPECT_LE(d.error_bar, 1e-11 * 1e300);
}

TEST(Ridders, TheUnitOfAnOutputMayBeCoarserThanItsDigits) {
  // 1 + e^x is a multiple of 2^-52 at x = -15, and so its logarithm moves by no less.
  const auto log_of_sum = [](double x) { return std::log(1 + std::exp(x)); };
  const double epsilon = std::numeric_limits<double>::epsilon();
  const double unit = Point(-15, log_of_sum).quantum_of_small_steps();
  EXPECT_GE(unit, 0.5 * epsilon);
  EXPECT_LE(unit, 4 * epsilon);
  // Kept to all its digits, it moves as far as the eye can see.
  EXPECT_EQ(Point(-15, [](double x) { return std::log1p(std::exp(x)); }).quantum_of_small_steps(),
            0);
}

TEST(Ridders, DoesNotJumpOverAPole) {
  // sin x = x^2 at 0.8767: first steps far beyond that.
  for (const double scale : {0.5, 1.0, 2.0, 5.0, 20.0, 1e3}) {
    const NumericDerivative d = at(1, ceres, scale);
    expect_smooth(d, 140.7377355712966, 1e-9);
  }
  for (const double x : {1e-3, -1e-5, 1e-8, -1e-11}) {
    expect_smooth(at(
                      x, [](double z) { return 1 / z; }, 1),
                  -1 / (x * x), 1e-9);
  }
}

TEST(Ridders, StaysInTheDomain) {
  for (const double x : {0.1, 1e-3, 1e-9}) {
    expect_smooth(at(
                      x, [](double z) { return std::log(z); }, 1),
                  1 / x, 1e-7);
  }
  const NumericDerivative edge = at(0, [](double x) { return std::sqrt(x); });
  EXPECT_FALSE(edge.resolved);
  EXPECT_EQ(edge.doubt, Doubt::kDomain);
}

TEST(Ridders, FindsAKinkAndBothSlopes) {
  const NumericDerivative absolute = at(0, [](double x) { return std::abs(x); });
  ASSERT_TRUE(absolute.kink);
  EXPECT_EQ(absolute.left_slope, -1);
  EXPECT_EQ(absolute.right_slope, 1);
  const NumericDerivative curved =
      at(0, [](double x) { return x > 0 ? std::exp(x) : 1 + std::sin(2 * x); });
  ASSERT_TRUE(curved.kink);
  EXPECT_NEAR(curved.left_slope, 2, curved.slope_error);
  EXPECT_NEAR(curved.right_slope, 1, curved.slope_error);
  EXPECT_LT(curved.slope_error, 1e-3);
  // A small kink on a large curve, and one far above zero.
  const NumericDerivative small = at(0, [](double x) { return 1e-3 * relu(x) + 100 * x * x; });
  ASSERT_TRUE(small.kink);
  EXPECT_NEAR(small.right_slope, 1e-3, 1e-9);
  EXPECT_NEAR(small.left_slope, 0, 1e-9);
  EXPECT_TRUE(at(1, [](double x) { return 7 + relu(x - 1); }).kink);
}

TEST(Ridders, AKinkNearbyIsNoKinkHere) {
  for (double distance = 0.5; distance > 1e-16; distance /= 3) {
    const auto f = [distance](double x) { return std::abs(x - distance); };
    const NumericDerivative d = at(0, f);
    EXPECT_TRUE(d.resolved) << distance;
    EXPECT_FALSE(d.kink) << distance;
    EXPECT_NEAR(d.value, -1, 1e-12) << distance;
  }
}

TEST(Ridders, ASteepCurveIsNoKink) {
  for (const double steepness : {1e1, 1e3, 1e6, 1e9}) {
    const NumericDerivative d =
        at(0, [=](double x) { return std::log1p(std::exp(steepness * x)) / steepness; });
    EXPECT_TRUE(d.resolved) << steepness;
    EXPECT_FALSE(d.kink) << steepness;
    EXPECT_NEAR(d.value, 0.5, 1e-9) << steepness;
  }
}

TEST(Ridders, ANoisyFunctionHasAWideBar) {
  const NumericDerivative d = at(1, [](double x) { return x + 1e-8 * std::sin(1e14 * x); });
  EXPECT_GT(d.error_bar, 1e-8);
  EXPECT_NEAR(d.value, 1, d.error_bar);
  const NumericDerivative offset = at(1, [](double x) { return 1e6 + std::sin(x); });
  EXPECT_NEAR(offset.value, std::cos(1.0), offset.error_bar + 8 * offset.rounding);
  EXPECT_LT(offset.error_bar, 1e-7);
}

TEST(Ridders, WhereThereIsNoDerivativeNothingIsClaimed) {
  const auto useless = [](const NumericDerivative& d) {
    return !d.resolved || d.error_bar >= std::abs(d.value) / 2;
  };
  EXPECT_TRUE(useless(at(0, [](double x) { return x > 0 ? 1.0 : 0.0; })));
  EXPECT_TRUE(useless(at(0, [](double x) { return std::cbrt(x); })));
  EXPECT_TRUE(useless(at(-1, [](double x) { return std::log(x); })));
}

TEST(Ridders, DerivativesOfZeroAreZero) {
  for (const auto& f : std::initializer_list<std::function<double(double)>>{
           [](double x) { return x * x; }, [](double x) { return x * x * x; },
           [](double x) { return std::cos(x); }, [](double x) { return x * std::abs(x); },
           [](double x) { return std::pow(std::abs(x), 1.5); },
           [](double x) { return x == 0 ? 0 : x * x * std::sin(1 / x); },
           [](double) { return 5.0; }}) {
    const NumericDerivative d = at(0, f);
    EXPECT_FALSE(d.kink);
    EXPECT_LE(std::abs(d.value), 10 * d.error_bar);
    EXPECT_LT(std::abs(d.value), 1e-15);
  }
}

TEST(Ridders, WhatIsFlatForGoodIsNotSaturated) {
  Point constant(3, [](double) { return 1.0 / 3; });
  const NumericDerivative d = constant.differentiate();
  EXPECT_TRUE(d.resolved);
  EXPECT_FALSE(d.moved);
  EXPECT_EQ(d.value, 0);
  EXPECT_EQ(constant.plateau().quantum, 0);
  for (const double offset : {0.0, 5.0, 1e6}) {
    Point dead(-3, [offset](double x) { return offset + relu(x); });
    EXPECT_FALSE(dead.differentiate().moved);
    EXPECT_EQ(dead.plateau().quantum, 0) << offset;
  }
  Point step(0.3, [](double x) { return x > 0 ? 1.0 : 0.0; });
  EXPECT_EQ(step.plateau().quantum, 0);
}

TEST(Ridders, WhatRoundingKeepsStillIsSaturated) {
  for (const double x : {40.0, 21.0, -300.0}) {
    Point point(x, [](double z) { return std::tanh(z); });
    const NumericDerivative d = point.differentiate();
    EXPECT_FALSE(d.moved) << x;
    EXPECT_GT(d.hidden, 0) << x;
    EXPECT_GT(point.plateau().hidden(), 0) << x;
  }
  Point exponential(1, [](double x) { return 1 + std::exp(-1000 * x); });
  EXPECT_GT(exponential.plateau().hidden(), 0);
  // Rounding that the size of y says nothing of.
  Point absorbed(1, [](double x) { return (1 + 1e-16 * x) - 1; });
  EXPECT_FALSE(absorbed.differentiate().moved);
  EXPECT_GE(8 * absorbed.plateau().hidden(), 1e-16);
}

TEST(Ridders, WhatSmallStepsRoundAwayIsKnownFromLargeOnes) {
  // At steps below 1e-3 nothing moves; a kink at a distance of 1e-3 looks the same from there.
  const NumericDerivative slope = at(1, [](double x) { return (1 + 1e-13 * x) - 1; });
  EXPECT_NEAR(slope.value, 1e-13, 10 * slope.error_bar + 8 * (slope.rounding + slope.hidden));
  const NumericDerivative kink = at(0, [](double x) { return 5 + relu(x - 1e-3); });
  EXPECT_EQ(kink.value, 0);
  EXPECT_LT(kink.hidden, 1e-9);
}

}  // namespace
}  // namespace chainrule::internal
