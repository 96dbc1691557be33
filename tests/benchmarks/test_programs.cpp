// SPDX-License-Identifier: Apache-2.0
//
// The programs of Google Benchmark: the names, counters and JSON keys that scripts rely on, and how
// they end.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Json = nlohmann::json;

struct Program {
  const char* name;
  const char* path;
  const char* quick;  ///< a filter of what takes no time
};

constexpr Program kPrograms[] = {
    {"steps", CHAINRULE_STEPS, "^(tiny-step|small-predict|latency)/"},
    {"kernels", CHAINRULE_KERNELS, "^(gemm_.*/8x256x256/|unary/exp/|cross_entropy/128x10/)"},
    {"ops", CHAINRULE_OPS, "^(matmul|relu|embedding|rbf_gp_nll)/"},
};

Outcome run_program(const char* path, std::vector<std::string> arguments) {
  return Process(arguments, {}, path).wait();
}

std::vector<std::string> names_of(const char* path) {
  const Outcome outcome = run_program(path, {"--benchmark_list_tests"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return lines_of(outcome.out);
}

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(Benchmarks, StepsAreThoseOfTheIssueOnOneAndTwoThreads) {
  std::vector<std::string> expected;
  for (const std::string name : {"tiny-step", "tiny-predict", "small-step", "small-predict",
                                 "mnist-step-32", "mnist-step-128", "deep-step", "wide-step",
                                 "deep-predict", "latency", "bulk-predict", "glm-gradient"}) {
    expected.push_back(name + "/threads:1");
    expected.push_back(name + "/threads:2");
  }
  EXPECT_EQ(names_of(CHAINRULE_STEPS), expected);
}

TEST(Benchmarks, KernelsAndOpsRunOnOneThread) {
  for (const char* path : {CHAINRULE_KERNELS, CHAINRULE_OPS}) {
    EXPECT_THAT(names_of(path), Each(EndsWith("/threads:1")));
  }
  EXPECT_THAT(names_of(CHAINRULE_KERNELS),
              AllOf(Contains("gemm_forward/1x128x784/float32/threads:1"),
                    Contains("gemm_weight_gradient/256x1024x1024/float64/threads:1"),
                    Contains("unary/gelu/threads:1"), Contains("cross_entropy/128x10/threads:1")));
  EXPECT_THAT(names_of(CHAINRULE_OPS),
              AllOf(Contains("matmul/forward/float32/threads:1"),
                    Contains("matmul/forward+backward/float64/threads:1"),
                    Contains("matmul (many outputs)/forward/float32/threads:1")));
}

TEST(Benchmarks, HaveCountersAndStableJson) {
  for (const Program& program : kPrograms) {
    SCOPED_TRACE(program.name);
    const Directory directory;
    const std::string file = directory / "out.json";
    const Outcome outcome =
        run_program(program.path,
                    {"--benchmark_format=json", std::string("--benchmark_filter=") + program.quick,
                     "--benchmark_min_time=0.001", "--benchmark_out=" + file});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const Json json = Json::parse(outcome.out);
    EXPECT_EQ(json, Json::parse(read_text(file)));
    for (const char* key : {"cpu", "kernels", "blas_core", "default_threads",
                            "fma_peak_float32_gflops", "fma_peak_float64_gflops"}) {
      EXPECT_TRUE(json.at("context").contains(key)) << key;
    }
    EXPECT_GE(json.at("benchmarks").size(), 6);
    for (const Json& row : json.at("benchmarks")) {
      SCOPED_TRACE(row.dump());
      EXPECT_THAT(keys_of(row),
                  AllOf(Contains("name"), Contains("iterations"), Contains("real_time"),
                        Contains("cpu_time"), Contains("time_unit")));
      EXPECT_EQ(row.at("bits_ok"), 1);
      EXPECT_GT(row.at("fraction_of_limit"), 0);
      EXPECT_FALSE(row.contains("error_occurred"));
    }
  }
}

// Beside what the program says itself: its fraction of the limit is the time that the operations
// take at the peak by the time that they took.
TEST(Benchmarks, FractionOfLimitIsThatOfTheFmaPeakForProducts) {
  const Outcome outcome =
      run_program(CHAINRULE_KERNELS, {"--benchmark_format=json", "--benchmark_min_time=0.01",
                                      "--benchmark_filter=gemm_forward/64x64x64/float32"});
  const Json json = Json::parse(outcome.out);
  const Json& row = json.at("benchmarks").at(0);
  const double peak =
      1e9 * std::stod(json.at("context").at("fma_peak_float32_gflops").get<std::string>());
  const double flops = row.at("flops");
  EXPECT_NEAR(row.at("fraction_of_limit").get<double>() * peak / flops, 1, 0.01);
  EXPECT_DOUBLE_EQ(row.at("fma_fraction"), row.at("fraction_of_limit"));
}

TEST(Benchmarks, TellWhatIsWrong) {
  const Directory directory;
  const std::string file = directory / "out.json";
  const Outcome outcome = run_program(
      CHAINRULE_RIGHT_AND_WRONG,
      {"--benchmark_format=json", "--benchmark_min_time=0.001", "--benchmark_out=" + file});
  EXPECT_EQ(outcome.code, 1);
  for (const std::string& text : {outcome.out, read_text(file)}) {
    const Json rows = Json::parse(text).at("benchmarks");
    ASSERT_EQ(rows.size(), 2);
    EXPECT_EQ(rows[0].at("bits_ok"), 1);
    EXPECT_FALSE(rows[0].contains("error_occurred"));
    EXPECT_EQ(rows[1].at("name"), "wrong/threads:1");
    EXPECT_EQ(rows[1].at("bits_ok"), 0);
    EXPECT_EQ(rows[1].at("error_occurred"), true);
    EXPECT_EQ(rows[1].at("error_message"), "other bits than before");
  }
  EXPECT_EQ(run_program(CHAINRULE_RIGHT_AND_WRONG,
                        {"--benchmark_filter=right", "--benchmark_min_time=0.001"})
                .code,
            0);
}

TEST(Benchmarks, FindNothing) {
  for (const std::string filter : {"no such benchmark", "("}) {
    const Outcome outcome =
        run_program(CHAINRULE_RIGHT_AND_WRONG, {"--benchmark_filter=" + filter});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr(filter));
  }
}

TEST(Benchmarks, NoticeThatOutputIsLost) {
  const std::vector<std::string> quick{"--benchmark_filter=right", "--benchmark_min_time=0.001"};
  for (const std::string format : {"json", "console", "csv"}) {
    std::vector<std::string> arguments = quick;
    arguments.push_back("--benchmark_out=/dev/full");
    arguments.push_back("--benchmark_out_format=" + format);
    const Outcome outcome = run_program(CHAINRULE_RIGHT_AND_WRONG, arguments);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("right_and_wrong: error: cannot write /dev/full\n"));
  }
  std::vector<std::string> arguments = quick;
  arguments.push_back("--benchmark_out=/nonexistent/x");
  EXPECT_EQ(run_program(CHAINRULE_RIGHT_AND_WRONG, arguments).code, 1);
}

TEST(Benchmarks, TellMisuse) {
  const std::vector<std::pair<const char*, const char*>> programs{
      {"steps", CHAINRULE_STEPS},
      {"kernels", CHAINRULE_KERNELS},
      {"ops", CHAINRULE_OPS},
      {"gemm_paths", CHAINRULE_GEMM_PATHS},
      {"infinite_width", CHAINRULE_INFINITE_WIDTH},
      {"linear_algebra", CHAINRULE_LINEAR_ALGEBRA},
#ifdef CHAINRULE_STARTUP
      {"startup", CHAINRULE_STARTUP},
#endif
  };
  for (const auto& [name, path] : programs) {
    SCOPED_TRACE(name);
    const Outcome bogus = run_program(path, {"--bogus"});
    EXPECT_EQ(bogus.code, 2);
    EXPECT_THAT(bogus.err, AllOf(StartsWith(std::string(name) + ": error: "), HasSubstr("--bogus"),
                                 HasSubstr(std::string("see ") + name + " --help")));
    const Outcome help = run_program(path, {"--help"});
    EXPECT_EQ(help.code, 0) << help.err;
    EXPECT_THAT(help.out, HasSubstr("Exit code 0, 1 when"));
  }
  const Outcome format = run_program(CHAINRULE_STEPS, {"--benchmark_format=abacus"});
  EXPECT_EQ(format.code, 2);
  EXPECT_THAT(format.err, HasSubstr("steps: error: a format is unknown"));
  EXPECT_EQ(run_program(CHAINRULE_LINEAR_ALGEBRA, {"0"}).code, 2);
}

TEST(Benchmarks, HelpSaysWhatIsMeasured) {
  for (const Program& program : kPrograms) {
    EXPECT_THAT(run_program(program.path, {"--help"}).out,
                AllOf(HasSubstr("fraction_of_limit  "), HasSubstr("bits_ok "),
                      HasSubstr("--benchmark_filter=")));
  }
}

#ifdef CHAINRULE_STARTUP
TEST(Benchmarks, StartupTimesAProcess) {
  const Outcome outcome =
      run_program(CHAINRULE_STARTUP, {"--benchmark_format=json", "--benchmark_min_time=0.01"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json rows = Json::parse(outcome.out).at("benchmarks");
  ASSERT_EQ(rows.size(), 2);
  EXPECT_EQ(rows[0].at("name"), "predict/real_time");
  EXPECT_EQ(rows[1].at("name"), "nothing/real_time");
  for (const Json& row : rows) {
    EXPECT_EQ(row.at("time_unit"), "ms");
    EXPECT_GT(row.at("real_time"), 0);
    EXPECT_FALSE(row.contains("error_occurred"));
  }
}
#endif

}  // namespace
}  // namespace chainrule::testing
