// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_taylor.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "chainrule/check/random_feed.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tensor random_tensor(const Shape& shape, double low, double high, std::uint64_t stream) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> view = tensor.as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) {
      const auto index = static_cast<std::uint64_t>(i * view.columns + j);
      view(i, j) = low + (high - low) * random_uniform({.seed = 3, .stream = stream}, index);
    }
  }
  return tensor;
}

// A right op, whose backward is then off by a factor.
template <const OpDef& kRight>
const OpDef& scaled_by(double factor) {
  static double by = 1;
  by = factor;
  static const OpDef def = [] {
    OpDef result = kRight;
    result.backward[1] = [](const OpContext& context) {
      kRight.backward[1](context);
      const MatrixView<double> g = context.in_gradient<double>(0);
      for (Index i = 0; i < g.rows; ++i) {
        for (Index j = 0; j < g.columns; ++j) g(i, j) *= by;
      }
    };
    return result;
  }();
  return def;
}

// Two hidden layers, a normalization and a softmax: about 1500 parameters.
class TaylorTest : public ::testing::Test {
 protected:
  Value network(const OpDef& activation) {
    const Value hidden = graph.apply(activation, {add_bias(matmul(x, w1), b1)});
    const Value normal = layer_norm(add_bias(matmul(hidden, w2), b2), gamma, beta);
    return softmax_cross_entropy(matmul(relu(normal), w3), labels);
  }
  Feed feed() {
    parameters = Parameters(graph, DType::kFloat64, 7);
    Feed feed;
    feed.inputs = {{x, examples.view()}, {labels, classes.view()}};
    feed.parameters = &parameters;
    return feed;
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, 12});
  Value labels = graph.labels("labels");
  Value w1 = graph.parameter("w1", {12, 32}), b1 = graph.parameter("b1", {32}, uniform(0.5));
  Value w2 = graph.parameter("w2", {32, 24}), b2 = graph.parameter("b2", {24}, uniform(0.5));
  Value gamma = graph.parameter("gamma", {24}, uniform(1));
  Value beta = graph.parameter("beta", {24}, uniform(1));
  Value w3 = graph.parameter("w3", {24, 5});
  Parameters parameters;
  Tensor examples = random_tensor({9, 12}, -1, 1, 1);
  Tensor classes = [] {
    Tensor tensor(Shape{9, 1}, DType::kInt32);
    for (Index i = 0; i < 9; ++i)
      tensor.as<std::int32_t>()(i, 0) = static_cast<std::int32_t>(i % 5);
    return tensor;
  }();
};

TEST_F(TaylorTest, TheRemainderOfARightGradientIsOfOrderTwo) {
  const Value loss = network(kTanhOp);
  const TaylorReport report = check_taylor(graph, loss, feed());
  EXPECT_TRUE(report.ok()) << report.to_text();
  EXPECT_EQ(report.verdict(), Verdict::kAgree);
  ASSERT_EQ(report.directions.size(), 3U);
  for (const TaylorDirection& direction : report.directions) {
    EXPECT_NEAR(direction.order, 2, 0.1);
    EXPECT_NEAR(direction.order_of_change, 1, 0.1);
    EXPECT_NE(direction.slope, 0);
    EXPECT_EQ(direction.steps.size(), 27U);
    EXPECT_EQ(direction.steps[1].t, direction.steps[0].t / 2);
  }
}

TEST_F(TaylorTest, KinksOnTheWayDoNotMatter) {
  const TaylorReport report = check_taylor(graph, network(kReluOp), feed(), {.directions = 20});
  EXPECT_TRUE(report.ok()) << report.to_text();
}

TEST_F(TaylorTest, TheRemainderOfAWrongGradientIsOfOrderOne) {
  for (const double factor : {1.5, -1.0, 1.001, 1 + 1e-4}) {
    const Value loss = network(scaled_by<kTanhOp>(factor));
    const TaylorReport report = check_taylor(graph, loss, feed());
    EXPECT_EQ(report.verdict(), Verdict::kDisagree) << factor << '\n' << report.to_text();
    EXPECT_FALSE(report.ok());
    for (const TaylorDirection& direction : report.directions) {
      EXPECT_NEAR(direction.order, 1, 0.1) << factor;
    }
  }
}

TEST_F(TaylorTest, ALinearFunctionHasNoRemainder) {
  const Value sum = reduce_sum(matmul(x, w1), Axis::kAll);
  const TaylorReport report = check_taylor(graph, sum, feed(), {.with_respect_to = {w1}});
  EXPECT_TRUE(report.ok()) << report.to_text();
  for (const TaylorDirection& direction : report.directions) EXPECT_TRUE(direction.exact);
}

TEST_F(TaylorTest, OutputsOfSeveralElementsAreWeighted) {
  const Value hidden = tanh(add_bias(matmul(x, w1), b1));
  EXPECT_TRUE(check_taylor(graph, hidden, feed()).ok());
}

TEST_F(TaylorTest, AFlatFunctionIsUnresolved) {
  // With one class the loss is constant, and any gradient of order one would be rounding.
  const Value loss = reduce_sum(softmax(matmul(x, graph.parameter("one", {12, 1}))), Axis::kAll);
  const TaylorReport report = check_taylor(graph, loss, feed());
  EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << report.to_text();
  EXPECT_FALSE(report.ok());
}

TEST_F(TaylorTest, NothingToMoveFails) {
  const TaylorReport none = check_taylor(graph, network(kTanhOp), feed(), {.directions = 0});
  EXPECT_FALSE(none.ok());
  EXPECT_THAT(none.failures, ElementsAre(HasSubstr("nothing was compared")));
  const Value infinite = exp(scale(x, 1e4));
  EXPECT_THAT(check_taylor(graph, infinite, feed()).failures, ElementsAre(HasSubstr("not finite")));
  Graph other;
  EXPECT_THROW(check_taylor(other, infinite, feed()), ArgumentError);
  EXPECT_THROW(check_taylor(graph, infinite, feed(), {.with_respect_to = {w3}}), ArgumentError);
}

TEST_F(TaylorTest, OptionsThatMakeNoSenseAreRefused) {
  const Value loss = network(kTanhOp);
  const double nan = std::nan(""), infinity = std::numeric_limits<double>::infinity();
  const auto refused = [&](const TaylorOptions& options, const char* name, const char* came) {
    SCOPED_TRACE(name);
    try {
      check_taylor(graph, loss, feed(), options);
      ADD_FAILURE() << came;
    } catch (const ArgumentError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(name), HasSubstr(came), HasSubstr("expected")));
    }
  };
  refused({.first_step = 0}, "first_step", "0");
  refused({.first_step = -1}, "first_step", "-1");
  refused({.first_step = nan}, "first_step", "nan");
  refused({.first_step = infinity}, "first_step", "inf");
  refused({.halvings = -1}, "halvings", "-1");
  refused({.least_order = nan}, "least_order", "nan");
  refused({.least_order = 1}, "least_order", "1");
  refused({.least_order = 2.5}, "least_order", "2.5");
  refused({.directions = -2}, "directions", "-2");
}

// layer_norm of 5 columns, with gamma = 1 and beta = 0, whose gradient by x is off by a factor, at
// x uniform within `spread` of `offset`. Its rows are lengthened by up to 1 / sqrt(epsilon), so
// that t^2, t^3 and so on cancel here and there at steps of any size.
struct Normalized {
  double offset;
  double spread;
  Index rows;
  std::uint64_t seed;

  TaylorReport check(double factor) const {
    Graph graph;
    const Value x = graph.input("x", {kBatch, 5});
    const Value gamma = graph.parameter("gamma", {5}, ones());
    const Value beta = graph.parameter("beta", {5});
    const Value y =
        graph.apply(scaled_by<kLayerNormOp>(factor), {x, gamma, beta}, {.real = {1e-5}});
    const RandomFeed random(y, {.rows = rows, .seed = seed});
    Feed feed = random.feed();
    Tensor at(Shape{rows, 5}, DType::kFloat64);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < 5; ++j) {
        const double u = random_uniform({.seed = seed}, static_cast<std::uint64_t>(5 * i + j));
        at.as<double>()(i, j) = offset + spread * (2 * u - 1);
      }
    }
    feed.inputs = {{x, at.view()}};
    return check_taylor(graph, y, feed, {.seed = seed});
  }
};

std::vector<Normalized> normalized_points() {
  std::vector<Normalized> points;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    for (const Index rows : {1, 3}) {
      points.push_back({0, 0, rows, seed});
      for (const double offset : {0.0, 1.0, 100.0}) {
        for (const double spread : {1e-4, 1e-3, 1.0})
          points.push_back({offset, spread, rows, seed});
      }
    }
  }
  return points;
}

TEST(CheckTaylor, RightGradientsAgreeWhereverTermsCancel) {
  for (const Normalized& point : normalized_points()) {
    const TaylorReport report = point.check(1);
    EXPECT_EQ(report.verdict(), Verdict::kAgree)
        << point.offset << ' ' << point.spread << ' ' << point.rows << ' ' << point.seed << '\n'
        << report.to_text();
  }
}

TEST(CheckTaylor, WrongOnesDisagreeThere) {
  for (const double factor : {1.001, 0.999, -1.0, 0.0}) {
    for (const Normalized& point : normalized_points()) {
      const TaylorReport report = point.check(factor);
      EXPECT_EQ(report.verdict(), Verdict::kDisagree)
          << factor << ": " << point.offset << ' ' << point.spread << ' ' << point.rows << ' '
          << point.seed << '\n'
          << report.to_text();
    }
  }
}

// relu(x) w at x = 0, each element of which is at the kink, with w of both signs.
TaylorReport at_the_kink(const OpDef& relu, double x, std::uint64_t seed) {
  Graph graph;
  const Value input = graph.input("x", {kBatch, 3});
  const Value y = matmul(graph.apply(relu, {input}), graph.parameter("w", {3, 2}));
  const RandomFeed random(y, {.rows = 4, .seed = seed});
  Feed feed = random.feed();
  const Tensor at = random_tensor({4, 3}, x, x, 1);
  feed.inputs = {{input, at.view()}};
  return check_taylor(graph, y, feed, {.with_respect_to = {input}, .seed = seed});
}

TEST(CheckTaylor, AKinkAtThePointIsNotSmoothAndNotWrong) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    const TaylorReport report = at_the_kink(kReluOp, 0, seed);
    EXPECT_EQ(report.verdict(), Verdict::kUnresolved) << report.to_text();
    EXPECT_FALSE(report.ok());
    EXPECT_THAT(report.failures, Each(HasSubstr("not smooth here: slope ")));
    for (const TaylorDirection& direction : report.directions) {
      EXPECT_TRUE(direction.kink);
      // relu' is 0 at 0, and what moves is linear on either side.
      EXPECT_EQ(direction.slope, 0);
      const double change = direction.steps.back().change / direction.steps.back().t;
      EXPECT_NEAR(std::abs(direction.right_slope), change, 1e-6 * change);
      EXPECT_GT(std::abs(direction.right_slope - direction.left_slope), 1e-3 * change);
    }
  }
}

TEST(CheckTaylor, AWrongGradientIsWrongBesideAKink) {
  for (const double x : {1e-3, -1e-3, 1.0}) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      EXPECT_EQ(at_the_kink(kReluOp, x, seed).verdict(),
                x > 0 ? Verdict::kAgree : Verdict::kUnresolved);  // 0 on the left of it
      if (x < 0) continue;
      EXPECT_EQ(at_the_kink(scaled_by<kReluOp>(1.001), x, seed).verdict(), Verdict::kDisagree);
    }
  }
}

TEST_F(TaylorTest, TextShowsTheOrders) {
  const std::string text = check_taylor(graph, network(kTanhOp), feed()).to_text();
  EXPECT_THAT(text, HasSubstr("direction 1: slope "));
  EXPECT_THAT(text, HasSubstr("remainder of order 2.0"));
}

}  // namespace
}  // namespace chainrule
