// SPDX-License-Identifier: Apache-2.0
// Functions that rounding spoils more than their own digits say: right derivatives of them are
// never called wrong, and what the function shows to be wrong still is.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "chainrule/check/check_function.hpp"
#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using In = std::span<const double>;
using Out = std::span<double>;
using Function = double (*)(double);

constexpr std::uint64_t kPoints = 300;
const double kRootOfPi = std::sqrt(std::acos(-1.0));

struct Tally {
  int agree = 0, unresolved = 0, disagree = 0;

  void add(Verdict verdict) {
    ++(verdict == Verdict::kDisagree     ? disagree
       : verdict == Verdict::kUnresolved ? unresolved
                                         : agree);
  }
};

struct Curve {
  const char* name;
  Function f;
  Function derivative;
  double low, high;
  int agree = 0;  // so many right ones at least
  int sign = 0;   // so many of the other sign and ...
  int twice = 0;  // ... twice as large are caught at least
  bool logarithmic = false;
};

Tally tally(const Curve& curve, double factor) {
  Tally result;
  for (std::uint64_t k = 0; k < kPoints; ++k) {
    const double u = random_uniform({.seed = 11, .stream = 1}, k);
    const double x = curve.logarithmic ? curve.low * std::pow(curve.high / curve.low, u)
                                       : curve.low + (curve.high - curve.low) * u;
    const double claimed = factor * curve.derivative(x);
    result.add(check_derivative(
                   curve.f, [=](double) { return claimed; }, x)
                   .verdict());
  }
  return result;
}

void expect_no_false_alarm(const Curve& curve) {
  SCOPED_TRACE(curve.name);
  const Tally right = tally(curve, 1), wrong = tally(curve, -1), twice = tally(curve, 2);
  EXPECT_EQ(right.disagree, 0);
  EXPECT_GE(right.agree, curve.agree);
  EXPECT_EQ(wrong.agree, 0);
  EXPECT_EQ(twice.agree, 0);
  EXPECT_GE(wrong.disagree, curve.sign);
  EXPECT_GE(twice.disagree, curve.twice);
}

double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }
double rounded(double x, double unit) { return std::round(x / unit) * unit; }

// Small steps do not move them, since a number that they are computed from has few digits there.
const Curve kStaircases[] = {
    {"log(1 - sigmoid x), 20 to 26", [](double x) { return std::log(1 - sigmoid_of(x)); },
     [](double x) { return -sigmoid_of(x); }, 20, 26, 200, 290, 290},
    {"log(1 - sigmoid x), 26 to 30", [](double x) { return std::log(1 - sigmoid_of(x)); },
     [](double x) { return -sigmoid_of(x); }, 26, 30, 0, 280, 280},
    {"log(1 - sigmoid x), 30 to 36", [](double x) { return std::log(1 - sigmoid_of(x)); },
     [](double x) { return -sigmoid_of(x); }, 30, 36},
    {"log(1 - tanh x)", [](double x) { return std::log(1 - std::tanh(x)); },
     [](double x) { return -1 - std::tanh(x); }, 9, 18, 100, 180, 180},
    {"atanh(tanh x)", [](double x) { return std::atanh(std::tanh(x)); }, [](double) { return 1.0; },
     10, 16, 150, 270, 270},
    {"log(1 - erf x)", [](double x) { return std::log(1 - std::erf(x)); },
     [](double x) { return -2 / kRootOfPi * std::exp(-x * x) / std::erfc(x); }, 3, 5, 250, 290,
     290},
    {"log(1 - e^-e^-x)", [](double x) { return std::log(1 - std::exp(-std::exp(-x))); },
     [](double x) { return -std::exp(-x) / std::expm1(std::exp(-x)); }, 18, 32, 100, 250, 250},
    {"sqrt(1 - tanh^2 x)", [](double x) { return std::sqrt(1 - std::pow(std::tanh(x), 2)); },
     [](double x) { return -std::tanh(x) / std::cosh(x); }, 8, 17, 100, 200, 200},
    {"sin in float32",
     [](double x) { return static_cast<double>(std::sin(static_cast<float>(x))); },
     [](double x) { return std::cos(x); }, -10, 100, 250, 290, 290},
    {"exp in float32",
     [](double x) { return static_cast<double>(std::exp(static_cast<float>(x))); },
     [](double x) { return std::exp(x); }, -5, 5, 250, 290, 290},
    {"sin to six places", [](double x) { return rounded(std::sin(x), 1e-6); },
     [](double x) { return std::cos(x); }, -10, 10, 100, 290, 290},
    {"sin to four places", [](double x) { return rounded(std::sin(x), 1e-4); },
     [](double x) { return std::cos(x); }, -10, 10, 0, 270, 260},
    {"exp of tenths of a thousandth", [](double x) { return std::exp(rounded(x, 1e-4)); },
     [](double x) { return std::exp(x); }, -3, 3, 0, 260, 260},
};

TEST(Rounded, AStaircaseIsNotFlat) {
  for (const Curve& curve : kStaircases) expect_no_false_alarm(curve);
}

// Nor does it agree with being flat, where it gets anywhere.
TEST(Rounded, ZeroIsNotTheSlopeOfAStaircase) {
  for (const Curve& curve : kStaircases) {
    if (curve.agree == 0) continue;
    SCOPED_TRACE(curve.name);
    EXPECT_EQ(tally(curve, 0).agree, 0);
  }
}

TEST(Rounded, WhatIsFlatStaysWrongToMove) {
  const auto verdict = [](Function f, double claimed, double x) {
    return check_derivative(
               f, [=](double) { return claimed; }, x)
        .verdict();
  };
  const Function relu = [](double x) { return x > 0 ? x : 0; };
  const Function step = [](double x) { return x > 0 ? 1.0 : 0.0; };
  const Function box = [](double x) { return std::abs(x) < 2 ? 1.0 : 0.0; };
  const Function five = [](double) { return 5.0; };
  for (std::uint64_t k = 0; k < kPoints; ++k) {
    const double x = -3 * random_uniform({.seed = 11, .stream = 2}, k) - 1e-3;
    for (const double claimed : {1.0, -0.5, 0.01}) {
      EXPECT_EQ(verdict(relu, claimed, x), Verdict::kDisagree) << x;
      EXPECT_EQ(verdict(five, claimed, x), Verdict::kDisagree) << x;
      if (x < -0.1 && std::abs(x + 2) > 0.1) {
        EXPECT_EQ(verdict(step, claimed, x), Verdict::kDisagree) << x;
        EXPECT_EQ(verdict(box, claimed, x), Verdict::kDisagree) << x;
      }
    }
    EXPECT_EQ(verdict(relu, 0, x), Verdict::kAgree) << x;
  }
}

// A steep function departs from where rounding keeps it as fast as from a kink.
TEST(Rounded, AlmostOneIsNotZero) {
  const auto f = [](double x) { return (1 + std::exp(-1000 * x)) - 1; };
  for (std::uint64_t k = 0; k < kPoints; ++k) {
    const double x = 0.05 + 0.6 * random_uniform({.seed = 11, .stream = 3}, k);
    const auto check = [&](double claimed) {
      return check_derivative(
                 f, [=](double) { return claimed; }, x)
          .verdict();
    };
    EXPECT_EQ(check(-1000 * std::exp(-1000 * x)), Verdict::kUnresolved) << x;
    EXPECT_EQ(check(1e-6), Verdict::kDisagree) << x;
  }
}

// 1 + x, rounded by the same amount at all steps of few digits.
const Curve kSharedRounding[] = {
    {"log(1 + x) / x", [](double x) { return std::log(1 + x) / x; },
     [](double x) {
       return x < 1e-3 ? -0.5 + x * (2. / 3 - x * (0.75 - 0.8 * x))
                       : (x / (1 + x) - std::log1p(x)) / (x * x);
     },
     1e-6, 1e-3, 100, 290, 290, true},
    {"(e^x - 1) / x", [](double x) { return (std::exp(x) - 1) / x; },
     [](double x) { return 0.5 + x / 3 + x * x / 8; }, 1e-9, 1e-5, 0, 30, 60, true},
    {"(sqrt(1 + x) - 1) / x", [](double x) { return (std::sqrt(1 + x) - 1) / x; },
     [](double x) { return -0.125 + x / 8; }, 1e-9, 1e-5, 0, 20, 60, true},
    {"x / log(1 + x)", [](double x) { return x / std::log(1 + x); },
     [](double x) { return 0.5 - x / 6 + x * x / 8; }, 1e-6, 1e-4, 50, 290, 290, true},
    {"((1 + x)^3 - 1) / x", [](double x) { return (std::pow(1 + x, 3) - 1) / x; },
     [](double x) { return 3 + 2 * x; }, 1e-6, 1e-3, 150, 290, 290, true},
    {"sin(1 + x) - sin 1 over x", [](double x) { return (std::sin(1 + x) - std::sin(1.0)) / x; },
     [](double x) {
       return -std::sin(1.0) / 2 - x * std::cos(1.0) / 3 + x * x * std::sin(1.0) / 8;
     },
     1e-6, 1e-4, 50, 240, 240, true},
    {"(sin x - x) / x^3", [](double x) { return (std::sin(x) - x) / (x * x * x); },
     [](double x) { return x / 60 - x * x * x / 1260; }, 1e-7, 1e-2, 0, 30, 30, true},
};

TEST(Rounded, StepsThatShareARoundingRefuteNothing) {
  for (const Curve& curve : kSharedRounding) expect_no_false_alarm(curve);
}

// The one-pass formula, of numbers around `mean`.
TEST(Rounded, TheVarianceOfLargeNumbersInOnePass) {
  for (const double mean : {1.0, 1e4, 1e6}) {
    const auto data = [=](double x) {
      return std::vector<double>{mean + x, mean + 0.3, mean - 0.7, mean + 1.1, mean - 0.2};
    };
    const auto f = [=](double x) {
      double sum = 0, squares = 0;
      for (const double v : data(x)) sum += v, squares += v * v;
      return squares / 5 - (sum / 5) * (sum / 5);
    };
    int wrong = 0;
    for (std::uint64_t k = 0; k < kPoints; ++k) {
      const double x = 2 * random_uniform({.seed = 11, .stream = 4}, k) - 1;
      const double right = 2 * (x - (x + 0.5) / 5) / 5;
      const auto check = [&](double claimed) {
        return check_derivative(
                   f, [=](double) { return claimed; }, x)
            .verdict();
      };
      EXPECT_LT(check(right), Verdict::kDisagree) << mean << ", " << x;
      wrong += check(-right) == Verdict::kDisagree ? 1 : 0;
    }
    EXPECT_GE(wrong, mean <= 1e4 ? 270 : 0) << mean;
  }
}

// One element is large, and the function of the other is lost in the rounding of its power.
TEST(Rounded, BesideALargeElementWhatIsNotSeenIsNotRefuted) {
  struct Part {
    Function f, derivative;
  };
  const Part parts[] = {
      {[](double t) { return std::sin(t); }, [](double t) { return std::cos(t); }},
      {[](double t) { return std::exp(-t * t); },
       [](double t) { return -2 * t * std::exp(-t * t); }},
      {[](double t) { return std::tanh(t); },
       [](double t) { return 1 / std::pow(std::cosh(t), 2); }},
      {[](double t) { return 1 / (1 + t * t); },
       [](double t) { return -2 * t / std::pow(1 + t * t, 2); }},
      {[](double t) { return t * t * t; }, [](double t) { return 3 * t * t; }},
  };
  for (const double large : {1e3, 1e4, 1e5, 1e6, 1e8, 1e10}) {
    for (const int power : {1, 2, 3}) {
      for (const Part& part : parts) {
        for (std::uint64_t k = 0; k < 12; ++k) {
          const double t = 6 * random_uniform({.seed = 11, .stream = 5}, k);
          const auto f = [&](In x) { return std::pow(x[0], power) + part.f(x[1]); };
          const auto check = [&](double factor) {
            const auto gradient = [&](In x, Out g) {
              g[0] = power * std::pow(x[0], power - 1);
              g[1] = factor * part.derivative(x[1]);
            };
            return check_gradient(f, gradient, std::vector{large, t}).verdict();
          };
          SCOPED_TRACE(::testing::Message() << large << "^" << power << " at " << t);
          EXPECT_LT(check(1), Verdict::kDisagree);
          const double seen = std::abs(part.derivative(t)) / std::pow(large, power);
          if (seen < 1e-6) continue;
          EXPECT_EQ(check(-1), Verdict::kDisagree);
        }
      }
    }
  }
}

TEST(Rounded, AGraphOfLargeAndSmallInputs) {
  for (const double large : {1e4, 1e6, 1e7, 1e8}) {
    for (std::uint64_t k = 0; k < 40; ++k) {
      Graph graph;
      const Value x = graph.input("x", {kBatch, 2});
      const Value a = slice(x, 0, 1), b = slice(x, 1, 1);
      const Value y = reduce_sum(add(mul(a, a), exp(scale(mul(b, b), -1))), Axis::kAll);
      const double values[] = {large, 6 * random_uniform({.seed = 11, .stream = 6}, k) - 3};
      const ConstTensorView view(values, DType::kFloat64, 1, 2, 2);
      const GradientReport report = check_gradients(graph, y, {.inputs = {{x, view}}});
      EXPECT_LT(report.verdict(), Verdict::kDisagree) << report.to_text();
    }
  }
}

TEST(Rounded, AGraphWhoseIntermediateIsCoarse) {
  for (std::uint64_t k = 0; k < 60; ++k) {
    Graph graph;
    const Value x = graph.input("x", {kBatch, 1}), one = graph.input("one", {kBatch, 1});
    const Value y = reduce_sum(log(sub(one, sigmoid(x))), Axis::kAll);
    const double at = 18 + 14 * random_uniform({.seed = 11, .stream = 7}, k), unit = 1;
    const ConstTensorView view(&at, DType::kFloat64, 1, 1, 1);
    const ConstTensorView ones(&unit, DType::kFloat64, 1, 1, 1);
    const GradientReport report =
        check_gradients(graph, y, {.inputs = {{x, view}, {one, ones}}}, {.with_respect_to = {x}});
    EXPECT_LT(report.verdict(), Verdict::kDisagree) << report.to_text();
  }
}

// Squares of them are beyond the range of a double.
TEST(Rounded, HugeAndTinyOutputsAreCheckedLikeOthers) {
  for (const double size : {1e-300, 1e-200, 1e-160, 1.0, 1e155, 1e165, 1e200, 1e290}) {
    SCOPED_TRACE(size);
    for (std::uint64_t k = 0; k < kPoints; ++k) {
      const double x = 6 * random_uniform({.seed = 11, .stream = 8}, k) - 3;
      const auto check = [&](double factor) {
        return check_derivative([=](double z) { return size * std::sin(z); },
                                [=](double z) { return factor * (size * std::cos(z)); }, x);
      };
      const GradientReport right = check(1);
      EXPECT_EQ(right.verdict(), Verdict::kAgree) << right.to_text();
      EXPECT_TRUE(std::isfinite(right.worst()->error_bar));
      for (const double factor : {1 + 1e-6, 2.0, -1.0, 0.0}) {
        const GradientReport wrong = check(factor);
        EXPECT_EQ(wrong.verdict(), Verdict::kDisagree) << wrong.to_text();
        EXPECT_TRUE(std::isfinite(wrong.worst()->error_bar));
        EXPECT_TRUE(std::isfinite(wrong.worst()->tolerance));
      }
    }
  }
}

// Finer than any noise that large steps see, and there all the same.
TEST(Rounded, AFineRippleIsNotRefuted) {
  for (const double height : {1e-7, 1e-8, 1e-9}) {
    int alarms = 0;
    for (std::uint64_t k = 0; k < kPoints; ++k) {
      const double x = 6 * random_uniform({.seed = 11, .stream = 9}, k) - 3;
      const auto f = [=](double z) { return std::sin(z) + height * std::sin(z * 0.1 / height); };
      const double right = std::cos(x) + 0.1 * std::cos(x * 0.1 / height);
      const auto check = [&](double claimed) {
        return check_derivative(
                   f, [=](double) { return claimed; }, x)
            .verdict();
      };
      alarms += check(right) == Verdict::kDisagree ? 1 : 0;
    }
    EXPECT_EQ(alarms, 0) << height;
  }
}

}  // namespace
}  // namespace chainrule
