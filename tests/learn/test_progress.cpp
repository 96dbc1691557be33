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
std::vector<std::string> drawn(const std::vector<TrainingProgress>& events, int columns = 0) {
  std::ostringstream out;
  const auto width = [columns] { return columns; };
  const Callback callback = columns > 0 ? progress_bar(out, width) : progress_bar(out);
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

// The line at the end of epoch 9 of 10, at a width.
std::string at_width(int columns, double loss = 0.5) {
  Evaluation validation;
  validation.loss = 0.625;
  validation.accuracy = 0.75;
  EpochRecord record;
  record.loss = loss;
  record.validation = validation;
  return drawn({{.event = Event::kEpoch,
                 .epoch = 9,
                 .epochs = 10,
                 .batch = 10,
                 .batches = 10,
                 .loss = loss,
                 .samples_per_second = 123456,
                 .eta_seconds = 61,
                 .record = &record}},
               columns)
      .at(0);
}

TEST(ProgressBar, DropsTheLeastImportantAndNeverWraps) {
  const std::string wide =
      "epoch 9/10 [#####################...] loss 0.5000 val_loss 0.6250 "
      "val_accuracy 0.7500 ETA 1:01 123.5k samples/s";
  EXPECT_EQ(at_width(200), wide);
  EXPECT_EQ(at_width(static_cast<int>(wide.size()) + 1), wide);
  EXPECT_THAT(at_width(static_cast<int>(wide.size())), HasSubstr("] loss 0.5000 val_loss 0.6250"))
      << "the bar is shortened first";
  // Without being told: 80.
  EXPECT_EQ(at_width(0),
            "epoch 9/10 [#######.] loss 0.5000 val_accuracy 0.7500 ETA 1:01 123.5k samples/s");
  EXPECT_EQ(at_width(80), at_width(0));
  EXPECT_EQ(at_width(70), "epoch 9/10 [#############..] loss 0.5000 val_accuracy 0.7500 ETA 1:01");
  EXPECT_EQ(at_width(55), "epoch 9/10 [########.] loss 0.5000 val_accuracy 0.7500");
  EXPECT_EQ(at_width(40), "epoch 9/10 [############..] loss 0.5000");
  EXPECT_EQ(at_width(25), "epoch 9/10 [#########..]");
  EXPECT_EQ(at_width(17), "epoch 9/10");
  EXPECT_EQ(at_width(6), "epoch");
  for (int columns = 2; columns < 150; ++columns) {
    EXPECT_LT(at_width(columns).size(), static_cast<std::size_t>(columns));
    EXPECT_THAT(at_width(columns, 1e300), Not(HasSubstr("00000000")));
  }
}

TEST(ProgressBar, CoversALongerLineWithoutWrapping) {
  EpochRecord record;
  const TrainingProgress epoch{.event = Event::kEpoch,
                               .epoch = 1,
                               .epochs = 10,
                               .batch = 1,
                               .batches = 1,
                               .record = &record};
  TrainingProgress slower = epoch;
  slower.eta_seconds = 36000;
  const auto lines = drawn({slower, epoch}, 100);
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1].size(), lines[0].size());
  EXPECT_THAT(lines[1], ::testing::EndsWith("samples/s    "));
}

TEST(ProgressBar, LongNumbersFitToo) {
  for (const double loss : {0.5, 1e5, 1e30, 1e300}) {
    EpochRecord record;
    record.loss = loss;
    constexpr Index kEpochs = 1'000'000'000'000;
    const auto lines = drawn({{.event = Event::kEpoch,
                               .epoch = kEpochs,
                               .epochs = kEpochs,
                               .batch = 10,
                               .batches = 10,
                               .loss = loss,
                               .samples_per_second = 123456,
                               .eta_seconds = 1e6,
                               .record = &record}});
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_LE(lines[0].size(), 79U) << lines[0];
    EXPECT_THAT(lines[0], StartsWith("epoch 1000000000000/"));
    EXPECT_THAT(lines[0], HasSubstr("####] loss "));
    EXPECT_THAT(lines[0], Not(HasSubstr(".]"))) << "all is done";
  }
}

}  // namespace
}  // namespace chainrule
