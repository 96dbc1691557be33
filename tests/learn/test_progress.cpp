// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/progress.hpp"

#include <gmock/gmock.h>

#include <sstream>
#include <string>
#include <vector>

#include "chainrule/learn/trainer.hpp"

namespace chainrule {
namespace {

using Event = TrainingProgress::Event;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// The lines that overwrite each other.
std::vector<std::string> drawn(const std::vector<TrainingProgress>& events) {
  std::ostringstream out;
  const Callback callback = progress_bar(out);
  for (const TrainingProgress& event : events) EXPECT_TRUE(callback(event));
  std::vector<std::string> lines;
  std::istringstream text(out.str());
  for (std::string line; std::getline(text, line, '\r');) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

TEST(ProgressBar, InventsNothingBeforeTheFirstBatch) {
  const auto lines = drawn({{.event = Event::kBegin, .epochs = 5, .batches = 10}});
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0], "epoch 0/5 [" + std::string(24, '.') + "]");
}

TEST(ProgressBar, ShowsLossTimeAndSpeed) {
  const auto lines = drawn({{.event = Event::kBatch,
                             .epoch = 2,
                             .epochs = 4,
                             .batch = 5,
                             .batches = 10,
                             .loss = 0.25,
                             .samples_per_second = 1500,
                             .eta_seconds = 61}});
  ASSERT_EQ(lines.size(), 1U);
  // 1.5 of 4 epochs are 9 of 24 marks.
  EXPECT_EQ(lines[0], "epoch 2/4 [" + std::string(9, '#') + std::string(15, '.') +
                          "] loss 0.2500 ETA 1:01 1.5k samples/s");
}

TEST(ProgressBar, IsNeverWiderThan79Columns) {
  Evaluation validation;
  for (const double loss : {0.5, 1e5, 1e30, 1e300}) {
    for (const Index epochs : {Index{3}, Index{1'000'000'000'000}}) {
      validation.loss = loss;
      validation.accuracy = 0.75;
      EpochRecord record;
      record.loss = loss;
      record.validation = validation;
      TrainingProgress progress{.event = Event::kEpoch,
                                .epoch = epochs,
                                .epochs = epochs,
                                .batch = 10,
                                .batches = 10,
                                .loss = loss,
                                .samples_per_second = 123456,
                                .eta_seconds = 1e6,
                                .record = &record};
      const auto lines = drawn({progress});
      ASSERT_EQ(lines.size(), 1U);
      EXPECT_LE(lines[0].size(), 79U) << lines[0];
      EXPECT_THAT(lines[0], StartsWith("epoch " + std::to_string(epochs) + "/"));
      EXPECT_THAT(lines[0], HasSubstr("####]"));
      EXPECT_THAT(lines[0], Not(HasSubstr(".]"))) << "all is done";
      if (loss < 1) {
        EXPECT_THAT(lines[0], HasSubstr("loss 0.5000 val_loss 0.5000"));
      }
    }
  }
}

}  // namespace
}  // namespace chainrule
