// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "chainrule/learn/load.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

// Of all commands that have been run.
double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_CHILDREN, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// The row of the README's table: the infinitely wide network on 10,000 of the training images.
TEST(FashionMnist, TheInfinitelyWideNetworkReachesItsAccuracyInTime) {
  if (!std::filesystem::exists(kFashionMnistDirectory)) {
    GTEST_SKIP() << "no " << kFashionMnistDirectory << ": apt-get install dataset-fashion-mnist";
  }
  const Directory directory;
  const std::string gp = directory / "gp.safetensors";
  const auto start = std::chrono::steady_clock::now();
  const double cpu_before = cpu_seconds();
  run_ok({"gp", "fit", "--data", "fashion-mnist", "--rows", "10000", "--kernel",
          "nngp_relu(3, 2, 0.1)", "--out", gp});
  const auto json = nlohmann::json::parse(
      run_ok({"gp", "evaluate", "--model", gp, "--data", "fashion-mnist", "--json"}));
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  const double cpu = cpu_seconds() - cpu_before;
  std::cout << "accuracy " << json["accuracy"] << ", " << wall.count() << " s, " << cpu
            << " s of CPU time\n";
  EXPECT_EQ(json["rows"], 10000);
  EXPECT_NEAR(json["accuracy"].get<double>(), 0.875, 0.001);
  EXPECT_LT(cpu, 240);  // 120 s on two free cores; the time on busy ones says little
}

}  // namespace
}  // namespace chainrule::testing
