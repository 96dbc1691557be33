// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

TEST(Gradcheck, ListsOpsAndCountsChecks) {
  Directory directory;
  const std::string report = directory / "report.json";
  const std::vector<std::string> lines =
      lines_of(run_ok({"gradcheck", "--op", "relu", "--op", "mul", "--json", report}));
  const auto json = nlohmann::json::parse(read_text(report));
  EXPECT_EQ(json.at("failed"), 0);
  const std::size_t checks = json.at("checks");
  EXPECT_EQ(json.at("reports").size(), checks);
  EXPECT_EQ(
      lines.back().rfind("gradcheck: " + std::to_string(checks) + " checks of 2 ops agree (", 0),
      0U);
  std::set<std::pair<std::string, std::string>> seen;
  for (const auto& entry : json.at("reports")) {
    EXPECT_TRUE(entry.at("ok"));
    EXPECT_GT(entry.at("comparisons"), 0);
    seen.emplace(entry.at("op"), entry.at("dtype"));
  }
  EXPECT_EQ(seen,
            (std::set<std::pair<std::string, std::string>>{
                {"relu", "float32"}, {"relu", "float64"}, {"mul", "float32"}, {"mul", "float64"}}));
  EXPECT_EQ(lines.size(), 2 + seen.size() + 1);  // kernels and heading, a line each, the summary
}

TEST(Gradcheck, ChecksTheKernelsAskedFor) {
  Directory directory;
  const std::string report = directory / "report.json";
  const std::string out = run_ok({"gradcheck", "--op", "relu", "--dtype", "float64", "--arch",
                                  "baseline", "--json", report, "--summary"});
  EXPECT_EQ(lines_of(out).size(), 1U);
  const auto json = nlohmann::json::parse(read_text(report));
  for (const auto& entry : json.at("reports")) {
    EXPECT_EQ(entry.at("architecture"), "baseline");
    EXPECT_EQ(entry.at("dtype"), "float64");
  }
  const Outcome unknown = run({"gradcheck", "--op", "relu", "--arch", "sparc"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("sparc"));
}

}  // namespace
}  // namespace chainrule::testing
