// SPDX-License-Identifier: Apache-2.0
//
// Checks that fail, from the command line to the exit code: the command of these tests knows an op
// whose backward is wrong, and one that differences can say nothing about.
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
  EXPECT_EQ(report.at("failed"), 2 * sizes_);
  EXPECT_EQ(parse_markup(read_text(junit)).at("failures"), std::to_string(2 * sizes_));
  const Element page = parse_markup(read_text(html));
  EXPECT_EQ(page.all("pre").size(), 2 * sizes_);
  std::vector<std::string> classes;  // of the first table, a row for each op
  for (const Element* row : page.all("tbody")[0]->all("tr")) classes.push_back(row->at("class"));
  EXPECT_THAT(classes, ::testing::ElementsAre("row bad", "row bad", "row", "row"));
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
