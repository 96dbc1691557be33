// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/dual_activation.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <numbers>

#include "chainrule/core/error.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

using Real = long double;
using RealFunction = Real (*)(Real);

constexpr Real kPi = std::numbers::pi_v<Real>;

struct RealMoments {
  Real value = 0;
  Real derivative = 0;
};

// u = a g, v = b (c g + sqrt(1 - c^2) h) by the trapezoidal rule in long double: of analytic
// functions all digits, at this step and up to these variances.
RealMoments by_quadrature(RealFunction phi, RealFunction derivative, Real a, Real b, Real c) {
  constexpr Real kStep = 0.125L;
  constexpr int kHalf = 80;
  const Real s = std::sqrt((1 - c) * (1 + c));
  RealMoments sum;
  for (int i = -kHalf; i <= kHalf; ++i) {
    const Real g = kStep * i;
    RealMoments row;
    for (int j = -kHalf; j <= kHalf; ++j) {
      const Real h = kStep * j;
      const Real weight = std::exp(-h * h / 2);
      row.value += weight * phi(b * (c * g + s * h));
      row.derivative += weight * derivative(b * (c * g + s * h));
    }
    const Real weight = kStep * kStep / (2 * kPi) * std::exp(-g * g / 2);
    sum.value += weight * phi(a * g) * row.value;
    sum.derivative += weight * derivative(a * g) * row.derivative;
  }
  return sum;
}

Real cdf(Real x) { return std::erfc(-x / std::sqrt(Real(2))) / 2; }
Real pdf(Real x) { return std::exp(-x * x / 2) / std::sqrt(2 * kPi); }
Real logistic(Real x) { return 1 / (1 + std::exp(-x)); }
Real inner(Real x) { return std::sqrt(2 / kPi) * (x + 0.044715L * x * x * x); }

struct SmoothCase {
  DualActivation dual;
  RealFunction phi;
  RealFunction derivative;
};

std::vector<SmoothCase> smooth_cases() {
  return {
      {DualActivation::identity(), [](Real x) { return x; }, [](Real) { return Real(1); }},
      {DualActivation::erf(), [](Real x) { return std::erf(x); },
       [](Real x) { return 2 / std::sqrt(kPi) * std::exp(-x * x); }},
      {DualActivation::sin(), [](Real x) { return std::sin(x); },
       [](Real x) { return std::cos(x); }},
      {DualActivation::gelu(), [](Real x) { return x * cdf(x); },
       [](Real x) { return cdf(x) + x * pdf(x); }},
      {DualActivation::tanh(), [](Real x) { return std::tanh(x); },
       [](Real x) { return 1 / (std::cosh(x) * std::cosh(x)); }},
      {DualActivation::sigmoid(), logistic, [](Real x) { return logistic(x) * logistic(-x); }},
      {DualActivation::softplus(), [](Real x) { return std::log1p(std::exp(x)); }, logistic},
      {DualActivation::silu(), [](Real x) { return x * logistic(x); },
       [](Real x) { return logistic(x) + x * logistic(x) * logistic(-x); }},
      {DualActivation::gelu_tanh(), [](Real x) { return x / 2 * (1 + std::tanh(inner(x))); },
       [](Real x) {
         const Real t = std::tanh(inner(x));
         return (1 + t) / 2 +
                x / 2 * (1 - t * t) * std::sqrt(2 / kPi) * (1 + 3 * 0.044715L * x * x);
       }},
      {DualActivation::smooth(
           "cubic", [](double x) { return x * x * x - x; }, [](double x) { return 3 * x * x - 1; }),
       [](Real x) { return x * x * x - x; }, [](Real x) { return 3 * x * x - 1; }},
  };
}

TEST(DualActivation, SmoothOnesAgreeWithQuadrature) {
  const double pairs[][3] = {{0.6, 0.9, 0.3}, {1.1, 0.4, -0.85}, {0.8, 0.8, 0.999}};
  for (const SmoothCase& one : smooth_cases()) {
    for (const auto& [a, b, c] : pairs) {
      const DualMoments found = one.dual(PairCovariance::from(a * a, b * b, a * b * c));
      const RealMoments expected = by_quadrature(one.phi, one.derivative, a, b, c);
      const double scale = std::sqrt(one.dual(a * a).value * one.dual(b * b).value);
      const double slope_scale = std::sqrt(one.dual(a * a).derivative * one.dual(b * b).derivative);
      EXPECT_NEAR(found.value, static_cast<double>(expected.value), 2e-14 * scale)
          << one.dual.name();
      EXPECT_NEAR(found.derivative, static_cast<double>(expected.derivative), 2e-14 * slope_scale)
          << one.dual.name();
    }
    const DualMoments alone = one.dual(0.81);
    const RealMoments expected = by_quadrature(one.phi, one.derivative, 0.9L, 0.9L, 1);
    EXPECT_NEAR(alone.value, static_cast<double>(expected.value), 1e-14 * alone.value + 1e-16);
    EXPECT_NEAR(alone.derivative, static_cast<double>(expected.derivative),
                1e-14 * alone.derivative);
  }
}

// With u = r cos t and v = r cos(t - theta) in polar coordinates, E[r^2] = 2: an integral of
// products of cosines over the arcs on which neither changes its sign, by Simpson's rule.
RealMoments rectifier_by_arcs(Real slope, Real theta) {
  const auto phi = [&](Real x) { return x > 0 ? x : slope * x; };
  const auto derivative = [&](Real x) { return x > 0 ? Real(1) : slope; };
  const Real ends[] = {-kPi / 2, theta - kPi / 2, kPi / 2, theta + kPi / 2, 3 * kPi / 2};
  RealMoments sum;
  for (int arc = 0; arc < 4; ++arc) {
    const Real length = ends[arc + 1] - ends[arc];
    const Real middle = ends[arc] + length / 2;
    constexpr int kSteps = 8000;
    for (int k = 0; k <= kSteps; ++k) {
      const Real t = ends[arc] + length * k / kSteps;
      const Real weight = (k == 0 || k == kSteps ? 1 : k % 2 == 1 ? 4 : 2) / Real(3 * kSteps);
      sum.value += weight * length / kPi * phi(std::cos(t)) * phi(std::cos(t - theta));
    }
    sum.derivative +=
        length / (2 * kPi) * derivative(std::cos(middle)) * derivative(std::cos(middle - theta));
  }
  return sum;
}

TEST(DualActivation, RectifiersAgreeWithArcs) {
  for (const double slope : {1.0, 0.0, -1.0, 0.1, -0.3, 2.5}) {
    const DualActivation dual = DualActivation::leaky_relu(slope);
    for (const double theta : {0.2, 1.0, 1.57, 2.5, 3.1}) {
      const double a = 1.3;
      const double b = 0.6;
      const DualMoments found = dual(PairCovariance::from(a * a, b * b, a * b * std::cos(theta)));
      const RealMoments expected = rectifier_by_arcs(slope, theta);
      const double scale = a * b * (1 + slope * slope) / 2;
      EXPECT_NEAR(found.value, a * b * static_cast<double>(expected.value), 2e-14 * scale);
      EXPECT_NEAR(found.derivative, static_cast<double>(expected.derivative),
                  3e-14 * (1 + slope * slope));
    }
  }
}

TEST(DualActivation, NamedRectifiersAreLeakyRelus) {
  const PairCovariance pair = PairCovariance::from(1.5, 0.7, -0.4);
  const std::pair<DualActivation, double> cases[] = {
      {DualActivation::identity(), 1}, {DualActivation::relu(), 0}, {DualActivation::abs(), -1}};
  for (const auto& [dual, slope] : cases) {
    EXPECT_EQ(dual(pair).value, DualActivation::leaky_relu(slope)(pair).value);
    EXPECT_EQ(dual(pair).derivative, DualActivation::leaky_relu(slope)(pair).derivative);
  }
}

// Below, 1 - c is far smaller than c can tell. theta = 2 asin sqrt((1 - c) / 2) in long double.
Real angle_of(Real below_1) { return 2 * std::asin(std::sqrt(below_1 / 2)); }

TEST(DualActivation, KeepsTheAngleOfNearlyParallelPairs) {
  for (const double below_1 : {1e-6, 1e-9, 1e-14, 1e-20, 0.0}) {
    const Real theta = angle_of(below_1);
    for (const bool opposite : {false, true}) {
      const PairCovariance pair{.xx = 2,
                                .zz = 0.5,
                                .below_1 = opposite ? 2 - below_1 : below_1,
                                .above_1 = opposite ? below_1 : 2 - below_1};
      const DualMoments relu = DualActivation::relu()(pair);
      const Real angle = opposite ? kPi - theta : theta;
      EXPECT_NEAR(relu.derivative, static_cast<double>((kPi - angle) / (2 * kPi)), 1e-16);
      EXPECT_NEAR(
          relu.value,
          static_cast<double>((std::sin(theta) + (kPi - angle) * std::cos(angle)) / (2 * kPi)),
          2e-16);
    }
  }
}

// 1 - cos of relu outputs, 1 - (sin t + (pi - t) cos t) / pi, by its Taylor series: t^2 / 2 -
// t^3 / (3 pi) - t^4 / 24 + t^5 / (30 pi).
TEST(DualActivation, OutputsOfReluKeepTheDistance) {
  for (const double below_1 : {1e-8, 1e-12, 1e-18}) {
    const Real t = angle_of(below_1);
    const Real expected =
        t * t / 2 - t * t * t / (3 * kPi) - t * t * t * t / 24 + t * t * t * t * t / (30 * kPi);
    const PairCovariance out = DualActivation::relu().outputs(
        {.xx = 2, .zz = 0.5, .below_1 = below_1, .above_1 = 2 - below_1});
    EXPECT_NEAR(out.below_1 / static_cast<double>(expected), 1, 1e-13);
    EXPECT_EQ(out.xx, 1);
    EXPECT_EQ(out.zz, 0.25);
  }
}

// To first order in 1 - c, by Price's theorem: (1 - c) v E[phi'^2] / E[phi^2] at equal variances v.
TEST(DualActivation, OutputsOfSmoothOnesKeepTheDistance) {
  for (const DualActivation& dual : {DualActivation::erf(), DualActivation::sin(),
                                     DualActivation::gelu(), DualActivation::tanh()}) {
    const double variance = 1.7;
    const DualMoments moments = dual(variance);
    for (const double below_1 : {1e-11, 1e-16}) {
      const PairCovariance out = dual.outputs(
          {.xx = variance, .zz = variance, .below_1 = below_1, .above_1 = 2 - below_1});
      const double expected = below_1 * variance * moments.derivative / moments.value;
      EXPECT_NEAR(out.below_1 / expected, 1, 1e-9) << dual.name();
    }
    EXPECT_EQ(dual.outputs({.xx = variance, .zz = variance, .below_1 = 0, .above_1 = 2}).below_1,
              0);
  }
}

// Parallel inputs of other lengths: 1 - c from Cauchy and Schwarz in long double.
TEST(DualActivation, OutputsOfParallelPairs) {
  const auto erf = [](Real x) { return std::erf(x); };
  const auto slope = [](Real x) { return 2 / std::sqrt(kPi) * std::exp(-x * x); };
  for (const Real ratio : {1.01L, 1.3L}) {
    const Real a = 0.8L;
    const Real xx = by_quadrature(erf, slope, a, a, 1).value;
    const Real zz = by_quadrature(erf, slope, a * ratio, a * ratio, 1).value;
    const Real xz = by_quadrature(erf, slope, a, a * ratio, 1).value;
    for (const bool opposite : {false, true}) {
      const PairCovariance out =
          DualActivation::erf().outputs({.xx = static_cast<double>(a * a),
                                         .zz = static_cast<double>(a * a * ratio * ratio),
                                         .below_1 = opposite ? 2.0 : 0.0,
                                         .above_1 = opposite ? 0.0 : 2.0});
      const double expected = static_cast<double>(1 - xz / std::sqrt(xx * zz));
      EXPECT_NEAR((opposite ? out.above_1 : out.below_1) / expected, 1, 1e-9);
    }
  }
}

TEST(DualActivation, ZeroVariance) {
  for (const std::string& name : DualActivation::names()) {
    const DualActivation dual = DualActivation::named(name);
    const double at_0 = name == "sigmoid" ? 0.5 : name == "softplus" ? std::log(2.0) : 0;
    EXPECT_NEAR(dual(0.0).value, at_0 * at_0, 1e-15) << name;
    EXPECT_NEAR(dual(PairCovariance::from(0, 0, 0)).value, at_0 * at_0, 1e-15) << name;
    EXPECT_TRUE(std::isfinite(dual(PairCovariance::from(0, 1, 0)).derivative)) << name;
  }
}

// E[tanh^2(s g)] = 1 - E[sech^2(s g)], and sech^2 is narrow: with the density's Taylor series and
// the moments 2, pi^2 / 6 and 7 pi^4 / 120 of sech^2.
TEST(DualActivation, LargeVarianceOfTanh) {
  for (const Real s : {60.0L, 100.0L}) {
    const Real series =
        2 - kPi * kPi / 6 / (2 * s * s) + 7 * kPi * kPi * kPi * kPi / 120 / (8 * s * s * s * s);
    const double expected = static_cast<double>(1 - pdf(0) / s * series);
    EXPECT_NEAR(DualActivation::tanh()(static_cast<double>(s * s)).value, expected, 1e-12);
  }
}

TEST(DualActivation, RefusesWhatIsNotSmooth) {
  EXPECT_THAT(message_of<UnsupportedError>([] {
                static_cast<void>(DualActivation::smooth(
                    "kinked", [](double x) { return std::abs(x - 0.3); },
                    [](double x) { return x > 0.3 ? 1.0 : -1.0; }));
              }),
              HasSubstr("activation 'kinked'"));
  EXPECT_THAT(message_of<ArgumentError>([] {
                static_cast<void>(DualActivation::smooth(
                    "mistaken", [](double x) { return std::tanh(x); },
                    [](double x) { return 1 - std::tanh(x); }));
              }),
              HasSubstr("is the derivative that of phi?"));
  EXPECT_THAT(message_of<ArgumentError>([] {
                static_cast<void>(DualActivation::smooth(
                    "log", [](double x) { return std::log(x); }, [](double x) { return 1 / x; }));
              }),
              HasSubstr("not finite"));
  EXPECT_THROW(DualActivation::smooth("nothing", nullptr, nullptr), ArgumentError);
  EXPECT_THROW(DualActivation::leaky_relu(NAN), ArgumentError);
  EXPECT_THAT(message_of<ArgumentError>([] { static_cast<void>(DualActivation::named("reluu")); }),
              HasSubstr("unknown activation 'reluu', expected one of identity, relu, leaky_relu"));
}

TEST(PairCovariance, FromCovariances) {
  const PairCovariance pair = PairCovariance::from(4, 9, -3);
  EXPECT_DOUBLE_EQ(pair.below_1, 1.5);
  EXPECT_DOUBLE_EQ(pair.above_1, 0.5);
  EXPECT_DOUBLE_EQ(pair.xz(), -3);
  EXPECT_DOUBLE_EQ(pair.angle(), std::acos(-0.5));
  EXPECT_EQ(PairCovariance::from(2, 2, 2).below_1, 0);
  EXPECT_EQ(PairCovariance::from(0, 5, 0).correlation(), 0);
  // (1 + e) (1 - e) - (1 - e)^2 = 2 e - 2 e^2 over 2 (1 - e).
  const double e = 0x1p-40;
  EXPECT_NEAR(PairCovariance::from(1 + e, 1 - e, 1 - e).below_1 / e, 1, 1e-10);
  EXPECT_THROW(PairCovariance::from(1, 1, 1.1), ArgumentError);
  EXPECT_THROW(PairCovariance::from(-1, 1, 0), ArgumentError);
  EXPECT_THROW(PairCovariance::from(1, INFINITY, 0), ArgumentError);
}

}  // namespace
}  // namespace chainrule
