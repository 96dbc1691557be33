// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <thread>

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
  // Kernels and heading, a line each, forward mode, second order, the summary.
  ASSERT_EQ(lines.size(), 2 + seen.size() + 3);
  const std::string counts = " [0-9]+ (products|comparisons), worst error [-.e0-9]+ of [-.e0-9]+";
  EXPECT_THAT(lines[lines.size() - 3], MatchesRegex("forward mode:" + counts));
  EXPECT_THAT(lines[lines.size() - 2], MatchesRegex("second order:" + counts));
  EXPECT_THAT(
      lines[1],
      MatchesRegex("op +dtype +worst in +elements +Jacobian +.*error bar +tolerated +verdict"));
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
  const std::size_t cases = 2, gradients = 2, ways = 3;
  ASSERT_EQ(lines.size(), 2 + cases * gradients * ways * case_sizes().size() + 3);
  EXPECT_THAT(lines[1], StartsWith("check "));
  EXPECT_THAT(lines, ::testing::Contains(MatchesRegex(
                         "add_bias \\(no batch\\), odd +float64  b \\[13\\] +13 .*agree")));
  EXPECT_THAT(lines, ::testing::Contains(MatchesRegex(
                         "add_bias, odd +float64  jvp b \\[13\\] +0\\+4 +[0-9]+ .*agree")));
  EXPECT_THAT(lines, ::testing::Contains(
                         MatchesRegex("add_bias, odd +float64  2nd b \\[13\\] +13 .*agree")));
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
  const std::string json = directory / "report.json";
  run_ok({"gradcheck", "--op", "matmul", "--op", "hinge", "--junit", junit, "--html", html,
          "--json", json});
  const Element suites = parse_markup(read_text(junit));
  EXPECT_EQ(suites.all("testsuite").size(), 4U);
  EXPECT_EQ(std::to_string(suites.all("testcase").size()), suites.at("tests"));
  EXPECT_EQ(suites.at("failures"), "0");
  const std::string page = read_text(html);
  EXPECT_THAT(page, AllOf(Not(HasSubstr("://")), Not(HasSubstr("src=")), Not(HasSubstr("href="))));
  const Element root = parse_markup(page);
  EXPECT_EQ(root.name, "html");
  // A row for each op and dtype, and for each gradient of each check, by differences, by forward
  // mode and perhaps of second order; headings.
  std::size_t rows = 0;
  const auto report = nlohmann::json::parse(read_text(json));
  for (const auto& entry : report.at("reports")) {
    const std::size_t gradients = entry.at("op") == "matmul" ? 2 : 1;
    EXPECT_EQ(entry.at("gradients").size(), gradients);
    rows += (entry.contains("second_order") ? 3 : 2) * gradients;
  }
  EXPECT_EQ(root.all("tr").size(), 1 + 4 + 4 + rows);
}

TEST(Gradcheck, ListSaysWhatIsChecked) {
  const std::string out = run_ok({"gradcheck", "--list"});
  for (const OpDef* op : all_ops()) EXPECT_THAT(out, HasSubstr("\n  " + std::string(op->name)));
  for (const OpCase& row : op_cases()) EXPECT_THAT(out, HasSubstr("\n  " + row.name() + " "));
  for (const CaseSize& size : case_sizes()) EXPECT_THAT(out, HasSubstr(std::string(size.name)));
  EXPECT_THAT(out, AllOf(HasSubstr("float32 and float64"), HasSubstr("finite differences"),
                         HasSubstr("\nforward mode  each against the op's jvp"),
                         HasSubstr("\nsecond order  second derivatives")));
  const std::string of_one = run_ok({"gradcheck", "--list", "--op", "embedding"});
  EXPECT_THAT(of_one, AllOf(HasSubstr("1 op in 2 cases"), HasSubstr("by table [5, 8]"),
                            Not(HasSubstr("matmul"))));
}

TEST(Gradcheck, ListSaysWhatIsCheckedOfEachOp) {
  const std::vector<std::string> lines =
      lines_of(run_ok({"gradcheck", "--list", "--op", "relu", "--op", "matmul"}));
  const std::string common =
      ", float32 and float64: gradients, forward mode, "
      "accumulation, determinism, strides";
  EXPECT_THAT(lines, ::testing::Contains("relu" + common + ", aliasing, threads, second order"));
  EXPECT_THAT(lines, ::testing::Contains("matmul" + common + ", threads, second order"));
}

// What the checks say they looked at is what --list promises.
TEST(Gradcheck, ReportsTheFurtherProperties) {
  Directory directory;
  const std::string report = directory / "report.json";
  run_ok({"gradcheck", "--op", "relu", "--dtype", "float64", "--json", report});
  std::set<std::string> seen;
  const auto json = nlohmann::json::parse(read_text(report));
  for (const auto& entry : json.at("reports")) {
    for (const std::string property : entry.at("properties")) seen.insert(property);
  }
  const std::string list = run_ok({"gradcheck", "--list", "--op", "relu"});
  for (const std::string& property : seen) EXPECT_THAT(list, HasSubstr(", " + property));
  EXPECT_GE(seen.size(), 7U);
}

// Every function that builds a graph can be asked for by its own name.
TEST(Gradcheck, KnowsOpsByTheNamesOfTheirBuilders) {
  const std::regex builder(R"(CHAINRULE_API Value (\w+)\()");
  Arguments arguments{"gradcheck", "--list"};
  for (const auto& entry : std::filesystem::directory_iterator(CHAINRULE_OPS_INCLUDE_DIR)) {
    for (const std::string& line : lines_of(read_text(entry.path().string()))) {
      std::smatch name;
      if (!std::regex_search(line, name, builder)) continue;
      arguments.insert(arguments.end(), {"--op", name[1].str()});
    }
  }
  EXPECT_GT(arguments.size(), 70U);
  EXPECT_THAT(run_ok(arguments), HasSubstr("\ntotal_mean, "));
  EXPECT_THAT(run_ok({"gradcheck", "--op", "reduce_mean", "--op", "batch_mean", "--summary"}),
              HasSubstr(" checks of 3 ops agree"));
}

TEST(Gradcheck, ReportsGoStraightToDescriptors) {
  const Arguments check{"gradcheck", "--op", "scale"};
  const auto with = [&](const Arguments& more) {
    Arguments all = check;
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  };
  for (const std::string path : {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}) {
    const Outcome outcome = with({"--json", path});
    EXPECT_EQ(outcome.code, 0);
    // The report is all that is on standard output; the table is on the other one.
    EXPECT_EQ(nlohmann::json::parse(outcome.out).at("failed"), 0);
    EXPECT_THAT(outcome.err, HasSubstr("checks of 1 op agree"));
  }
  EXPECT_EQ(parse_markup(with({"--html", "/dev/stdout"}).out).name, "html");
  EXPECT_EQ(parse_markup(with({"--junit", "/dev/stdout"}).out).name, "testsuites");
  const Outcome nowhere = with({"--json", "/dev/null", "--html", "/dev/null"});
  EXPECT_EQ(nowhere.code, 0) << nowhere.err;
  EXPECT_THAT(nowhere.out, HasSubstr("checks of 1 op agree"));
}

TEST(Gradcheck, PipesGetAWholeReport) {
  Directory directory;
  const std::string pipe = directory / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::string text;
  std::thread reader([&] { text = read_text(pipe); });
  run_ok({"gradcheck", "--op", "scale", "--summary", "--json", pipe});
  reader.join();
  EXPECT_EQ(nlohmann::json::parse(text).at("failed"), 0);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
}

TEST(Gradcheck, AFullDeviceIsAnError) {
  const Outcome outcome = run({"gradcheck", "--op", "scale", "--summary", "--html", "/dev/full"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("cannot write '/dev/full': No space left on device"));
}

TEST(Gradcheck, TwoReportsInOneFileAreMisuse) {
  Directory directory;
  const std::string path = directory / "r", link = directory / "link";
  std::filesystem::create_symlink(path, link);
  for (const std::string& other : {path, directory / "./r", link}) {
    const Outcome outcome = run({"gradcheck", "--op", "scale", "--json", path, "--html", other});
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, HasSubstr("--html " + other + ": that is also the file of --json"));
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  const Outcome both = run({"gradcheck", "--json", "/dev/stdout", "--html", "/dev/fd/1"});
  EXPECT_EQ(both.code, 2);
  const Outcome model = run({"gradcheck", "--model", path, "--json", path});
  EXPECT_EQ(model.code, 2);
}

TEST(Gradcheck, MisuseSaysWhatThereIs) {
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{"--op", "matmull"}, "there are: matmul, add_bias, "},
      {{"--dtype", "half"}, "float32"},
      {{"--arch", "sparc"}, "baseline"},
      {{"--op", "softmix"}, "(did you mean softmax?)"},
      {{"--op", "reduce_max"}, "what graphs call reduce_sum, reduce_mean and reduce_loss"},
      {{"--seed", "-1"}, "--seed: -1, expected a whole number from 0 to 18446744073709551615"},
      {{"--seed", "1e3"}, "1e3, expected a whole number"},
      {{"--model", "m", "--data", "d", "--header", "maybe"}, "expected yes, no or auto"},
      {{"--waive", "0.bias"}, "--model"},
      {{"--zero", "0.bias"}, "--model"},
      {{"--list", "--dtype", "float32"}, "--list"},
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
