// SPDX-License-Identifier: Apache-2.0
// Functions that are another one at small steps than at large ones: ripples, poles and cusps
// between the last digits of x, periods of some digits, steps and teeth.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "chainrule/check/check_function.hpp"
#include "chainrule/core/random.hpp"

namespace chainrule {
namespace {

using Function = std::function<double(double)>;

struct Tally {
  int agree = 0, disagree = 0;
};

constexpr int kPoints = 200;

double uniform(std::uint64_t k, double low, double high) {
  return low + (high - low) * random_uniform({.seed = 11, .stream = 2}, k);
}

void add(Tally& tally, const Function& f, double claimed, double x) {
  const GradientReport report =
      check_derivative(f, [=](double) { return claimed; }, x, {.zero_derivative = claimed == 0});
  tally.agree += report.verdict() == Verdict::kAgree ? 1 : 0;
  tally.disagree += report.verdict() == Verdict::kDisagree ? 1 : 0;
}

Tally tally(const Function& f, const Function& derivative, double low, double high) {
  Tally result;
  for (std::uint64_t k = 0; k < kPoints; ++k) {
    const double x = uniform(k, low, high);
    add(result, f, derivative(x), x);
  }
  return result;
}

TEST(FineStructure, ARippleIsSeenAndMayNotBeForgotten) {
  struct Ripple {
    double size, frequency;
  };
  for (const Ripple r : {Ripple{1e-6, 1e3}, {1e-6, 1e4}, {1e-6, 1e6}, {1e-7, 1e6}, {1e-8, 1e5}}) {
    SCOPED_TRACE(::testing::Message() << r.size << " sin " << r.frequency << " x");
    const auto f = [=](double x) { return x * x + r.size * std::sin(r.frequency * x); };
    const Tally right = tally(
        f, [=](double x) { return 2 * x + r.size * r.frequency * std::cos(r.frequency * x); }, 0.5,
        3);
    EXPECT_EQ(right.disagree, 0);
    EXPECT_GE(right.agree, kPoints / 2);
    const Tally wrong = tally(
        f, [](double x) { return 2 * x; }, 0.5, 3);
    EXPECT_LE(wrong.agree, kPoints / 50);
    EXPECT_GE(wrong.disagree, kPoints * 3 / 4);
  }
}

// All steps but the smallest jump over the edge at 1.
TEST(FineStructure, FewUnitsBesideAPoleNothingRightIsRefuted) {
  const Function functions[] = {
      [](double x) { return 1 / (x - 1); },
      [](double x) { return 1 / ((x - 1) * (x - 1)); },
      [](double x) { return std::log(std::abs(x - 1)); },
  };
  const Function derivatives[] = {
      [](double x) { return -1 / ((x - 1) * (x - 1)); },
      [](double x) { return -2 / ((x - 1) * (x - 1) * (x - 1)); },
      [](double x) { return 1 / (x - 1); },
  };
  for (std::size_t i = 0; i < std::size(functions); ++i) {
    Tally near;
    for (double units = 1; units <= 4096; units *= 2) {
      for (const double side : {-1.0, 1.0}) {
        const double x = 1 + side * units * std::numeric_limits<double>::epsilon();
        add(near, functions[i], derivatives[i](x), x);
      }
    }
    EXPECT_EQ(near.disagree, 0) << i;
  }
}

TEST(FineStructure, WhereADigitIsMuchOfAPeriodNothingRightIsRefuted) {
  const auto sine = [](double x) { return std::sin(x); };
  const auto cosine = [](double x) { return std::cos(x); };
  for (const double from : {1e12, 1e13, 1e14, 1e15, 1e16, 1e17}) {
    EXPECT_EQ(tally(sine, cosine, from, 2 * from).disagree, 0) << from;
  }
  EXPECT_GT(tally(sine, cosine, 1e12, 2e12).agree, kPoints / 2);
  EXPECT_EQ(tally(
                sine, [](double x) { return -std::cos(x); }, 1e12, 2e12)
                .agree,
            0);
}

// The derivative is 0, and no step that is a part of the tread sees anything else; larger ones
// agree on 1.
TEST(FineStructure, AQuantizersDerivativeIsNotRefuted) {
  for (const double steps : {16.0, 64.0, 255.0, 4096.0}) {
    const auto f = [=](double x) { return std::round(steps * x) / steps; };
    EXPECT_EQ(tally(
                  f, [](double) { return 0.0; }, 0.5, 3)
                  .disagree,
              0)
        << steps;
    if (steps > 1000) continue;  // fine enough to be the rounding of something
    EXPECT_EQ(tally(
                  f, [](double) { return 1.0; }, 0.5, 3)
                  .agree,
              0)
        << steps;
  }
}

// At points of few digits, so that steps of few digits are whole periods.
TEST(FineStructure, ASawtoothsSlopeIsNotRefuted) {
  for (const int digits : {6, 10, 12, 20}) {
    const double teeth = std::ldexp(1, digits);
    const auto f = [=](double x) { return teeth * x - std::floor(teeth * x); };
    Tally right;
    for (std::uint64_t k = 0; k < kPoints; ++k) {
      const double x = std::ldexp(std::round(std::ldexp(uniform(k, 0.5, 3), 20)), -20);
      if (f(x) != 0) add(right, f, teeth, x);
    }
    EXPECT_EQ(right.disagree, 0) << digits;
  }
}

}  // namespace
}  // namespace chainrule
