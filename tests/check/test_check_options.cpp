// SPDX-License-Identifier: Apache-2.0
// Options of check_gradients() and check_function.hpp that make no sense.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <string>

#include "chainrule/check/check_function.hpp"
#include "chainrule/check/check_gradients.hpp"
#include "chainrule/check/random_feed.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNotANumber = std::numeric_limits<double>::quiet_NaN();

void expect_refused(const GradientCheckOptions& options, const std::string& what) {
  Graph graph;
  const Value y = tanh(graph.input("x", {kBatch, 3}));
  const RandomFeed random(y);
  try {
    check_gradients(graph, y, random.feed(), options);
    ADD_FAILURE() << "expected ArgumentError: " << what;
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr(what + ", expected "));
  }
}

TEST(CheckOptions, AFirstStepIsPositiveAndTolerancesAreFinite) {
  expect_refused({.first_step = 0}, "first_step is 0");
  expect_refused({.first_step = kNotANumber}, "first_step is nan");
  expect_refused({.relative_tolerance = kInfinity}, "relative_tolerance is inf");
  expect_refused({.error_bars = -1}, "error_bars is -1");
  expect_refused({.roundings = kNotANumber}, "roundings is nan");
  expect_refused({.resolution = kInfinity}, "resolution is inf");
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    expect_refused({.dtype = dtype, .float32_factor = -1}, "float32_factor is -1");
    expect_refused({.dtype = dtype, .float32_factor = kNotANumber}, "float32_factor is nan");
    expect_refused({.dtype = dtype, .float32_factor = kInfinity}, "float32_factor is inf");
    expect_refused({.dtype = dtype, .float32_terms = kInfinity}, "float32_terms is inf");
    expect_refused({.dtype = dtype, .float32_terms = -2}, "float32_terms is -2");
  }
}

TEST(CheckOptions, NumbersOfThingsAreNotNegative) {
  expect_refused({.max_jacobian = -1}, "max_jacobian is -1");
  expect_refused({.max_elements = -1}, "max_elements is -1");
  expect_refused({.samples = -1}, "samples is -1");
  expect_refused({.directions = -1}, "directions is -1");
  expect_refused({.max_failures = -1}, "max_failures is -1");
}

TEST(CheckOptions, AreLookedAtEvenWhereNothingIsCompared) {
  Graph graph;
  const Value y = tanh(graph.state("table", {3, 2}, uniform(1)));
  const Parameters parameters(graph, DType::kFloat64, 1);
  Feed feed;
  feed.parameters = &parameters;
  EXPECT_THAT(check_gradients(graph, y, feed).failures,
              ElementsAre(HasSubstr("nothing was compared")));
  EXPECT_THROW(check_gradients(graph, y, feed, {.first_step = 0}), ArgumentError);
}

TEST(CheckOptions, ThoseOfCheckFunctionAreHeldToTheSame) {
  const auto check = [](const FunctionCheckOptions& options) {
    return check_derivative([](double x) { return std::exp(x); },
                            [](double x) { return std::exp(x); }, 1, options);
  };
  for (const double step : {0.0, -1.0, kNotANumber, kInfinity}) {
    EXPECT_THROW(check({.first_step = step}), ArgumentError) << step;
  }
  EXPECT_THROW(check({.relative_tolerance = kNotANumber}), ArgumentError);
  EXPECT_THROW(check({.error_bars = -1}), ArgumentError);
  EXPECT_THROW(check({.resolution = kNotANumber}), ArgumentError);
  EXPECT_THROW(check({.samples = -1}), ArgumentError);
  EXPECT_THROW(check({.max_elements = -5}), ArgumentError);
  EXPECT_THROW(check({.relative_tolerance = kInfinity}), ArgumentError);
  EXPECT_THROW(check({.error_bars = kInfinity}), ArgumentError);
  EXPECT_THROW(check({.roundings = kInfinity}), ArgumentError);
  EXPECT_THROW(check({.resolution = kInfinity}), ArgumentError);
  EXPECT_THROW(check({.max_jacobian = -1}), ArgumentError);
  EXPECT_THROW(check({.directions = -1}), ArgumentError);
  EXPECT_THROW(check({.max_failures = -1}), ArgumentError);
  EXPECT_TRUE(check({.samples = 0, .max_failures = 0}).ok());
}

}  // namespace
}  // namespace chainrule
