// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cmath>
#include <ctime>
#include <numbers>

#include "approximate_support.hpp"

namespace chainrule {
namespace {

using testing::certified;
using testing::expect_certified;
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

// In less than a minute of this process on all its cores: other processes do not count.
Approximation in_a_minute(const ScalarFunction& f, const Domain& domain,
                          const ApproximateOptions& options = {}) {
  constexpr double kMinute = 60;
  const std::clock_t start = std::clock();
  Approximation result = approximate(f, domain, 1e-6, options);
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, kMinute);
  return result;
}

// What the project promises, for several seeds.
TEST(ApproximateSlow, KnownFunctionsInAMinute) {
  const auto sine = [](double x) { return std::sin(2 * std::numbers::pi * x); };
  const auto packet = [](double x) { return std::exp(-x * x) * std::cos(3 * x); };
  const auto runge = [](double x) { return 1 / (1 + 25 * x * x); };
  const auto wave = [](std::span<const double> p) { return std::sin(p[0]) * std::cos(p[1]); };
  const auto root = [](double x) { return std::sqrt(std::abs(x)); };
  const Domain line{{-1, 1}}, square{{-1, 1}, {-1, 1}}, first_quadrant{{0, 1}, {0, 1}};
  struct Case {
    const char* name;
    ScalarFunction f;
    Domain domain;
    ApproximationUnits activation;
    Index most;
  };
  using enum ApproximationUnits;
  const std::vector<Case> cases{
      {"sin(2 pi x)", of_one(sine), line, kTanh, 40},
      {"exp(-x^2) cos(3 x)", of_one(packet), line, kTanh, 40},
      {"Runge", of_one(runge), line, kTanh, 80},
      {"sin(x) cos(y)", wave, square, kTanh, 100},
      {"Franke", franke, first_quadrant, kTanh, 800},
      {"|x|", of_one([](double x) { return std::abs(x); }), line, kRelu, 2},
      {"sqrt|x|", of_one(root), line, kRelu, 1100},
      {"sqrt|x| in tanh units", of_one(root), line, kTanh, 400},
  };
  for (const Case& known : cases) {
    for (const std::uint64_t seed : {0, 7}) {
      SCOPED_TRACE(known.name);
      const Approximation result =
          in_a_minute(known.f, known.domain,
                      {.units = known.activation, .max_units = known.most, .seed = seed});
      expect_certified(result, known.f, known.domain, 1e-6);
      EXPECT_LE(result.units, known.most);
    }
  }
}

// Out of reach for want of digits, of units, or of a network that could: each says so soon.
TEST(ApproximateSlow, OutOfReachInAMinute) {
  const Domain line{{-1, 1}};
  const auto expect_end = [](double (*f)(double), const Domain& domain, double worst) {
    const Approximation result = in_a_minute(of_one(f), domain);
    EXPECT_FALSE(result.reached);
    EXPECT_LE(result.sup_error, worst);
  };
  expect_end([](double x) { return std::exp(x); }, {{0, 50}}, 1e-12 * std::exp(50));
  expect_end([](double x) { return std::exp(x); }, {{0, 700}}, 1e-7 * std::exp(700));
  expect_end([](double x) { return std::sin(1000 * x); }, line, 0.003);
  expect_end([](double x) { return x > 0.1 ? 1.0 : 0.0; }, line, 0.5);
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
