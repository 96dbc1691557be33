// SPDX-License-Identifier: Apache-2.0
//
// How the command reports gradients that are wrong; no op of the library is, so these tests check
// ops that are damaged and call what writes the reports.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chainrule/check/check_case.hpp"
#include "chainrule/ops/ops.hpp"
#include "gradcheck_report.hpp"
#include "markup.hpp"
#include "process.hpp"
#include "wrong_ops.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using tools::GradcheckRecord;
using tools::GradcheckRun;
using tools::GradcheckTable;

GradcheckRecord record(const OpDef& op, const CaseSize& size) {
  const OpCase op_case{.op = &op, .variant = "a <b> & \"c\"", .build = [&op](CaseBuilder& b) {
                         return b.graph().apply(op, {b.batch("x")});
                       }};
  CaseReport report = check_case(op_case, size, DType::kFloat64);
  return {.subject = report.op,
          .name = report.name + ", " + report.size,
          .variant = report.name,
          .size = report.size,
          .shape = report.shape,
          .seconds = 0.25,
          .report = std::move(report.gradients),
          .second_order = std::move(report.second_order)};
}

// Two checks of a right op, two of a wrong one, one that compared nothing.
GradcheckRun wrong_run() {
  GradcheckRun run;
  run.architecture = "baseline";
  run.seed = 3;
  run.seconds = 1.5;
  for (const OpDef* op : {&kTanhOp, &doubled_tanh()}) {
    run.records.push_back(record(*op, {"small", 2, 3}));
    run.records.push_back(record(*op, {"single", 1, 1}));
  }
  run.records.push_back({.subject = "nothing",
                         .name = "nothing, small",
                         .variant = "nothing",
                         .size = "small",
                         .shape = "[2, 3]",
                         .report = {}});
  return run;
}

GradcheckRun right_run() {
  GradcheckRun run = wrong_run();
  run.records.resize(2);
  return run;
}

TEST(GradcheckReports, TheTableShowsTheWorstOfEachGroup) {
  const GradcheckRun run = wrong_run();
  const GradcheckTable table(false, 10, false);
  std::vector<std::string> lines;
  for (const tools::GradcheckGroup group : tools::groups_of(run))
    lines.push_back(table.lines(group));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_THAT(lines[0], AllOf(StartsWith("tanh        float64  x ["), HasSubstr("  7  "),
                              HasSubstr("  agree\n")));
  EXPECT_THAT(lines[1],
              AllOf(StartsWith("twice_tanh  float64  x ["), HasSubstr("2 of 2 disagree\n")));
  EXPECT_THAT(lines[2], AllOf(StartsWith("nothing     float64  -"), HasSubstr("unresolved\n")));
  EXPECT_EQ(lines_of(lines[0]).size(), 1U);
  EXPECT_EQ(lines_of(lines[2]).size(), 1U);
  // What is wrong in other ways too has lines of its own.
  ASSERT_EQ(lines_of(lines[1]).size(), 3U);
  EXPECT_THAT(lines_of(lines[1])[1],
              AllOf(StartsWith("twice_tanh  float64  jvp x ["), HasSubstr(" disagree")));
  EXPECT_THAT(lines_of(lines[1])[2],
              AllOf(StartsWith("twice_tanh  float64  2nd x ["), HasSubstr(" disagree")));
}

TEST(GradcheckReports, TheLongTableHasALineForEachGradient) {
  const GradcheckRun run = wrong_run();
  const GradcheckTable table(false, 40, true);
  std::vector<std::string> lines;
  for (const tools::GradcheckGroup group : tools::groups_of(run)) {
    for (const std::string& line : lines_of(table.lines(group))) lines.push_back(line);
  }
  // By differences, by forward mode, of second order; that nothing was compared.
  ASSERT_EQ(lines.size(), 4 * 3 + 1U);
  EXPECT_THAT(lines[0], AllOf(StartsWith("tanh (a <b> & \"c\"), small"), HasSubstr("x [2, 3]"),
                              HasSubstr("agree")));
  EXPECT_THAT(lines[1], AllOf(HasSubstr("jvp x [2, 3]"), HasSubstr(" 0+4 "), HasSubstr("agree")));
  EXPECT_THAT(lines[2], AllOf(HasSubstr("2nd x [2, 3]"), HasSubstr("agree")));
  EXPECT_THAT(lines[6], HasSubstr("12 of 42 disagree"));
  EXPECT_THAT(lines[7], AllOf(HasSubstr("jvp x [2, 3]"), HasSubstr("10 of 40 disagree")));
  EXPECT_THAT(lines[12], HasSubstr("failed"));
}

TEST(GradcheckReports, FailuresShowWorstElementsAndHints) {
  const std::string text = failures_text(wrong_run());
  EXPECT_THAT(
      text, AllOf(HasSubstr("FAILED twice_tanh (a <b> & \"c\"), small, output [2, 3], float64\n"),
                  HasSubstr("gradient of x [2, 3]: 12 of 42 disagree"),
                  HasSubstr("hint: backward is 2 x too large"), HasSubstr("FAILED nothing, small"),
                  HasSubstr("nothing was compared"), Not(HasSubstr("FAILED tanh"))));
  EXPECT_EQ(failures_text(right_run()), "");
}

TEST(GradcheckReports, ManyFailuresAreCutOff) {
  GradcheckRun run = wrong_run();
  const GradcheckRecord wrong = run.records[2];
  run.records.assign(23, wrong);
  EXPECT_THAT(failures_text(run), HasSubstr("... and 3 more\n"));
}

TEST(GradcheckReports, Json) {
  const auto json = nlohmann::json::parse(gradcheck_json(wrong_run()));
  EXPECT_EQ(json.at("checks"), 5);
  EXPECT_EQ(json.at("failed"), 3);
  EXPECT_EQ(json.at("seed"), 3);
  const auto& wrong = json.at("reports").at(2);
  EXPECT_EQ(wrong.at("op"), "twice_tanh");
  EXPECT_EQ(wrong.at("dtype"), "float64");
  EXPECT_EQ(wrong.at("shape"), "[2, 3]");
  EXPECT_EQ(wrong.at("elements"), 6);
  EXPECT_EQ(wrong.at("directions"), 0);
  EXPECT_EQ(wrong.at("verdict"), "disagree");
  EXPECT_EQ(wrong.at("ok"), false);
  EXPECT_GT(wrong.at("worst_error"), wrong.at("tolerance"));
  EXPECT_GT(wrong.at("tolerance"), wrong.at("error_bar"));
  const auto& gradient = wrong.at("gradients").at(0);
  EXPECT_EQ(gradient.at("name"), "x");
  EXPECT_EQ(gradient.at("jacobian"), 36);
  EXPECT_EQ(gradient.at("disagree"), 12);  // each element and its entry of the Jacobian's diagonal
  EXPECT_EQ(gradient.at("failing").size(), 10U);
  EXPECT_THAT(std::string(gradient.at("hint")), HasSubstr("2 x too large"));
  // The worst element: tanh' counted twice.
  const auto& worst = gradient.at("worst");
  EXPECT_NEAR(worst.at("analytic"), 2 * double(worst.at("numeric")), 1e-9);
  const auto& nothing = json.at("reports").at(4);
  EXPECT_TRUE(nothing.at("worst_error").is_null());
  EXPECT_EQ(nothing.at("verdict"), "unresolved");
}

TEST(GradcheckReports, JUnitIsWellFormedAndCounts) {
  const Element root = parse_markup(gradcheck_junit(wrong_run()));
  EXPECT_EQ(root.name, "testsuites");
  EXPECT_EQ(root.at("tests"), "5");
  EXPECT_EQ(root.at("failures"), "3");
  const auto suites = root.all("testsuite");
  ASSERT_EQ(suites.size(), 3U);
  EXPECT_EQ(suites[1]->at("name"), "twice_tanh.float64");
  EXPECT_EQ(suites[1]->at("tests"), "2");
  EXPECT_EQ(suites[1]->at("failures"), "2");
  EXPECT_EQ(std::stod(suites[1]->at("time")), 0.5);
  const auto cases = root.all("testcase");
  ASSERT_EQ(cases.size(), 5U);
  EXPECT_EQ(cases[0]->at("classname"), "gradcheck.tanh.float64");
  EXPECT_EQ(cases[0]->at("name"), "tanh (a <b> & \"c\"), small [2, 3]");
  ASSERT_EQ(cases[0]->children.size(), 1U);
  EXPECT_THAT(cases[0]->all("system-out")[0]->text,
              AllOf(HasSubstr(": agree; forward mode: 40 products"), HasSubstr("second order:\n")));
  const auto failures = cases[2]->all("failure");
  ASSERT_EQ(failures.size(), 1U);
  EXPECT_EQ(failures[0]->at("type"), "disagree");
  EXPECT_THAT(failures[0]->at("message"), HasSubstr("12 of 42 disagree"));
  EXPECT_THAT(failures[0]->text, HasSubstr("hint: backward is 2 x too large"));
  EXPECT_EQ(cases[4]->all("failure").size(), 1U);
  EXPECT_TRUE(parse_markup(gradcheck_junit(right_run())).all("failure").empty());
}

TEST(GradcheckReports, HtmlStandsAloneWithFailuresOpen) {
  const std::string page = gradcheck_html(wrong_run());
  EXPECT_THAT(page, AllOf(StartsWith("<!DOCTYPE html>"), Not(HasSubstr("://")),
                          Not(HasSubstr("src=")), Not(HasSubstr("href=")), Not(HasSubstr("url(")),
                          Not(HasSubstr("@import")), HasSubstr("prefers-color-scheme: dark")));
  const Element root = parse_markup(page);
  EXPECT_TRUE(root.all("script").empty());
  EXPECT_TRUE(root.all("link").empty());
  std::size_t open = 0;
  for (const Element* details : root.all("details")) open += details->attributes.count("open");
  EXPECT_EQ(open, 3 + 2U);  // three failed checks, in two groups
  EXPECT_EQ(root.all("details").size(), 3 + 3U);
  ASSERT_EQ(root.all("pre").size(), 3U);
  EXPECT_THAT(root.all("pre")[0]->text, HasSubstr("hint: backward is 2 x too large"));
  EXPECT_EQ(root.all("title")[0]->text, "chainrule gradcheck: 3 failed");

  const Element right = parse_markup(gradcheck_html(right_run()));
  EXPECT_EQ(right.all("title")[0]->text, "chainrule gradcheck: all agree");
  for (const Element* details : right.all("details"))
    EXPECT_EQ(details->attributes.count("open"), 0U);
}

TEST(GradcheckReports, WaivedElementsNameTheWaiver) {
  GradcheckRun run;
  run.of_model = true;
  ValueCheck value;
  value.name = "0.bias";
  value.shape = Shape{3};
  value.elements = 3;
  value.agree = 2;
  value.unresolved = value.waived = 1;
  GradcheckRecord& record = run.records.emplace_back();
  record.subject = record.name = "0.bias";
  record.report.values.push_back(value);
  EXPECT_EQ(tools::verdict_text(value), "agree, 1 waived by 0.bias");
  EXPECT_EQ(tools::verdict_text(tools::GradcheckGroup(run.records)), "agree, 1 waived by 0.bias");
  const auto json = nlohmann::json::parse(gradcheck_json(run));
  EXPECT_EQ(json.at("reports").at(0).at("waived"), 1);
  EXPECT_EQ(json.at("reports").at(0).at("gradients").at(0).at("waiver"), "0.bias");
  const Element page = parse_markup(gradcheck_html(run));
  EXPECT_EQ(page.all("tbody")[0]->all("tr")[0]->at("class"), "row waived");
  EXPECT_EQ(page.all("input").size(), 2U);  // all, or with waivers
}

TEST(GradcheckReports, MarkupHoldsOnlyWhatXmlMay) {
  using tools::escape_markup;
  EXPECT_EQ(escape_markup("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape_markup("two\nlines\t."), "two\nlines\t.");
  const std::string bad = "\xef\xbf\xbd";
  EXPECT_EQ(escape_markup(std::string_view("\x00\x1b\x7f", 3)), bad + bad + bad);
  const std::string good = "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80";  // é, the euro sign, a smiley
  EXPECT_EQ(escape_markup(good), good);
  EXPECT_EQ(escape_markup("\xff"), bad);
  EXPECT_EQ(escape_markup("\xc3"), bad);                                // cut off
  EXPECT_EQ(escape_markup("\xc0\xaf"), bad + bad);                      // overlong
  EXPECT_EQ(escape_markup("\xed\xa0\x80"), bad + bad + bad);            // a surrogate
  EXPECT_EQ(escape_markup("\xf4\x90\x80\x80"), bad + bad + bad + bad);  // beyond Unicode
}

TEST(GradcheckReports, AKinkIsWrongOnlyOutsideItsSlopes) {
  ElementCheck kink{.verdict = Verdict::kKink,
                    .analytic = 0.25,
                    .numeric = 0.5,
                    .error = 0.25,
                    .left_slope = 0,
                    .right_slope = 1};
  EXPECT_EQ(tools::shown_error(kink), 0);
  kink.analytic = 1.5;
  EXPECT_EQ(tools::shown_error(kink), 0.5);
  kink.analytic = -0.125;
  EXPECT_EQ(tools::shown_error(kink), 0.125);
  kink.verdict = Verdict::kDisagree;
  EXPECT_EQ(tools::shown_error(kink), 0.25);
}

}  // namespace
}  // namespace chainrule::testing
