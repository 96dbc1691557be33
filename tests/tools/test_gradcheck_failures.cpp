// SPDX-License-Identifier: Apache-2.0
//
// Checks that fail, from the command line to the exit code: the command of these tests knows ops
// whose backward or jvp is wrong, and one that differences can say nothing about.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chainrule/check/case_table.hpp"
#include "markup.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

class GradcheckFailures : public ::testing::Test {
 protected:
  Outcome gradcheck(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "gradcheck");
    return Process(arguments, {}, CHAINRULE_WRONG_OP_COMMAND).wait();
  }

  const std::size_t sizes_ = case_sizes().size();
  Directory directory_;
};

TEST_F(GradcheckFailures, RightOpsExitWithZero) {
  const Outcome outcome = gradcheck({"--op", "tanh", "--op", "relu"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(" checks of 2 ops agree ("));
}

TEST_F(GradcheckFailures, AnOpWithoutACaseExitsWithOne) {
  const auto with_novel = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "gradcheck");
    return Process(arguments, {"CHAINRULE_TEST_NOVEL_OP=1"}, CHAINRULE_WRONG_OP_COMMAND).wait();
  };
  const std::string why = "gradcheck: novel has no case in the table of cases";
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {"--op", "novel"}, {"--mutants"}, {"--list"}}) {
    const Outcome outcome = with_novel(arguments);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr(why));
    EXPECT_THAT(outcome.out, Not(HasSubstr("agree")));
  }
  EXPECT_EQ(with_novel({"--op", "tanh"}).code, 0);
}

TEST_F(GradcheckFailures, AWrongBackwardExitsWithOneAndIsExplained) {
  const Outcome outcome = gradcheck({"--op", "tanh", "--op", "twice_tanh", "--dtype", "float64"});
  EXPECT_EQ(outcome.code, 1);
  const std::string counts = std::to_string(sizes_) + " of " + std::to_string(2 * sizes_);
  EXPECT_THAT(outcome.err,
              StartsWith("chainrule: error: gradcheck: " + counts + " checks of 2 ops failed ("));
  const std::vector<std::string> lines = lines_of(outcome.out);
  EXPECT_THAT(lines, Contains(MatchesRegex("tanh +float64 .* agree")));
  EXPECT_THAT(lines, Contains(MatchesRegex("twice_tanh +float64 .* 7 of 7 disagree")));
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("FAILED twice_tanh, typical, output [6, 8], float64\n"),
                    HasSubstr("tolerated       step"), HasSubstr(" of output "),
                    HasSubstr("hint: backward is 2 x too large"), Not(HasSubstr("FAILED tanh"))));
}

// Differences agree with backward everywhere: no table may leave it at that.
TEST_F(GradcheckFailures, AWrongJvpExitsWithOneAndIsNowhereAgreement) {
  const Outcome outcome = gradcheck({"--op", "half_jvp_tanh"});
  EXPECT_EQ(outcome.code, 1);
  const std::string all = std::to_string(sizes_) + " of " + std::to_string(sizes_) + " disagree";
  const std::vector<std::string> lines = lines_of(outcome.out);
  for (const std::string dtype : {"float32", "float64"}) {
    EXPECT_THAT(lines, Contains(MatchesRegex("half_jvp_tanh +" + dtype + "  x .* " + all)));
    EXPECT_THAT(lines, Contains(MatchesRegex("half_jvp_tanh +" + dtype +
                                             "  jvp x .* [0-9]+ of [0-9]+ disagree")));
  }
  EXPECT_THAT(lines, Contains(MatchesRegex("forward mode: [0-9]+ products, [0-9]+ disagree, .*")));
  EXPECT_THAT(lines,
              Contains(MatchesRegex("  forward mode of x \\[6, 8\\]: 52 of 2308 disagree; .* "
                                    "differences agree with backward")));
  EXPECT_THAT(lines, Not(Contains(MatchesRegex("half_jvp_tanh .* agree(, .*)?"))));
  const Outcome verbose = gradcheck({"--op", "half_jvp_tanh", "--dtype", "float64", "-v"});
  EXPECT_EQ(verbose.code, 1);
  EXPECT_THAT(
      lines_of(verbose.out),
      AllOf(Contains(MatchesRegex("half_jvp_tanh, typical +float64  x \\[6, 8\\] .* "
                                  "forward mode: 52 of 2308 disagree")),
            Contains(MatchesRegex("half_jvp_tanh, typical +float64  jvp x \\[6, 8\\] +0\\+4 "
                                  "+2304 .* 52 of 2308 disagree")),
            Not(Contains(MatchesRegex("half_jvp_tanh.* agree(, .*)?")))));
}

TEST_F(GradcheckFailures, AWrongJvpIsInEveryReport) {
  const std::string json = directory_ / "r.json", junit = directory_ / "r.xml";
  const std::string html = directory_ / "r.html";
  const Outcome outcome = gradcheck({"--op", "half_jvp_tanh", "--dtype", "float64", "--json", json,
                                     "--junit", junit, "--html", html});
  EXPECT_EQ(outcome.code, 1);
  const auto reports = nlohmann::json::parse(read_text(json));
  for (const auto& report : reports.at("reports")) {
    EXPECT_EQ(report.at("ok"), false);
    EXPECT_EQ(report.at("verdict"), "disagree");
    EXPECT_LE(report.at("worst_error"), report.at("tolerance"));
    EXPECT_FALSE(report.contains("second_order"));
    const auto& gradient = report.at("gradients").at(0);
    EXPECT_EQ(gradient.at("verdict"), "disagree");
    EXPECT_EQ(gradient.at("disagree"), 0);
    const auto& forward = gradient.at("forward_mode");
    EXPECT_EQ(forward.at("products"), 4);
    EXPECT_GE(forward.at("disagree"), 4);
    EXPECT_EQ(forward.at("unresolved"), 0);
    const auto& worst = forward.at("worst");
    EXPECT_NEAR(worst.at("backward"), 2 * double(worst.at("forward")), 1e-12);
    EXPECT_GT(worst.at("error"), worst.at("tolerance"));
  }
  const Element suites = parse_markup(read_text(junit));
  EXPECT_EQ(suites.all("failure").size(), sizes_);
  for (const Element* failure : suites.all("failure")) {
    EXPECT_EQ(failure->at("type"), "disagree");
    EXPECT_THAT(failure->at("message"), HasSubstr("forward mode of x "));
  }
  const Element page = parse_markup(read_text(html));
  for (const Element* body : page.all("tbody")) {
    for (const Element* row : body->all("tr")) EXPECT_EQ(row->at("class"), "row bad");
  }
}

TEST_F(GradcheckFailures, WhatHasNoForwardModeIsNoFailureButSaysSo) {
  const std::string json = directory_ / "r.json", junit = directory_ / "r.xml";
  const Outcome outcome = gradcheck(
      {"--op", "plain_tanh", "--dtype", "float64", "-v", "--json", json, "--junit", junit});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  const std::string why = "plain_tanh_1 .* has no jvp";
  EXPECT_THAT(
      lines_of(outcome.out),
      AllOf(Contains(MatchesRegex("plain_tanh, typical .* jvp .* not compared: .*" + why + ".*")),
            Contains(MatchesRegex("forward mode: 0 products; " + std::to_string(sizes_) +
                                  " checks without: .*" + why + ".*"))));
  const auto reports = nlohmann::json::parse(read_text(json));
  EXPECT_EQ(reports.at("checks"), sizes_);
  for (const auto& report : reports.at("reports")) {
    EXPECT_THAT(std::string(report.at("without_forward_mode")), MatchesRegex(".*" + why + ".*"));
    EXPECT_FALSE(report.at("gradients").at(0).contains("forward_mode"));
  }
  const Element suites = parse_markup(read_text(junit));
  const std::vector<const Element*> outputs = suites.all("system-out");
  EXPECT_EQ(outputs.size(), sizes_);
  for (const Element* output : outputs) {
    EXPECT_THAT(output->text, HasSubstr("without forward mode: "));
  }
}

TEST_F(GradcheckFailures, TheLastLineAndTheExitCodeAreTheSameInShort) {
  const Outcome outcome = gradcheck({"--op", "twice_tanh", "--summary"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("checks of 1 op failed ("));
}

TEST_F(GradcheckFailures, EveryReportHasThem) {
  const std::string json = directory_ / "r.json", junit = directory_ / "r.xml";
  const std::string html = directory_ / "r.html";
  const Outcome outcome =
      gradcheck({"--dtype", "float64", "--json", json, "--junit", junit, "--html", html});
  EXPECT_EQ(outcome.code, 1);
  const auto report = nlohmann::json::parse(read_text(json));
  EXPECT_EQ(report.at("failed"), 3 * sizes_);
  EXPECT_EQ(parse_markup(read_text(junit)).at("failures"), std::to_string(3 * sizes_));
  const Element page = parse_markup(read_text(html));
  EXPECT_EQ(page.all("pre").size(), 3 * sizes_);
  // Of the first table: rows of three ops of which one is wrong in three ways and one in two.
  std::vector<std::string> classes;
  for (const Element* row : page.all("tbody")[0]->all("tr")) classes.push_back(row->at("class"));
  std::vector<std::string> expected(6, "row bad");
  expected.resize(expected.size() + 3, "row");
  EXPECT_THAT(classes, ::testing::ElementsAreArray(expected));
}

TEST_F(GradcheckFailures, WhatIsUnresolvedSaysWhy) {
  const std::string json = directory_ / "r.json";
  const Outcome outcome =
      gradcheck({"--op", "saturated_tanh", "--dtype", "float64", "-v", "--json", json});
  EXPECT_EQ(outcome.code, 1);
  const std::string why = "saturated: no step moves the outputs";
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("unresolved (" + why + ")\n"),
                                 HasSubstr("unresolved: " + why + "\n")));
  const auto report = nlohmann::json::parse(read_text(json));
  const auto& gradient = report.at("reports").at(0).at("gradients").at(0);
  EXPECT_EQ(gradient.at("verdict"), "unresolved");
  EXPECT_EQ(gradient.at("worst").at("reason"), why);
  EXPECT_EQ(gradient.at("failing").at(0).at("reason"), why);
}

}  // namespace
}  // namespace chainrule::testing
