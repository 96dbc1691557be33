// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

// The last state of the bar of a training run, and no state of it wraps.
std::string last_bar(int columns) {
  const Outcome outcome = run_in_terminal(
      {"train", "--data", "digits", "--epochs", "2", "--validation", "0.1", "--batch", "512"},
      columns);
  EXPECT_EQ(outcome.code, 0) << outcome.out;
  std::istringstream stream(outcome.out);
  std::string last;
  for (std::string line; std::getline(stream, line, '\r');) {
    if (line.rfind("epoch ", 0) != 0) continue;
    EXPECT_LT(line.size(), static_cast<std::size_t>(columns)) << line;
    last = line;
  }
  return last;
}

class Terminal : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!can_open_terminals()) GTEST_SKIP() << "no pseudo-terminals here: is /dev/pts mounted?";
  }
};

TEST_F(Terminal, AWideOneShowsEverything) {
  EXPECT_THAT(last_bar(200),
              ContainsRegex("^epoch 2/2 \\[########################\\] loss [0-9.]+ val_loss "
                            "[0-9.]+ val_accuracy [0-9.]+ ETA 0:00 [0-9.]+.? samples/s"));
}

TEST_F(Terminal, EightyColumnsHaveLossMetricSpeedAndRemainingTime) {
  EXPECT_THAT(last_bar(80), ContainsRegex("^epoch 2/2 \\[#+\\] loss [0-9.]+ val_accuracy [0-9.]+ "
                                          "ETA 0:00 [0-9.]+.? samples/s"));
}

TEST_F(Terminal, ANarrowOneKeepsTheLoss) {
  const std::string line = last_bar(40);
  EXPECT_THAT(line, ContainsRegex("^epoch 2/2 \\[#+\\] loss [0-9.]+"));
  EXPECT_THAT(line, Not(HasSubstr("samples/s")));
}

}  // namespace
}  // namespace chainrule::testing
