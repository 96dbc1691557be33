// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cmath>

#include "approximate_support.hpp"

namespace chainrule {
namespace {

using testing::certified;
using testing::of_one;

double square(double x) { return x * x; }

// Franke (1979), A critical comparison of some methods for interpolation of scattered data.
double franke(std::span<const double> p) {
  const double x = 9 * p[0], y = 9 * p[1];
  return 0.75 * std::exp(-(square(x - 2) + square(y - 2)) / 4) +
         0.75 * std::exp(-square(x + 1) / 49 - (y + 1) / 10) +
         0.5 * std::exp(-(square(x - 7) + square(y - 3)) / 4) -
         0.2 * std::exp(-square(x - 4) - square(y - 7));
}

TEST(ApproximateSlow, FrankesFunction) {
  EXPECT_LE(certified(franke, {{0, 1}, {0, 1}}, 1e-6).units, 800);
}

TEST(ApproximateSlow, TheRootOfTheAbsoluteValue) {
  const ScalarFunction root = of_one([](double x) { return std::sqrt(std::abs(x)); });
  EXPECT_LE(certified(root, {{-1, 1}}, 1e-6, {.units = ApproximationUnits::kRelu}).units, 1100);
  EXPECT_LE(certified(root, {{-1, 1}}, 1e-6, {.units = ApproximationUnits::kTanh}).units, 400);
}

TEST(ApproximateSlow, KinksByTanhUnits) {
  const ScalarFunction kink = of_one([](double x) { return 1 + std::abs(x - 0.3183098861837907); });
  EXPECT_LE(certified(kink, {{-1, 1}}, 1e-6, {.units = ApproximationUnits::kTanh}).units, 400);
}

TEST(ApproximateSlow, TenDigits) {
  const auto f = [](double x) { return std::sin(6.283185307179586 * x); };
  EXPECT_LE(certified(of_one(f), {{-1, 1}}, 1e-10).units, 80);
}

// A ridge that no smooth feature has: the search ends in reasonable time and tells the error.
TEST(ApproximateSlow, KinksInTwoVariablesAreBeyondReach) {
  const auto f = [](std::span<const double> p) { return std::abs(p[0]) + p[1]; };
  const Approximation result = approximate(f, {{-1, 1}, {-1, 1}}, 1e-6);
  EXPECT_FALSE(result.reached);
  EXPECT_LT(result.sup_error, 0.05);
}

}  // namespace
}  // namespace chainrule
