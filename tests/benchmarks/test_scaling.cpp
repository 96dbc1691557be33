// SPDX-License-Identifier: Apache-2.0
//
// scaling's model by hand, and the program.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chainrule/runtime/plan.hpp"
#include "process.hpp"
#include "scaling_model.hpp"

namespace chainrule::bench {
namespace {

using chainrule::testing::Directory;
using chainrule::testing::Outcome;
using chainrule::testing::Process;
using chainrule::testing::read_text;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

constexpr double kBandwidth = 1e12;
// One layer: forward and weight gradients, half of the operations each.
constexpr Workload kHalves{"", "64-64", 2048, Task::kStep};
constexpr double kHalvesBytes = 6 * 4 * 64 * 64;

Timing timing(int threads, std::vector<double> series) {
  return {.threads = threads, .series = std::move(series), .cpu_share = 1, .participants = threads};
}

ScalingModel model(std::vector<double> one, std::vector<double> two,
                   double bandwidth = kBandwidth) {
  return {kHalves, timing(1, std::move(one)), timing(2, std::move(two)), bandwidth};
}

TEST(ScalingModel, GivesTheMeasuredTimesBack) {
  const ScalingModel half = model({1, 1, 1, 1, 1.4}, {0.9, 0.75 + 2e-6, 0.76, 0.76, 0.76});
  EXPECT_NEAR(half.serial_share(), 0.5, 1e-12);
  EXPECT_DOUBLE_EQ(half.seconds(1), 1);
  EXPECT_DOUBLE_EQ(half.seconds(2), 0.75 + 2e-6);
  EXPECT_EQ(half.doubt(), "");
}

TEST(ScalingModel, SharesRowsByBlocksAndWeightsByAll) {
  const double blocks = static_cast<double>(Plan::max_blocks(kHalves.batch));
  ASSERT_GT(blocks, 2);
  ASSERT_LT(blocks, 64);
  const ScalingModel ideal = model({1}, {0.5 + 2e-6});
  EXPECT_NEAR(ideal.serial_share(), 0, 1e-12);
  EXPECT_DOUBLE_EQ(ideal.seconds(64), 0.5 / blocks + 0.5 / 64 + 2e-6 * 6);
  const ScalingModel quarter = model({1}, {0.625 + 2e-6});
  EXPECT_NEAR(quarter.seconds(4), 0.25 + 0.75 * 0.25 + 2e-6 * 2, 1e-12);
}

TEST(ScalingModel, KeepsOneBlockOnOneCoreButItsWeights) {
  const Workload row{"", "64-64", 1, Task::kStep};
  const ScalingModel model(row, timing(1, {1}), timing(2, {0.75 + 2e-6}), kBandwidth);
  EXPECT_NEAR(model.serial_share(), 0, 1e-12);
  EXPECT_NEAR(model.seconds(8), 0.5 + 0.5 / 8 + 2e-6 * 3, 1e-12);
}

TEST(ScalingModel, ReadsNoFasterThanTheController) {
  const ScalingModel slow = model({1}, {0.5 + 2e-6}, kHalvesBytes);  // a second on one thread
  EXPECT_DOUBLE_EQ(slow.seconds(4), 0.25 + 4e-6);
  const ScalingModel slower = model({1}, {0.5 + 2e-6}, kHalvesBytes / 24);
  EXPECT_DOUBLE_EQ(slower.seconds(12), 2);
  EXPECT_DOUBLE_EQ(slower.seconds(64), 2);
}

TEST(ScalingModel, IsSerialWhereNobodyHelpsWithLittle) {
  Timing two = timing(2, {1e-7});
  two.participants = 1;
  const ScalingModel tiny(kHalves, timing(1, {1.1e-7}), two, kBandwidth);
  EXPECT_TRUE(tiny.is_serial());
  EXPECT_EQ(tiny.doubt(), "");
  EXPECT_DOUBLE_EQ(tiny.seconds(64), 1.1e-7);
}

TEST(ScalingModel, DoubtsWhatIsNoMeasurementOfScaling) {
  EXPECT_THAT(model({1}, {1.1}).doubt(), HasSubstr("gained nothing"));
  Timing alone = timing(2, {1});
  alone.participants = 1;
  EXPECT_THAT(ScalingModel(kHalves, timing(1, {1}), alone, kBandwidth).doubt(),
              HasSubstr("no second thread took part"));
  Timing busy = timing(1, {1});
  busy.cpu_share = 0.4;
  EXPECT_EQ(ScalingModel(kHalves, busy, timing(2, {0.6}), kBandwidth).doubt(),
            "too noisy: 1 thread got 40 % of the CPU time");
  EXPECT_THAT(model({1, 1, 1, 1, 1}, {0.51, 0.51, 0.7, 0.9, 0.95}).doubt(),
              StartsWith("too noisy: of 5 measurements"));
}

void expect_threads(const Json& row) {
  SCOPED_TRACE(row.dump());
  const Json& measured = row.at("measured");
  ASSERT_GE(measured.size(), 2);
  for (const Json& timing : measured) {
    EXPECT_EQ(timing.at("speedup").get<double>(),
              measured[0].at("seconds").get<double>() / timing.at("seconds").get<double>());
    EXPECT_EQ(timing.at("series").size(), 5);
    EXPECT_GE(timing.at("participants"), 1);
    EXPECT_LE(timing.at("participants"), timing.at("threads"));
    EXPECT_GT(timing.at("cpu_share"), 0);
  }
  EXPECT_GE(row.at("serial_share"), 0);
  const Json& model = row.at("model");
  if (!row.at("doubt").get<std::string>().empty()) {
    EXPECT_THAT(model, IsEmpty());
    return;
  }
  ASSERT_EQ(model.size(), 5);
  for (std::size_t i = 0; i < model.size(); ++i) {
    EXPECT_EQ(model[i].at("threads"), 4 << i);
    EXPECT_GT(model[i].at("seconds"), 0);
  }
}

TEST(Scaling, HasATableAndStableJson) {
  const Directory directory;
  const std::string file = directory / "scaling.json";
  const Outcome outcome =
      Process({"--seconds", "0.001", "--json", file}, {}, CHAINRULE_SCALING).wait();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(read_text(file));
  for (const char* key : {"cpu", "cores", "kernels"}) EXPECT_TRUE(json.contains(key)) << key;
  std::vector<std::string> steps;
  for (const Json& row : json.at("threads")) {
    steps.push_back(row.at("workload"));
    expect_threads(row);
  }
  EXPECT_EQ(steps, (std::vector<std::string>{"tiny-step", "small-step", "mnist-step-32",
                                             "mnist-step-128", "deep-step", "wide-step"}));
  const Json& model = json.at("model");
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr(model.at("formula").get<std::string>()), HasSubstr("Assumed:\n")));
  for (const char* key : {"terms", "assumptions"}) {
    for (const std::string line : model.at(key)) EXPECT_THAT(outcome.out, HasSubstr(line));
  }
  EXPECT_EQ(model.at("barrier_seconds"), 1e-6);
  EXPECT_EQ(model.at("controller_threads"), 12);
  std::vector<std::string> growths;
  for (const Json& row : json.at("growth")) {
    growths.push_back(row.at("grows"));
    EXPECT_GT(row.at("time_slope"), 0);
    EXPECT_TRUE(row.contains("time_slope_upper_half") && row.contains("memory_slope"));
    EXPECT_GE(row.at("points").size(), 6);
  }
  EXPECT_EQ(growths, (std::vector<std::string>{"batch", "width", "depth"}));
  ASSERT_EQ(json.at("predictions").size(), 10);
  for (const Json& row : json.at("predictions")) {
    EXPECT_TRUE(row.contains("workload") && row.contains("threads"));
    for (const char* key : {"resident_seconds", "alone_seconds", "predictor_seconds"}) {
      EXPECT_GT(row.at(key), 0);
    }
  }
  EXPECT_THAT(outcome.out, AllOf(HasSubstr(" 1 thread "), Not(HasSubstr("1 threads")),
                                 Not(ContainsRegex("[mun]s[0-9]"))));
}

TEST(Scaling, TellsMisuseAndWhatCannotBeWrittenAtOnce) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--bogus"}, {"--seconds", "0"}, {"--seconds", "soon"}}) {
    const Outcome outcome = Process(arguments, {}, CHAINRULE_SCALING).wait();
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, AllOf(StartsWith("scaling: error: "), HasSubstr("--help")));
  }
  const Outcome outcome = Process({"--json", "/nonexistent/x"}, {}, CHAINRULE_SCALING).wait();
  EXPECT_EQ(outcome.code, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("/nonexistent/x"));
}

}  // namespace
}  // namespace chainrule::bench
