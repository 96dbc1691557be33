// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "markup.hpp"
#include "mutant_run.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;
using tools::MutantRun;

MutantResult mutant(const std::string& op, MutantClass kind, double scale,
                    std::uint32_t caught_by) {
  MutantResult result;
  result.op = op;
  result.name = op + " (<a>)";
  result.rows = 5;
  result.columns = 4;
  result.scale = scale;
  result.kind = kind;
  result.input = "x";
  result.description = "the mean term is dropped";
  result.caught_by = caught_by;
  return result;
}

// Three mutants caught, one that survived, one equivalent, and one false alarm.
MutantRun made_up_run() {
  MutantRun run{.architecture = "baseline", .seed = 7};
  MutationReport& report = run.report;
  report.mutants = {mutant("tanh", MutantClass::kSign, 1, 0b101),
                    mutant("tanh", MutantClass::kScaled, 0.1, 0b1),
                    mutant("softmax", MutantClass::kSign, 10, 0b100),
                    mutant("softmax", MutantClass::kDroppedTerm, 0.1, 0),
                    mutant("softmax", MutantClass::kScaled, 10, 0)};
  report.mutants.back().equivalent = true;
  report.total = 4;
  report.caught = 3;
  report.equivalent = 1;
  report.caught_by = {2, 0, 2, 0};
  report.alarms.push_back({.name = "tanh (<a>)", .rows = 5, .columns = 4, .evidence = "noise"});
  return run;
}

TEST(GradcheckMutants, CatchesAllAndCountsThem) {
  Directory directory;
  const std::string path = directory / "m.json";
  const std::vector<std::string> lines = lines_of(
      run_ok({"gradcheck", "--mutants", "--op", "tanh", "--op", "add_bias", "--json", path}));
  const auto json = nlohmann::json::parse(read_text(path));
  const int total = json.at("total");
  EXPECT_GT(total, 200);
  EXPECT_EQ(json.at("caught"), total);
  EXPECT_EQ(json.at("mutants").size(), std::size_t(total) + std::size_t(json.at("equivalent")));
  EXPECT_TRUE(json.at("ok"));
  EXPECT_EQ(json.at("undamaged").at("alarms"), 0);
  EXPECT_GT(json.at("undamaged").at("inputs"), 500);
  EXPECT_EQ(json.at("ops").at(1).at("op"), "add_bias");
  EXPECT_EQ(int(json.at("ops").at(0).at("total")) + int(json.at("ops").at(1).at("total")), total);
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_THAT(lines[1], MatchesRegex("op +mutants  caught  differences  properties  forward mode  "
                                     "contract  equivalent"));
  EXPECT_THAT(lines[2], MatchesRegex("tanh +[0-9 ]+"));
  EXPECT_THAT(lines[4], MatchesRegex("undamaged: [0-9]+ inputs, .*: no false alarm"));
  const std::string count = std::to_string(total);
  EXPECT_THAT(lines[5], StartsWith("gradcheck: caught " + count + " of " + count + " mutants"));
  EXPECT_THAT(lines[5], MatchesRegex(".*, no false alarm \\([0-9.]+ s\\)"));
}

TEST(GradcheckMutants, HonoursKernelsSeedAndSummary) {
  Directory directory;
  const std::string path = directory / "m.json";
  EXPECT_EQ(lines_of(run_ok({"gradcheck", "--mutants", "--op", "scale", "--arch", "baseline",
                             "--seed", "5", "--dtype", "float64", "--summary", "--json", path}))
                .size(),
            1U);
  const auto json = nlohmann::json::parse(read_text(path));
  EXPECT_EQ(json.at("arch"), "baseline");
  EXPECT_EQ(json.at("seed"), 5);
}

TEST(GradcheckMutants, VerboseNamesEachAndWhoNoticed) {
  EXPECT_THAT(run_ok({"gradcheck", "--mutants", "--op", "scale", "-v"}),
              HasSubstr("\n  scale 5x4, scale 0.1: gradient of x, sign: the other sign: caught by "
                        "differences, forward mode\n"));
}

TEST(GradcheckMutants, WhatDoesNotApplyIsMisuse) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--dtype", "float32"}, "float64 only"},
      {{"--dtype", "both"}, "float64 only"},
      {{"--model", "m"}, "--model"},
      {{"--list"}, "--list"},
      {{"--samples", "3"}, "--model"},
      {{"--op", "tanhh"}, "did you mean tanh"},
  };
  for (const auto& [arguments, fragment] : cases) {
    std::vector<std::string> all = arguments;
    all.insert(all.begin(), {"gradcheck", "--mutants"});
    SCOPED_TRACE(::testing::PrintToString(all));
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment)));
  }
}

TEST(GradcheckMutants, TheTableCountsByOp) {
  const MutantRun run = made_up_run();
  const std::string lines = tools::MutantTable(7, true).lines(run.report);
  EXPECT_THAT(lines_of(lines),
              ElementsAre(MatchesRegex("tanh +2 +2 +2 +0 +1 +0 +0"),
                          MatchesRegex("softmax +2 +1 +0 +0 +1 +0 +1"),
                          HasSubstr("caught by differences, forward mode"),
                          HasSubstr("caught by differences"), HasSubstr("caught by forward mode"),
                          HasSubstr("SURVIVED"), HasSubstr("equivalent")));
  EXPECT_EQ(tools::caught_text(run.report),
            "caught 3 of 4 mutants (1 more equivalent), 1 false alarm");
}

TEST(GradcheckMutants, SurvivorsAndAlarmsAreNamed) {
  EXPECT_EQ(tools::mutant_failures_text(made_up_run().report),
            "SURVIVED softmax (<a>) 5x4, scale 0.1: gradient of x, dropped term: the mean term is "
            "dropped\nFALSE ALARM tanh (<a>) 5x4, scale 1, seed 0: differences: noise\n");
  EXPECT_EQ(tools::mutant_failures_text({}), "nothing was damaged\n");
}

TEST(GradcheckMutants, ReportsHaveWhatIsWrong) {
  const MutantRun run = made_up_run();
  const auto json = nlohmann::json::parse(mutants_json(run));
  EXPECT_FALSE(json.at("ok"));
  EXPECT_EQ(json.at("caught"), 3);
  EXPECT_EQ(json.at("total"), 4);
  EXPECT_EQ(json.at("equivalent"), 1);
  EXPECT_EQ(json.at("caught_by").at("forward mode"), 2);
  EXPECT_EQ(json.at("mutants").at(0).at("caught_by"),
            nlohmann::json({"differences", "forward mode"}));
  EXPECT_FALSE(json.at("mutants").at(3).at("caught"));
  EXPECT_EQ(json.at("alarms").at(0).at("evidence"), "noise");

  const Element junit = parse_markup(mutants_junit(run));
  EXPECT_EQ(junit.at("failures"), "2");
  EXPECT_EQ(junit.at("tests"), "6");  // two kinds and the undamaged op, of each
  const auto failures = junit.all("failure");
  ASSERT_EQ(failures.size(), 2U);
  EXPECT_THAT(failures[0]->at("message"), StartsWith("false alarm: tanh"));
  EXPECT_THAT(failures[1]->at("message"), StartsWith("survived: softmax"));

  const std::string text = mutants_html(run);
  EXPECT_THAT(text, AllOf(Not(HasSubstr("://")), Not(HasSubstr("src=")), Not(HasSubstr("href="))));
  const Element page = parse_markup(text);
  EXPECT_EQ(page.all("title")[0]->text, "chainrule gradcheck: 3 of 4 mutants caught");
  EXPECT_THAT(page.all("pre")[0]->text, HasSubstr("SURVIVED softmax"));
  EXPECT_EQ(page.all("tbody")[0]->all("tr")[0]->at("class"), "row bad");  // softmax comes first
  EXPECT_EQ(page.all("li").size(), 1U);                                   // the equivalent one
}

}  // namespace
}  // namespace chainrule::testing
