// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_function.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

#include "chainrule/check/failure_text.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/core/random.hpp"
#include "derivative_table.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using In = std::span<const double>;
using Out = std::span<double>;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

const ElementCheck& only(const GradientReport& report) { return *report.worst(); }

TEST(CheckDerivative, TheExampleOfCeres) {
  // "On derivatives" in the documentation of Ceres; the pole at 0.8767 is near x = 1.
  const auto f = [](double x) { return std::exp(x) / (std::sin(x) - x * x); };
  const GradientReport report = check_derivative(
      f, [](double) { return 140.7377355712966; }, 1);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_NEAR(only(report).numeric, 140.7377355712966, 140.7 * 1e-12);
  EXPECT_LE(only(report).error, only(report).error_bar);
  EXPECT_FALSE(check_derivative(
                   f, [](double) { return 140.73774; }, 1)
                   .ok());
}

// To 1e-12 relative from default settings, and within its own error bar.
void expect_twelve_digits(const std::function<double(double)>& f, double derivative, double x) {
  const GradientReport report = check_derivative(
      f, [=](double) { return derivative; }, x);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_NEAR(only(report).numeric, derivative, std::abs(derivative) * 1e-12);
  EXPECT_EQ(check_derivative(
                f, [=](double) { return derivative * (1 + 1e-8); }, x)
                .verdict(),
            Verdict::kDisagree);
}

TEST(CheckDerivative, TheSquareRootOfATrillionthIsRightToTwelveDigits) {
  expect_twelve_digits([](double x) { return std::sqrt(x); }, 0.5 / std::sqrt(1e-12), 1e-12);
}

TEST(CheckDerivative, XToTheXAtOneIsRightToTwelveDigits) {
  expect_twelve_digits([](double x) { return std::pow(x, x); }, 1, 1);
}

TEST(CheckDerivative, TheLogarithmOf1em300LiesWithinItsOwnErrorBar) {
  const GradientReport report = check_derivative([](double x) { return std::log(x); },
                                                 [](double x) { return 1 / x; }, 1e-300);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_LE(only(report).error, only(report).error_bar);
  EXPECT_LE(only(report).error_bar, 1e-11 * 1e300);
}

TEST(CheckDerivative, AbsoluteValueAtZeroIsAKink) {
  const auto f = [](double x) { return std::abs(x); };
  for (const double between : {-1.0, -0.3, 0.0, 1.0}) {
    const GradientReport report = check_derivative(
        f, [=](double) { return between; }, 0);
    EXPECT_EQ(report.verdict(), Verdict::kKink) << between;
    EXPECT_EQ(only(report).left_slope, -1);
    EXPECT_EQ(only(report).right_slope, 1);
  }
  EXPECT_EQ(check_derivative(
                f, [](double) { return 1.001; }, 0)
                .verdict(),
            Verdict::kDisagree);
  EXPECT_EQ(check_derivative(
                f, [](double) { return -1.001; }, 0)
                .verdict(),
            Verdict::kDisagree);
  const GradientReport strict =
      check_derivative(f, [](double) { return 0.5; }, 0, {.accept_kinks = false});
  EXPECT_EQ(strict.verdict(), Verdict::kUnresolved);
  EXPECT_EQ(only(strict).reason, Reason::kKink);
}

TEST(CheckDerivative, ASaturatedFunctionIsUnresolved) {
  const auto f = [](double x) { return std::tanh(x); };
  // Zero is what 1 - y^2 gives there.
  for (const double derivative : {0.0, 1 / std::pow(std::cosh(40.0), 2), 1e-17}) {
    const GradientReport report = check_derivative(
        f, [=](double) { return derivative; }, 40);
    EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << derivative;
    EXPECT_EQ(only(report).reason, Reason::kSaturated);
    EXPECT_FALSE(report.ok());
  }
  EXPECT_EQ(check_derivative(
                f, [](double) { return 1e-3; }, 40)
                .verdict(),
            Verdict::kDisagree);
}

TEST(CheckDerivative, NoiseIsUnresolvedOrHasAWideBar) {
  const auto f = [](double x) { return std::sin(x) + 1e-8 * std::sin(1e14 * x); };
  const GradientReport report = check_derivative(
      f, [](double x) { return std::cos(x); }, 0.7);
  EXPECT_LT(report.verdict(), Verdict::kDisagree);
  EXPECT_GT(only(report).error_bar, 1e-8);
  const auto wild = [](double x) { return std::sin(x) + 1e-3 * std::sin(1e14 * x); };
  const GradientReport hopeless = check_derivative(
      wild, [](double x) { return std::cos(x); }, 0.7);
  EXPECT_EQ(hopeless.verdict(), Verdict::kUnresolved);
}

TEST(CheckDerivative, SaysWhyItIsUnresolved) {
  const auto reason = [](double (*f)(double), double x, double derivative) {
    const GradientReport report = check_derivative(
        f, [=](double) { return derivative; }, x);
    EXPECT_EQ(report.verdict(), Verdict::kUnresolved);
    EXPECT_FALSE(report.ok());
    return only(report).reason;
  };
  EXPECT_EQ(reason([](double x) { return std::sqrt(x); }, 0, 1), Reason::kDomain);
  EXPECT_EQ(reason([](double x) { return std::cbrt(x); }, 0, 1), Reason::kRounding);
  EXPECT_EQ(reason([](double x) { return x > 0 ? 1.0 : 0.0; }, 0, 0), Reason::kRounding);
}

TEST(CheckDerivative, AConstantAgreesWithZeroIfThatIsDeclared) {
  const auto f = [](double) { return 5.0; };
  const auto zero = [](double) { return 0.0; };
  EXPECT_EQ(check_derivative(f, zero, 3).verdict(), Verdict::kAgree);
  EXPECT_THAT(check_derivative(f, zero, 3).failures, ElementsAre(HasSubstr("zero everywhere")));
  EXPECT_TRUE(check_derivative(f, zero, 3, {.zero_derivative = true}).ok());
  EXPECT_FALSE(check_derivative(
                   f, [](double) { return 1e-3; }, 3)
                   .ok());
}

TEST(CheckDerivative, WhatIsDeclaredToBeZeroAndIsNotIsSaid) {
  const auto f = [](double x) { return x; };
  const FunctionCheckOptions zero{.zero_derivative = true};
  const GradientReport both = check_derivative(
      f, [](double) { return 1.0; }, 3, zero);
  EXPECT_EQ(both.verdict(), Verdict::kDisagree);
  EXPECT_EQ(both.worst()->reason, Reason::kNotZero);
  EXPECT_EQ(both.worst()->error, 1);  // from the zero that was declared
  EXPECT_THAT(both.failures,
              ElementsAre(AllOf(HasSubstr("declared to be zero, and is not: 1 of 1 disagree"),
                                HasSubstr("expected 0"), HasSubstr("error 1,"))));
  EXPECT_THAT(failure_text(both),
              HasSubstr("hint: backward and differences agree: it is the declaration"));
  // Nor is it zero where zero is given.
  const GradientReport none = check_derivative(
      f, [](double) { return 0.0; }, 3, zero);
  EXPECT_EQ(none.worst()->reason, Reason::kNotZero);
  EXPECT_THAT(failure_text(none), ::testing::Not(HasSubstr("differences agree")));
  // What is given is wrong where only that is not zero.
  const GradientReport given =
      check_derivative([](double) { return 5.0; }, [](double) { return 1.0; }, 3, zero);
  EXPECT_EQ(given.verdict(), Verdict::kDisagree);
  EXPECT_EQ(given.worst()->reason, Reason::kNone);
}

TEST(CheckDerivative, AZeroThatIsUnresolvedIsSaidToBeUndeclared) {
  const auto f = [](double x) { return x < 3 ? 0.0 : 1.0; };  // a step, exactly at x
  const auto zero = [](double) { return 0.0; };
  const GradientReport report = check_derivative(f, zero, 3);
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved);
  EXPECT_THAT(report.failures, ElementsAre(HasSubstr("zero everywhere, which was not declared")));
}

TEST(CheckDerivative, NotANumberDisagrees) {
  const auto f = [](double x) { return x * x; };
  EXPECT_EQ(check_derivative(
                f, [](double) { return kNaN; }, 3)
                .verdict(),
            Verdict::kDisagree);
  EXPECT_EQ(check_derivative(
                f, [](double) { return HUGE_VAL; }, 3)
                .verdict(),
            Verdict::kDisagree);
  EXPECT_THAT(
      check_derivative([](double x) { return std::log(x); }, [](double x) { return 1 / x; }, -1)
          .failures,
      ElementsAre(HasSubstr("not finite")));
}

// Every function of the table at many points, some of them close to zero: no right derivative is
// called wrong, the numeric one is as close to the exact one as its own bar and rounding say, and
// wherever anything is resolved one that is off by a thousandth, or by its sign, is called wrong.
TEST(CheckDerivative, ATableOfKnownDerivatives) {
  int checked = 0, resolved = 0;
  std::uint64_t stream = 1;
  for (const testing::KnownDerivative& known : testing::known_derivatives()) {
    ++stream;
    for (std::uint64_t k = 0; k < 60; ++k) {
      double x =
          known.low + (known.high - known.low) * random_uniform({.seed = 5, .stream = stream}, k);
      if (k % 5 == 1) x *= 1e-3;
      if (k % 7 == 1) x *= 1e-6;
      // Few bits, so that 10 x and the like are exact and round nothing.
      int exponent = 0;
      const double mantissa = std::frexp(x, &exponent);
      x = std::ldexp(std::round(std::ldexp(mantissa, 40)), exponent - 40);
      if (known.low > 0 && x < known.low) continue;
      SCOPED_TRACE(::testing::Message() << known.name << " at " << x);
      const auto exact = static_cast<double>(known.derivative(x));
      const auto report = [&](double factor) {
        return check_derivative(known.function, [&](double) { return factor * exact; }, x,
                                {.relative_tolerance = 1e-15});
      };
      const GradientReport right = report(1);
      ++checked;
      ASSERT_LT(right.verdict(), Verdict::kDisagree) << right.to_text();
      const ElementCheck& check = only(right);
      EXPECT_LE(check.error, check.tolerance);
      if (right.verdict() != Verdict::kAgree || exact == 0) continue;
      ++resolved;
      for (const double factor : {1.001, -1.0}) {
        EXPECT_EQ(report(factor).verdict(), Verdict::kDisagree)
            << factor << " times the right one\n"
            << right.to_text();
      }
    }
  }
  EXPECT_GT(checked, 1500);
  EXPECT_GT(resolved, checked * 4 / 5);
}

// y_i = sum_j sin((i + 1) x_j) x_(j + 1), and its Jacobian.
void waves(In x, Out y) {
  const std::size_t n = x.size();
  for (std::size_t i = 0; i < y.size(); ++i) {
    y[i] = 0;
    for (std::size_t j = 0; j < n; ++j) {
      y[i] += std::sin(static_cast<double>(i + 1) * x[j]) * x[(j + 1) % n];
    }
  }
}

void waves_jacobian(In x, Out jacobian) {
  const std::size_t n = x.size();
  for (std::size_t i = 0; i * n < jacobian.size(); ++i) {
    const auto a = static_cast<double>(i + 1);
    for (std::size_t j = 0; j < n; ++j) {
      jacobian[i * n + j] =
          a * std::cos(a * x[j]) * x[(j + 1) % n] + std::sin(a * x[(j + n - 1) % n]);
    }
  }
}

void waves_product(In x, In v, Out product) {
  std::vector<double> jacobian(v.size() * x.size());
  waves_jacobian(x, jacobian);
  for (std::size_t j = 0; j < x.size(); ++j) {
    product[j] = 0;
    for (std::size_t i = 0; i < v.size(); ++i) product[j] += v[i] * jacobian[i * x.size() + j];
  }
}

std::vector<double> point(std::size_t n) {
  std::vector<double> x(n);
  for (std::size_t j = 0; j < n; ++j) {
    x[j] = 2 * random_uniform({.seed = 9, .stream = 1}, j) - 0.7;
  }
  return x;
}

TEST(CheckJacobian, ComparesEveryEntry) {
  const std::vector<double> x = point(4);
  const GradientReport report = check_jacobian(waves, waves_jacobian, x, 3);
  EXPECT_TRUE(report.ok()) << report.to_text();
  ASSERT_EQ(report.values.size(), 1U);
  EXPECT_EQ(report.values[0].name, "x");
  EXPECT_EQ(report.values[0].shape, Shape({4}));
  EXPECT_EQ(report.values[0].elements, 4);
  EXPECT_EQ(report.values[0].jacobian, 12);
  EXPECT_EQ(report.values[0].agree, 16);
}

TEST(CheckJacobian, FindsTheEntryThatIsWrong) {
  const std::vector<double> x = point(4);
  for (std::size_t entry = 0; entry < 12; ++entry) {
    const auto wrong = [&](In at, Out jacobian) {
      waves_jacobian(at, jacobian);
      jacobian[entry] *= 1 + 1e-6;
    };
    const GradientReport report = check_jacobian(waves, wrong, x, 3);
    EXPECT_EQ(report.verdict(), Verdict::kDisagree) << entry;
    bool found = false;
    for (const ElementCheck& check : report.values[0].failures) {
      if (check.output < 0) continue;
      EXPECT_EQ(check.output, static_cast<Index>(entry / 4));
      EXPECT_EQ(check.column, static_cast<Index>(entry % 4));
      found = true;
    }
    EXPECT_TRUE(found) << entry;
  }
}

TEST(CheckJacobian, ASmallEntryCannotHideBehindLargeOnes) {
  const auto f = [](In x, Out y) { y[0] = 1e6 * x[0], y[1] = 1e-6 * x[0] * x[0]; };
  const auto wrong = [](In x, Out j) { j[0] = 1e6, j[1] = 3e-6 * x[0]; };
  const GradientReport report = check_jacobian(f, wrong, std::vector{0.75}, 2);
  EXPECT_EQ(report.verdict(), Verdict::kDisagree);
  EXPECT_EQ(only(report).output, 1);
}

TEST(CheckJacobian, RandomDirectionsWhereItIsLarge) {
  const std::vector<double> x = point(300);
  const GradientReport report = check_jacobian(waves, waves_jacobian, x, 20);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.values[0].jacobian, 0);
  EXPECT_EQ(report.values[0].elements, 48);
  EXPECT_EQ(report.values[0].directions, 6);
  // One column of 300, which few samples hit, but every direction.
  const auto wrong = [](In at, Out jacobian) {
    waves_jacobian(at, jacobian);
    for (std::size_t i = 0; i < 20; ++i) jacobian[i * 300 + 117] *= 1.01;
  };
  EXPECT_EQ(check_jacobian(waves, wrong, x, 20).verdict(), Verdict::kDisagree);
}

TEST(CheckVectorJacobianProduct, ComparesEveryEntryOfASmallOne) {
  const std::vector<double> x = point(5);
  const GradientReport report = check_vector_jacobian_product(waves, waves_product, x, 7);
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.values[0].jacobian, 35);
  // Wrong only for a v with several entries that are not zero.
  const auto quadratic = [](In at, In v, Out product) {
    waves_product(at, v, product);
    product[0] += 1e-3 * v[0] * v[1];
  };
  EXPECT_EQ(check_vector_jacobian_product(waves, quadratic, x, 7).verdict(), Verdict::kDisagree);
}

TEST(CheckVectorJacobianProduct, TransposesAreFound) {
  // y = A x with the product A v in place of v A.
  const double a[3][3] = {{1, 2, -1}, {0.5, 3, 4}, {-2, 0.25, 1}};
  const auto f = [&](In x, Out y) {
    for (std::size_t i = 0; i < 3; ++i) y[i] = a[i][0] * x[0] + a[i][1] * x[1] + a[i][2] * x[2];
  };
  const auto right = [&](In, In v, Out g) {
    for (std::size_t j = 0; j < 3; ++j) g[j] = v[0] * a[0][j] + v[1] * a[1][j] + v[2] * a[2][j];
  };
  const auto transposed = [&](In, In v, Out g) {
    for (std::size_t j = 0; j < 3; ++j) g[j] = v[0] * a[j][0] + v[1] * a[j][1] + v[2] * a[j][2];
  };
  EXPECT_TRUE(check_vector_jacobian_product(f, right, point(3), 3).ok());
  const GradientReport report = check_vector_jacobian_product(f, transposed, point(3), 3);
  EXPECT_EQ(report.verdict(), Verdict::kDisagree);
  EXPECT_GE(report.values[0].disagree, 6);
}

TEST(CheckGradient, OfRosenbrocksFunction) {
  const auto f = [](In x) { return 100 * std::pow(x[1] - x[0] * x[0], 2) + std::pow(1 - x[0], 2); };
  const auto gradient = [](In x, Out g) {
    g[0] = -400 * x[0] * (x[1] - x[0] * x[0]) - 2 * (1 - x[0]);
    g[1] = 200 * (x[1] - x[0] * x[0]);
  };
  EXPECT_TRUE(check_gradient(f, gradient, std::vector{-1.2, 1.0}).ok());
  // At the minimum every gradient is zero, which proves nothing.
  EXPECT_FALSE(check_gradient(f, gradient, std::vector{1.0, 1.0}).ok());
  const auto missing = [](In x, Out g) {
    g[0] = -2 * (1 - x[0]);
    g[1] = 200 * (x[1] - x[0] * x[0]);
  };
  EXPECT_EQ(check_gradient(f, missing, std::vector{-1.2, 1.0}).values[0].disagree, 1);
}

// e^20 hides e^-9: the sum does not show it, and the report says so.
TEST(CheckGradient, WhatIsSmallerThanTheToleranceIsCounted) {
  const auto f = [](In x) {
    double sum = 0;
    for (const double v : x) sum += std::exp(v);
    return sum;
  };
  const auto gradient_with = [](double factor) {
    return [factor](In x, Out g) {
      for (std::size_t k = 0; k < x.size(); ++k) g[k] = (x[k] < -8 ? factor : 1) * std::exp(x[k]);
    };
  };
  const std::vector<double> x{20, 3, -5, -9, -15, 1};
  for (const double factor : {1.0, -7.0}) {
    const GradientReport report = check_gradient(f, gradient_with(factor), x);
    EXPECT_TRUE(report.ok()) << report.to_text();
    EXPECT_EQ(report.values[0].agree, 6);
    EXPECT_EQ(report.values[0].unseen, 2);
    EXPECT_THAT(report.to_text(), HasSubstr("2 smaller than the tolerance"));
  }
  const std::vector<double> alike{2, 3, -1, 1};
  EXPECT_EQ(check_gradient(f, gradient_with(1), alike).values[0].unseen, 0);
}

TEST(CheckFunction, NothingComparedFails) {
  const auto f = [](In, Out) {};
  const auto jacobian = [](In, Out) {};
  EXPECT_FALSE(check_jacobian(f, jacobian, std::vector<double>{}, 2).ok());
  EXPECT_FALSE(check_jacobian(f, jacobian, std::vector{1.0}, 0).ok());
  const std::vector<double> x = point(300);
  EXPECT_THAT(
      check_jacobian(waves, waves_jacobian, x, 20, {.samples = 0, .directions = 0}).failures,
      ElementsAre(HasSubstr("nothing was compared")));
}

TEST(CheckFunction, UnresolvedElementsCanBeWaived) {
  const auto f = [](In x, Out y) { y[0] = std::cbrt(x[0]) + x[1]; };
  const auto jacobian = [](In, Out j) { j[0] = 1, j[1] = 1; };
  const std::vector<double> x{0, 2};
  EXPECT_FALSE(check_jacobian(f, jacobian, x, 1).ok());
  const GradientReport waived = check_jacobian(f, jacobian, x, 1, {.waive_unresolved = true});
  EXPECT_TRUE(waived.ok()) << waived.to_text();
  EXPECT_EQ(waived.values[0].waived, 1);
  EXPECT_THAT(waived.to_text(), HasSubstr("1 unresolved waived"));
  // But not when nothing else is left.
  const auto g = [](double z) { return std::cbrt(z); };
  const GradientReport all =
      check_derivative(g, [](double) { return 1.0; }, 0, {.waive_unresolved = true});
  EXPECT_THAT(all.failures, ElementsAre(HasSubstr("no waiver")));
}

TEST(CheckFunction, WhatChangesFromCallToCallFails) {
  const auto f = [](In x, Out y) { y[0] = x[0] * x[1]; };
  int calls = 0;
  const auto jacobian = [&](In x, Out j) { j[0] = x[1], j[1] = ++calls == 1 ? x[0] : 7; };
  EXPECT_THAT(check_jacobian(f, jacobian, std::vector{2.0, 3.0}, 1).failures,
              ElementsAre(HasSubstr("derivative twice")));
  const auto changing = [&](In x, Out y) { y[0] = x[0] * x[1] + 1e-9 * ++calls; };
  const auto right = [](In x, In v, Out g) { g[0] = v[0] * x[1], g[1] = v[0] * x[0]; };
  EXPECT_FALSE(check_vector_jacobian_product(changing, right, std::vector{2.0, 3.0}, 1).ok());
}

TEST(CheckFunction, NoNumberIsMadeUpWhereTheDomainEnds) {
  const GradientReport report =
      check_derivative([](double x) { return std::asin(x); }, [](double) { return 7.07e5; }, 1);
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved);
  ASSERT_EQ(report.failures.size(), 1U);
  EXPECT_THAT(report.failures[0], HasSubstr("leaves the domain): the derivative given is 707000"));
  EXPECT_THAT(report.failures[0], ::testing::Not(HasSubstr("expected")));
}

TEST(CheckFunction, RefusesWhatIsNoFunction) {
  EXPECT_THROW(check_jacobian(nullptr, waves_jacobian, point(2), 2), ArgumentError);
  EXPECT_THROW(check_jacobian(waves, nullptr, point(2), 2), ArgumentError);
  EXPECT_THROW(check_jacobian(waves, waves_jacobian, point(2), -1), ArgumentError);
}

TEST(CheckFunction, RefusesMoreOutputsThanFitInMemory) {
  const auto nothing = [](In, Out) { FAIL(); };
  const auto message = [](const auto& check) -> std::string {
    try {
      check();
    } catch (const ArgumentError& error) {
      return error.what();
    }
    return "";
  };
  for (const Index outputs : {Index{1} << 40, Index{1} << 61}) {
    EXPECT_THAT(message([&] { check_jacobian(nothing, nothing, point(2), outputs); }),
                HasSubstr("got " + std::to_string(outputs) + " outputs, expected 0 to 268435456"));
    EXPECT_THAT(message([&] {
                  check_vector_jacobian_product(
                      nothing, [](In, In, Out) {}, point(2), outputs);
                }),
                HasSubstr("expected 0 to 268435456"));
  }
  EXPECT_THAT(message([&] { check_jacobian(nothing, nothing, point(2), Index{1} << 28); }),
              HasSubstr("got a Jacobian of 268435456 x 2 entries, expected at most 268435456"));
}

}  // namespace
}  // namespace chainrule
