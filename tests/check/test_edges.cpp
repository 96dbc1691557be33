// SPDX-License-Identifier: Apache-2.0
// Right derivatives at places that are hard for differences, and wrong ones at the same places:
// beside an edge, at distances of all magnitudes; where the function is quantized more coarsely
// than its digits; in large batches, of which some element always has an edge inside the steps.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "chainrule/check/check_function.hpp"
#include "chainrule/check/check_gradients.hpp"
#include "chainrule/check/random_feed.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/ops/losses.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using In = std::span<const double>;
using Out = std::span<double>;
using Function = double (*)(double);

struct Curve {
  const char* name;
  Function f;
  Function derivative;
  double low = 0, high = 0;
};

struct Tally {
  int agree = 0, kinks = 0, unresolved = 0, disagree = 0;

  void add(Verdict verdict) {
    int* const counts[] = {&agree, &kinks, &unresolved, &disagree};
    ++*counts[static_cast<std::size_t>(verdict)];
  }
};

Verdict check(const std::function<double(double)>& f, double derivative, double x) {
  return check_derivative(
             f, [=](double) { return derivative; }, x)
      .verdict();
}

double uniform(std::uint64_t stream, std::uint64_t k, double low, double high) {
  return low + (high - low) * random_uniform({.seed = 7, .stream = stream}, k);
}

// All with their edge at 1; the second derivative jumps, or the first.
const Curve kSecondDerivativeJumps[] = {
    {"huber", [](double x) { return std::abs(x) < 1 ? x * x / 2 : std::abs(x) - 0.5; },
     [](double x) { return std::clamp(x, -1.0, 1.0); }},
    {"elu", [](double x) { return x > 1 ? x - 1 : std::expm1(x - 1); },
     [](double x) { return x > 1 ? 1 : std::exp(x - 1); }},
};
const Curve kFirstDerivativeJumps[] = {
    {"leaky relu", [](double x) { return x > 1 ? x - 1 : (x - 1) / 4; },
     [](double x) { return x > 1 ? 1 : 0.25; }},
    {"parabolas", [](double x) { return x > 1 ? x * x + 3 * x : (5 * x - 1) * x; },
     [](double x) { return x > 1 ? 2 * x + 3 : 10 * x - 1; }},
};

// At distances from 1e-12 to 1/2 on both sides.
Tally near_the_edge(const Curve& curve, double offset, double factor) {
  Tally tally;
  for (std::uint64_t k = 0; k < 250; ++k) {
    const double distance = std::pow(10, uniform(1, k, -12, -0.3));
    const double x = 1 + (k % 2 == 0 ? distance : -distance);
    const auto f = [&](double z) { return offset + curve.f(z); };
    tally.add(check(f, factor * curve.derivative(x), x));
  }
  return tally;
}

TEST(Edges, BesideAJumpOfTheSecondDerivativeRightIsRightAndWrongIsWrong) {
  for (const Curve& curve : kSecondDerivativeJumps) {
    for (const double offset : {0.0, 1.0, 100.0, 1e4}) {
      SCOPED_TRACE(::testing::Message() << offset << " + " << curve.name);
      EXPECT_EQ(near_the_edge(curve, offset, 1).agree, 250);
      for (const double factor : {1.001, 0.5, -1.0}) {
        EXPECT_EQ(near_the_edge(curve, offset, factor).disagree, 250) << factor;
      }
    }
  }
}

TEST(Edges, BesideAJumpOfTheFirstDerivativeNothingRightIsWrongAndNothingWrongAgrees) {
  for (const Curve& curve : kFirstDerivativeJumps) {
    for (const double offset : {0.0, 1.0, 100.0, 1e4}) {
      SCOPED_TRACE(::testing::Message() << offset << " + " << curve.name);
      const Tally right = near_the_edge(curve, offset, 1);
      EXPECT_EQ(right.disagree, 0);
      EXPECT_GE(right.agree, 110);
      for (const double factor : {1.001, 0.5, -1.0}) {
        const Tally wrong = near_the_edge(curve, offset, factor);
        EXPECT_EQ(wrong.agree, 0) << factor;
        EXPECT_GE(wrong.disagree, 100) << factor;
      }
    }
  }
}

const double kRoot = std::sqrt(2 / std::acos(-1.0));

double gelu_argument(double x) { return kRoot * (x + 0.044715 * x * x * x); }
double sigmoid_of(double x) { return 1 / (1 + std::exp(-x)); }

// A factor of each is a multiple of 2^-53 or so, and many steps see the same multiple.
const Curve kQuantized[] = {
    {"gelu by tanh", [](double x) { return 0.5 * x * (1 + std::tanh(gelu_argument(x))); },
     [](double x) {
       const double t = std::tanh(gelu_argument(x));
       return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * kRoot * (1 + 3 * 0.044715 * x * x);
     },
     -9, 0},
    {"gelu by erf", [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); },
     [](double x) {
       return 0.5 * std::erfc(-x / std::sqrt(2.0)) + x * std::exp(-x * x / 2) * kRoot / 2;
     },
     -9, 0},
    {"x (1 - tanh x)", [](double x) { return x * (1 - std::tanh(x)); },
     [](double x) { return 2 * sigmoid_of(-2 * x) - x / std::pow(std::cosh(x), 2); }, 5, 25},
    {"x log(1 + e^x)", [](double x) { return x * std::log(1 + std::exp(x)); },
     [](double x) { return std::log1p(std::exp(x)) + x * sigmoid_of(x); }, -40, 0},
    {"mish", [](double x) { return x * std::tanh(std::log(1 + std::exp(x))); },
     [](double x) {
       const double h = std::tanh(std::log1p(std::exp(x)));
       return h + x * (1 - h * h) * sigmoid_of(x);
     },
     -40, 0},
    {"x (1 - sigmoid x)", [](double x) { return x * (1 - sigmoid_of(x)); },
     [](double x) { return sigmoid_of(-x) - x * sigmoid_of(x) * sigmoid_of(-x); }, 5, 45},
    {"(1 - cos x) / x", [](double x) { return (1 - std::cos(x)) / x; },
     [](double x) { return std::sin(x) / x - 2 * std::pow(std::sin(x / 2) / x, 2); }, 1e-6, 1e-4},
};

Tally where_quantized(const Curve& curve, double factor) {
  Tally tally;
  for (std::uint64_t k = 0; k < 300; ++k) {
    const double x = uniform(2, k, curve.low, curve.high);
    tally.add(check(curve.f, factor * curve.derivative(x), x));
  }
  return tally;
}

TEST(Edges, AQuantizedFactorRefutesNothing) {
  for (const Curve& curve : kQuantized) {
    SCOPED_TRACE(curve.name);
    EXPECT_EQ(where_quantized(curve, 1).disagree, 0);
    for (const double factor : {1.001, 0.5, -1.0}) {
      const Tally wrong = where_quantized(curve, factor);
      EXPECT_EQ(wrong.kinks, 0) << factor;
      EXPECT_GE(wrong.disagree, 90) << factor;
    }
  }
}

// What a forgotten factor's derivative leaves is the slope of one tread of the staircase.
TEST(Edges, TheSlopeOfATreadIsNotAgreement) {
  const Curve& cosine = kQuantized[6];
  EXPECT_EQ(where_quantized(cosine, -1).agree, 0);
}

std::vector<double> numbers(std::size_t count, std::uint64_t stream) {
  std::vector<double> x(count);
  for (std::size_t k = 0; k < count; ++k) x[k] = uniform(stream, k, -2, 2);
  return x;
}

double sum_of_relu(In x) {
  double sum = 0;
  for (const double v : x) sum += std::max(v, 0.0);
  return sum;
}
void relu_gradient(In x, Out g) {
  for (std::size_t k = 0; k < x.size(); ++k) g[k] = x[k] > 0 ? 1 : 0;
}
double sum_of_huber(In x) {
  double sum = 0;
  for (const double v : x) sum += std::abs(v) < 1 ? v * v / 2 : std::abs(v) - 0.5;
  return sum;
}
void huber_gradient(In x, Out g) {
  for (std::size_t k = 0; k < x.size(); ++k) g[k] = std::clamp(x[k], -1.0, 1.0);
}

TEST(Edges, ManyOfThemInADirectionRefuteNothing) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    const std::vector<double> x = numbers(30'000, seed);
    const GradientReport huber = check_gradient(sum_of_huber, huber_gradient, x, {.seed = seed});
    EXPECT_TRUE(huber.ok()) << huber.to_text();
    EXPECT_GE(huber.values[0].directions, 6);
    const GradientReport relu = check_gradient(sum_of_relu, relu_gradient, x, {.seed = seed});
    EXPECT_LT(relu.verdict(), Verdict::kDisagree) << relu.to_text();
  }
}

TEST(Edges, AMistakeInOneElementOfManyIsFoundAndNamed) {
  const std::vector<double> x = numbers(30'000, 3);
  const auto wrong = [](In at, Out g) {
    huber_gradient(at, g);
    g[23'456] += 0.01;
  };
  const GradientReport report = check_gradient(sum_of_huber, wrong, x);
  EXPECT_EQ(report.verdict(), Verdict::kDisagree);
  const std::vector<ElementCheck>& failures = report.values[0].failures;
  EXPECT_TRUE(std::any_of(failures.begin(), failures.end(), [](const ElementCheck& failure) {
    return failure.column == 23'456;
  })) << report.to_text();
}

TEST(Edges, BatchesOfHuber) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    Graph graph;
    const Value x = graph.input("x", {kBatch, 30});
    const Value loss = huber(x, graph.input("t", {kBatch, 30}));
    const RandomFeed random(loss, {.rows = 1000, .seed = seed});
    const GradientReport report =
        check_gradients(graph, loss, random.feed(), {.with_respect_to = {x}, .seed = seed});
    EXPECT_TRUE(report.ok()) << report.to_text();
  }
}

// Hidden units of many rows change sign within the steps of one weight; larger steps may then agree
// on another slope.
TEST(Edges, AWeightBeforeManyHiddenUnits) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 20});
  const Value w = graph.parameter("w", {20, 40}), b = graph.parameter("b", {40});
  const Value w2 = graph.parameter("w2", {40, 10}), b2 = graph.parameter("b2", {10});
  const Value hidden = relu(add_bias(matmul(x, w), b));
  const Value loss = softmax_cross_entropy(add_bias(matmul(hidden, w2), b2), graph.labels("y"));
  const RandomFeed random(loss, {.rows = 512, .seed = 4});
  const GradientReport report =
      check_gradients(graph, loss, random.feed(), {.with_respect_to = {w}, .seed = 4});
  EXPECT_TRUE(report.ok()) << report.to_text();
}

// The table of cases keeps a sixteenth away from kinks, or sits on them; here is what lies between.
TEST(Edges, OpsBesideTheirKinks) {
  using Build = Value (*)(const Value& x, const Value& zero);
  const Build ops[] = {
      [](const Value& x, const Value&) { return relu(x); },
      [](const Value& x, const Value&) { return leaky_relu(x); },
      [](const Value& x, const Value&) { return elu(x); },
      [](const Value& x, const Value& zero) { return huber(x, zero); },
      [](const Value& x, const Value& zero) { return mean_absolute_error(x, zero); }};
  for (const Build build : ops) {
    Graph graph;
    const Value x = graph.input("x", {kBatch, 4}), zero = graph.input("zero", {kBatch, 4});
    const Value y = build(x, zero);
    std::vector<double> values(4 * 30), zeros(values.size());
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double distance = std::pow(10, uniform(3, k, -9, -1));
      const double edge = k % 3 == 0 ? 1 : 0;  // huber's is at 1
      values[k] = edge + (k % 2 == 0 ? distance : -distance);
    }
    const auto view = [](const std::vector<double>& of) {
      return ConstTensorView(of.data(), DType::kFloat64, 30, 4, 4);
    };
    Feed feed;
    feed.inputs = {{x, view(values)}, {zero, view(zeros)}};
    const GradientReport report = check_gradients(graph, y, feed, {.with_respect_to = {x}});
    SCOPED_TRACE(report.to_text());
    ASSERT_EQ(report.values.size(), 1U);
    EXPECT_EQ(report.values[0].disagree, 0);
    EXPECT_GT(report.values[0].agree, report.values[0].comparisons() * 9 / 10);
  }
}

// An element at its kink is left out of the directions; the others are not.
TEST(Edges, OneKinkDoesNotHideAMistakeElsewhere) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    std::vector<double> x = numbers(5000, seed);
    x[3] = 0;
    const GradientReport right = check_gradient(sum_of_relu, relu_gradient, x, {.seed = seed});
    EXPECT_LT(right.verdict(), Verdict::kDisagree) << right.to_text();
    EXPECT_EQ(right.values[0].kinks, 1);
    EXPECT_GE(right.values[0].directions, 6);
    const auto wrong = [](In at, Out g) {
      relu_gradient(at, g);
      g[4321] += 5;
    };
    EXPECT_EQ(check_gradient(sum_of_relu, wrong, x, {.seed = seed}).verdict(), Verdict::kDisagree);
  }
}

// c + sqrt((x - 1)^2 + d^2) is round at 1, if only a little.
TEST(Edges, ARoundedCornerIsNoKink) {
  for (const double d : {1e-9, 1e-10, 1e-11}) {
    for (const double offset : {0.0, 1.0, 1e3}) {
      for (const double at : {0.0, 0.5, 1.0, 3.0, 30.0}) {
        SCOPED_TRACE(::testing::Message() << d << ", " << offset << ", " << at);
        const auto f = [=](double x) { return offset + std::sqrt((x - 1) * (x - 1) + d * d); };
        const double x = 1 + at * d;
        const double right = (x - 1) / std::sqrt((x - 1) * (x - 1) + d * d);
        EXPECT_NE(check(f, right, x), Verdict::kDisagree);
        EXPECT_GE(check(f, at == 0 ? 0.5 : -0.5, x), Verdict::kUnresolved);
      }
    }
  }
}

}  // namespace
}  // namespace chainrule
