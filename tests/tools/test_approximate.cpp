// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/model_file.hpp"
#include "expression.hpp"
#include "markup.hpp"
#include "process.hpp"
#include "svg_chart.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

Outcome approximate_command(std::vector<std::string> more) {
  more.insert(more.begin(), "approximate");
  return run(more);
}

double predicted(const Model& model, double x) {
  return element(Predictor(model).predict(Tensor::from<double>({1, 1}, {&x, 1})), 0, 0);
}

TEST(ApproximateCommand, WritesAModelAndAPage) {
  Directory directory;
  const Outcome outcome = approximate_command(
      {"--function", "sin(2*pi*x)", "--domain", "-1:1", "--epsilon", "1e-6", "--out",
       directory / "sine.safetensors", "--plot", directory / "sine.html"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("function   sin(2*pi*x) on [-1, 1]"), HasSubstr("hidden tanh units"),
                    HasSubstr("<= 1e-06, at ("), HasSubstr("approximate: reached")));
  const Model model = load_model(directory / "sine.safetensors");
  for (double x = -1; x <= 1; x += 0.01) {
    EXPECT_NEAR(predicted(model, x), std::sin(2 * std::numbers::pi * x), 1e-6);
  }

  const std::string page = read_text(directory / "sine.html");
  EXPECT_THAT(page, AllOf(StartsWith("<!DOCTYPE html>"), Not(HasSubstr("://")),
                          Not(HasSubstr("src=")), Not(HasSubstr("href="))));
  const Element root = parse_markup(page);
  EXPECT_TRUE(root.all("script").empty());
  EXPECT_EQ(root.all("svg").size(), 2U);
  EXPECT_EQ(root.all("polyline").size(), 3U);  // function, network and error
  EXPECT_EQ(root.all("h1")[0]->text, "sin(2*pi*x)");
}

TEST(ApproximateCommand, TwoVariables) {
  Directory directory;
  const Outcome outcome =
      approximate_command({"--function", "sin(x)*cos(y)", "--domain", "-1:1,0:pi/4", "--epsilon",
                           "1e-4", "--plot", directory / "wave.html"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(parse_markup(read_text(directory / "wave.html")).all("svg").size(), 3U);
}

TEST(ApproximateCommand, ReluUnitsAndKinks) {
  const Outcome outcome = approximate_command({"--function", "abs(x - 0.2)"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("2 hidden relu units"), HasSubstr("at x = 0.2\n")));
}

TEST(ApproximateCommand, SaysHowFarItGotAndExitsWithOne) {
  Directory directory;
  const Outcome outcome =
      approximate_command({"--function", "sin(9*x)", "--units", "3", "--activation", "tanh",
                           "--plot", directory / "page.html"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("1e-06 not reached"), HasSubstr("as far as it got")));
  EXPECT_EQ(parse_markup(read_text(directory / "page.html")).all("p")[0]->at("class"),
            "verdict bad");
}

TEST(ApproximateCommand, Samples) {
  Directory directory;
  std::string csv = "t,value\n";
  for (int i = 0; i <= 200; ++i) {
    const double t = i / 100.0;
    csv += std::to_string(t) + "," + std::to_string(std::exp(-t) + t) + "\n";
  }
  const Outcome outcome =
      approximate_command({"--data", write_text(directory / "curve.csv", csv), "--target", "value",
                           "--epsilon", "1e-4", "--out", directory / "curve.safetensors"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("rows held out"));
  const Model model = load_model(directory / "curve.safetensors");
  EXPECT_NEAR(predicted(model, 0.505), std::exp(-0.505) + 0.505, 1e-4);
  EXPECT_EQ(model.schema().feature_names, std::vector<std::string>{"t"});
}

TEST(ApproximateCommand, ASyntaxErrorPointsAtItsColumn) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"sin(x+)", "column 7: unexpected parenthesis \")\"\n  sin(x+)\n        ^\n"},
      {"sin(x", "column 6: missing parenthesis\n  sin(x\n       ^\n"},
      {"2*foo(x)", "column 3: unexpected token \"foo\" (the variables are x)"},
      {"x*y", "column 3: unexpected token \"y\" (the variables are x)\n  x*y\n    ^\n"},
      {"x = 5", "column 3: unexpected \"=\""},
      {"x, 2", "column 2: unexpected \",\""},
      {"3 4", "column 3: unexpected value \"4\""},
      {"x+\u221ax", "column 3: unexpected token \"\u221ax\""},
      {"x-\u221a", "column 3"},
  };
  for (const auto& [text, message] : cases) {
    const Outcome outcome = approximate_command({"--function", text});
    EXPECT_EQ(outcome.code, 2) << text;
    EXPECT_EQ(outcome.out, "") << text;
    EXPECT_THAT(outcome.err, HasSubstr("--function: " + message));
  }
  EXPECT_THAT(approximate_command({"--function", "x", "--domain", "0:2*"}).err,
              HasSubstr("--domain: column "));
}

TEST(ApproximateCommand, OptionsThatContradict) {
  Directory directory;
  const std::string data = write_text(directory / "curve.csv", "x,y\n1,2\n");
  const auto misuse = [](std::vector<std::string> options) {
    const Outcome outcome = approximate_command(std::move(options));
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(outcome.out, "");
    return outcome.err;
  };
  EXPECT_THAT(misuse({"--data", data, "--domain", "0:1"}), HasSubstr("--domain excludes --data"));
  EXPECT_THAT(misuse({"--data", data, "--function", "x"}), HasSubstr("--function excludes --data"));
  EXPECT_THAT(misuse({}), HasSubstr("one of --function and --data is required"));
  EXPECT_THAT(misuse({"--function", "x", "--domain", "2:1"}), HasSubstr("LOW < HIGH"));
  EXPECT_THAT(misuse({"--function", "x", "--domain", "-1e308:1e308"}),
              HasSubstr("-1e308:1e308, whose width is more than float64 holds"));
}

// One unit is exact, yet in another order of summation its rounding may be more than epsilon.
TEST(ApproximateCommand, TellsOfRoundingAboveEpsilon) {
  const Outcome outcome = approximate_command({"--function", "max(0,x)*1e9", "--epsilon", "1e-8"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("1 hidden relu unit:"), HasSubstr("rounding   2.2e-07"),
                                 HasSubstr("above epsilon")));
}

TEST(ApproximateCommand, KinksFarFromZeroArePrintedInFull) {
  const Outcome outcome =
      approximate_command({"--function", "abs(x-1000000.3)", "--domain", "1000000:1000001"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("at x = 1000000.3\n"));
}

TEST(ApproximateCommand, APoleIsAnError) {
  const Outcome outcome = approximate_command({"--function", "1/x", "--domain", "0:1"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("the function is inf at (0)"));
}

TEST(Expression, KnowsWhatTheHelpSays) {
  const auto value = [](const std::string& text, std::vector<double> x) {
    return tools::Expression("--function", text, x.size())(x);
  };
  EXPECT_EQ(value("-x^2", {3}), -9);
  EXPECT_EQ(value("2^3^2", {}), 512);
  EXPECT_EQ(value("x1 + 10*y + 100*x3", {1, 2, 3}), 321);
  EXPECT_EQ(value("x > 1 ? 5 : 6", {2}), 5);
  EXPECT_EQ(value("max(0, min(x, 2)) + abs(-1) + sign(-3)", {7}), 2);
  EXPECT_EQ(value("floor(1.5) + ceil(1.5) + rint(1.6)", {}), 5);
  EXPECT_DOUBLE_EQ(value("log(x)", {2}), std::log(2));
  EXPECT_DOUBLE_EQ(value("erf(x) + atan2(x, 2)", {0.5}), std::erf(0.5) + std::atan2(0.5, 2));
  EXPECT_EQ(value("pi", {}), std::numbers::pi);
  EXPECT_EQ(value("e", {}), std::numbers::e);
}

TEST(SvgChart, TextIsEscapedAndFlatLinesAreDrawn) {
  const std::string text =
      tools::svg_line_chart({.title = "a < b",
                             .lines = {{"f & g", {{0, 2}, {1, 2}}, "stroke:red"}},
                             .levels = {},
                             .ticks = {0.5},
                             .x_range = {0, 1}});
  const Element chart = parse_markup(text);
  EXPECT_EQ(chart.all("title")[0]->text, "a < b");
  EXPECT_THAT(text, Not(HasSubstr("nan")));
  EXPECT_EQ(chart.all("polyline").size(), 1U);
}

TEST(SvgChart, HeatMapsPutYUpwards) {
  const Element map = parse_markup(tools::svg_heat_map({.title = "y",
                                                        .x_range = {0, 1},
                                                        .y_range = {0, 1},
                                                        .value = [](double, double y) { return y; },
                                                        .around_zero = false}));
  const auto cells = map.all("rect");
  const auto* const last = cells[tools::kHeatMapCells * tools::kHeatMapCells - 1];
  EXPECT_GT(std::stod(cells.front()->at("y")), std::stod(last->at("y")));
  EXPECT_NE(cells.front()->at("fill"), last->at("fill"));
  EXPECT_EQ(cells[0]->at("fill"), cells[1]->at("fill"));
}

// A small matrix has a square an element, all alike, and no title that is cut off.
TEST(SvgChart, HeatMapsHaveAsManyCellsAsTold) {
  const tools::HeatMap map{.title = "k",
                           .x_range = {0, 3},
                           .y_range = {2, 0},
                           .value = [](double x, double y) { return x + y; },
                           .around_zero = false,
                           .x_cells = 3,
                           .y_cells = 2,
                           .x_name = "columns",
                           .y_name = "rows"};
  const Element svg = parse_markup(tools::svg_heat_map(map));
  const auto cells = svg.all("rect");
  const auto height = [&](std::size_t i) { return std::stod(cells[i]->at("height")); };
  for (std::size_t i = 1; i < 6; ++i) EXPECT_EQ(height(i), height(0));
  EXPECT_LT(height(6), height(0));  // then the scale's
  EXPECT_EQ(cells[6]->at("fill").size(), cells[0]->at("fill").size());
  EXPECT_THAT(svg.all("text").front()->text, "k");
}

}  // namespace
}  // namespace chainrule::testing
