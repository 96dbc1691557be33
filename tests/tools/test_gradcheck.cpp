// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "chainrule/check/case_table.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "markup.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

using Arguments = std::vector<std::string>;

TEST(Gradcheck, ListsOpsAndCountsChecks) {
  Directory directory;
  const std::string report = directory / "report.json";
  const std::vector<std::string> lines =
      lines_of(run_ok({"gradcheck", "--op", "relu", "--op", "mul", "--json", report}));
  const auto json = nlohmann::json::parse(read_text(report));
  EXPECT_EQ(json.at("failed"), 0);
  const std::size_t checks = json.at("checks");
  EXPECT_EQ(json.at("reports").size(), checks);
  EXPECT_THAT(lines.back(),
              StartsWith("gradcheck: " + std::to_string(checks) + " checks of 2 ops agree ("));
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& entry : json.at("reports")) {
    EXPECT_TRUE(entry.at("ok"));
    EXPECT_GT(entry.at("elements"), 0);
    EXPECT_LE(entry.at("worst_error"), entry.at("tolerance"));
    EXPECT_GE(entry.at("error_bar"), 0);
    EXPECT_THAT(std::string(entry.at("shape")), MatchesRegex("\\[[0-9, ]*\\]"));
    EXPECT_EQ(entry.at("verdict"), entry.at("case") == "relu (at the kink)" &&
                                           entry.at("gradients").at(0).at("kinks") > 0
                                       ? "kink"
                                       : "agree");
    seen.emplace(entry.at("op"), entry.at("dtype"));
  }
  EXPECT_EQ(seen,
            (std::set<std::pair<std::string, std::string>>{
                {"relu", "float32"}, {"relu", "float64"}, {"mul", "float32"}, {"mul", "float64"}}));
  ASSERT_EQ(lines.size(), 2 + seen.size() + 1);  // kernels and heading, a line each, the summary
  EXPECT_THAT(lines[1],
              MatchesRegex("op +dtype +worst in +elements +.*error bar +tolerated +verdict"));
  EXPECT_THAT(lines[2], MatchesRegex("relu  float32 .*agree, [0-9]+ kinks"));
}

TEST(Gradcheck, EveryOpIsChecked) {
  Directory directory;
  const std::string report = directory / "report.json";
  run_ok({"gradcheck", "--dtype", "float64", "--summary", "--json", report});
  std::set<std::string> expected, seen;
  for (const OpDef* op : all_ops()) expected.emplace(op->name);
  const auto json = nlohmann::json::parse(read_text(report));
  for (const auto& entry : json.at("reports")) seen.emplace(entry.at("op"));
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(json.at("reports").size(), op_cases().size() * case_sizes().size());
  EXPECT_LT(json.at("seconds"), 60);
}

TEST(Gradcheck, ChecksTheKernelsAskedFor) {
  Directory directory;
  const std::string report = directory / "report.json";
  const std::string out = run_ok({"gradcheck", "--op", "relu", "--dtype", "float64", "--arch",
                                  "baseline", "--json", report, "--summary"});
  EXPECT_EQ(lines_of(out).size(), 1U);
  const auto json = nlohmann::json::parse(read_text(report));
  for (const auto& entry : json.at("reports")) {
    EXPECT_EQ(entry.at("arch"), "baseline");
    EXPECT_EQ(entry.at("dtype"), "float64");
  }
}

TEST(Gradcheck, VerboseShowsEveryGradientOfEveryCheck) {
  const std::vector<std::string> lines =
      lines_of(run_ok({"gradcheck", "--op", "add_bias", "--dtype", "float64", "-v"}));
  const std::size_t cases = 2, gradients = 2;
  ASSERT_EQ(lines.size(), 2 + cases * gradients * case_sizes().size() + 1);
  EXPECT_THAT(lines[1], StartsWith("check "));
  EXPECT_THAT(lines, ::testing::Contains(MatchesRegex(
                         "add_bias \\(no batch\\), odd +float64  b \\[13\\] +13 .*agree")));
}

TEST(Gradcheck, TheSeedDecidesTheNumbers) {
  Directory directory;
  const auto numbers = [&](const std::string& seed) {
    const std::string report = directory / "report.json";
    run_ok({"gradcheck", "--op", "gelu", "--dtype", "float64", "--seed", seed, "--json", report});
    auto json = nlohmann::json::parse(read_text(report));
    EXPECT_EQ(std::to_string(int(json.at("seed"))), seed);
    return json.at("reports").at(0).at("gradients").dump();
  };
  const std::string first = numbers("1");
  EXPECT_EQ(numbers("1"), first);
  EXPECT_NE(numbers("2"), first);
}

TEST(Gradcheck, WritesJUnitAndHtml) {
  Directory directory;
  const std::string junit = directory / "report.xml", html = directory / "report.html";
  run_ok({"gradcheck", "--op", "matmul", "--op", "hinge", "--junit", junit, "--html", html});
  const Element suites = parse_markup(read_text(junit));
  EXPECT_EQ(suites.all("testsuite").size(), 4U);
  EXPECT_EQ(std::to_string(suites.all("testcase").size()), suites.at("tests"));
  EXPECT_EQ(suites.at("failures"), "0");
  const std::string page = read_text(html);
  EXPECT_THAT(page, AllOf(Not(HasSubstr("://")), Not(HasSubstr("src=")), Not(HasSubstr("href="))));
  const Element root = parse_markup(page);
  EXPECT_EQ(root.name, "html");
  // A row for each op and dtype, and for each gradient of each check; headings.
  std::size_t checks = 0;
  for (const Element* suite : suites.all("testsuite")) {
    const std::size_t gradients = suite->at("name").rfind("matmul", 0) == 0 ? 2 : 1;
    checks += gradients * suite->all("testcase").size();
  }
  EXPECT_EQ(root.all("tr").size(), 1 + 4 + 4 + checks);
}

TEST(Gradcheck, ListSaysWhatIsChecked) {
  const std::string out = run_ok({"gradcheck", "--list"});
  for (const OpDef* op : all_ops()) EXPECT_THAT(out, HasSubstr("\n  " + std::string(op->name)));
  for (const OpCase& row : op_cases()) EXPECT_THAT(out, HasSubstr("\n  " + row.name() + " "));
  for (const CaseSize& size : case_sizes()) EXPECT_THAT(out, HasSubstr(std::string(size.name)));
  EXPECT_THAT(out, AllOf(HasSubstr("float32 and float64"), HasSubstr("finite differences")));
  const std::string of_one = run_ok({"gradcheck", "--list", "--op", "embedding"});
  EXPECT_THAT(of_one, AllOf(HasSubstr("1 op in 2 cases"), HasSubstr("by table [5, 8]"),
                            Not(HasSubstr("matmul"))));
}

TEST(Gradcheck, MisuseSaysWhatThereIs) {
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"--op", "matmull"}, "there are: matmul, add_bias, "},
      {{"--dtype", "half"}, "float32"},
      {{"--arch", "sparc"}, "baseline"},
      {{"--seed", "-1"}, "--seed"},
      {{"--samples", "4"}, "--model"},
      {{"--data", "digits"}, "--model"},
      {{"--model", "m", "--op", "relu"}, "--op"},
      {{"--model", "m", "--list"}, "--list"},
      {{"--model", "m", "--samples", "0"}, "--samples"},
      {{"--model", "m", "--target", "y"}, "--data"},
      {{"--list", "--html", "page.html"}, "--list"},
      {{"-v", "--summary"}, "--summary"},
  };
  for (const auto& [arguments, fragment] : cases) {
    Arguments all = arguments;
    all.insert(all.begin(), "gradcheck");
    SCOPED_TRACE(::testing::PrintToString(all));
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment)));
  }
}

TEST(Gradcheck, WhatCannotBeWrittenIsFoundBeforeTheWork) {
  Directory directory;
  for (const std::string option : {"--json", "--junit", "--html"}) {
    const std::string path = directory / "no/where";
    const Outcome outcome = run({"gradcheck", option, path});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(path)));
  }
}

}  // namespace
}  // namespace chainrule::testing
