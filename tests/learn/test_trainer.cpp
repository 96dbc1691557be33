// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/trainer.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/executor.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using testing::bits;
using testing::blobs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::matrix;
using testing::message_of;
using testing::noise;
using Event = TrainingProgress::Event;

// Dropout, batch_norm and 500 rows in batches of 128: the last one is partial.
Model wide_model() {
  return Model({Linear{64, 96}, BatchNorm{}, Relu{}, Dropout{.rate = 0.2}, Linear{96, 64}, Relu{},
                Linear{64, 5}},
               Categorical{}, DType::kFloat32, 1);
}

struct Outcome {
  std::string parameters;
  std::vector<double> losses;
  int workers = 0;

  bool operator==(const Outcome& other) const {
    return parameters == other.parameters && losses == other.losses;
  }
};

Outcome train(Model model, const Dataset& data, const FitOptions& options, int threads = 1) {
  const History history = Trainer(model, Adam{}, {.threads = threads}).fit(data, options);
  Outcome outcome{.parameters = bits(model.parameters()), .losses = {}, .workers = history.workers};
  for (const EpochRecord& record : history.epochs) outcome.losses.push_back(record.loss);
  return outcome;
}

TEST(Trainer, GivesTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Dataset data = blobs(500, 64, 5, 71);
  FitOptions options{.epochs = 5, .batch_size = 128, .seed = 3};
  const Outcome serial = train(wide_model(), data, options, 1);
  EXPECT_EQ(serial.workers, 1);
  for (const int threads : {2, 3, 8}) {
    int workers = 0;
    // On a busy machine a helper may wake only after a fit is over: try again, and leave it the
    // core for longer and longer between events.
    for (int attempt = 0; attempt < 50 && workers < 2; ++attempt) {
      options.callbacks = {[attempt](const TrainingProgress&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(attempt));
        return true;
      }};
      const Outcome outcome = train(wide_model(), data, options, threads);
      ASSERT_EQ(outcome, serial) << threads;
      workers = outcome.workers;
    }
    EXPECT_GT(workers, 1) << threads;
    EXPECT_LE(workers, threads);
  }
}

TEST(Trainer, ShufflesBySeed) {
  const Dataset data = blobs(60, 4, 3, 72);
  const Model model{Linear{4, 3}, Categorical{}};
  const auto run = [&](std::uint64_t seed, bool shuffle) {
    return train(model.clone(), data,
                 {.epochs = 2, .batch_size = 7, .seed = seed, .shuffle = shuffle});
  };
  EXPECT_EQ(run(1, true), run(1, true));
  EXPECT_NE(run(1, true).parameters, run(2, true).parameters);
  EXPECT_NE(run(1, true).parameters, run(1, false).parameters);
  EXPECT_EQ(run(1, false), run(2, false));
}

TEST(Trainer, RecordsLossAndValidation) {
  const Split data = blobs(300, 6, 3, 73).split(0.2, 1);
  Model model({Linear{6, 16}, Tanh{}, Linear{16, 3}}, Categorical{}, DType::kFloat64);
  const double initial = evaluate(model, data.train).loss;
  Trainer trainer(model, Adam{.learning_rate = 0.02}, {.threads = 1});
  const FitOptions options{.epochs = 30,
                           .batch_size = 1000,  // more than there are
                           .schedule = StepDecay{.epochs = 20, .factor = 0.5},
                           .validation = &data.test};
  const History history = trainer.fit(data.train, options);
  ASSERT_EQ(history.epochs.size(), 30U);
  EXPECT_NEAR(history.epochs.front().loss, initial, 1e-14);  // before the update
  EXPECT_LT(history.epochs.back().loss, initial / 2);
  EXPECT_FALSE(history.stopped);
  for (std::size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(history.epochs[i].epoch, static_cast<Index>(i) + 1);
    EXPECT_EQ(history.epochs[i].learning_rate, i < 20 ? 0.02 : 0.01);
    EXPECT_GT(history.epochs[i].samples_per_second, 0);
  }
  EXPECT_EQ(trainer.steps(), 30);
  const Evaluation expected = evaluate(model, data.test);
  const Evaluation& last = *history.epochs.back().validation;
  EXPECT_EQ(last.loss, expected.loss);
  EXPECT_EQ(last.accuracy, expected.accuracy);
  EXPECT_GT(*last.accuracy, 0.7);
}

TEST(Trainer, TellsCallbacksWhatHappens) {
  const Dataset data = blobs(10, 2, 2, 74);
  Model model{Linear{2, 2}, Categorical{}};
  std::string events;
  const auto note = [&](const TrainingProgress& p) {
    switch (p.event) {
      case Event::kBegin:
        events += "<";
        break;
      case Event::kBatch:
        events += std::to_string(p.epoch) + std::to_string(p.batch) + " ";
        EXPECT_EQ(p.batches, 3);
        EXPECT_EQ(p.epochs, 2);
        EXPECT_EQ(p.record, nullptr);
        break;
      case Event::kEpoch:
        EXPECT_EQ(p.record->epoch, p.epoch);
        EXPECT_EQ(p.record->loss, p.loss);
        events += "| ";
        break;
      case Event::kEnd:
        events += ">";
        break;
    }
    return true;
  };
  Trainer(model, Sgd{}).fit(data, {.epochs = 2, .batch_size = 4, .callbacks = {note}});
  EXPECT_EQ(events, "<11 12 13 | 21 22 23 | >");
}

TEST(Trainer, StopsWhenACallbackOrTokenSaysSo) {
  const Dataset data = blobs(10, 2, 2, 75);
  const auto stop_at = [](Event event, Index epoch, Index batch) {
    return [=](const TrainingProgress& p) {
      return !(p.event == event && p.epoch == epoch && p.batch == batch);
    };
  };
  const auto steps_of = [&](FitOptions options, std::size_t epochs) {
    options.epochs = 4;
    options.batch_size = 4;
    Trainer trainer(Model{Linear{2, 2}, Categorical{}}, Sgd{}, {.threads = 1});
    const History history = trainer.fit(data, options);
    EXPECT_TRUE(history.stopped);
    EXPECT_EQ(history.epochs.size(), epochs);
    return trainer.steps();
  };
  EXPECT_EQ(steps_of({.callbacks = {stop_at(Event::kEpoch, 2, 3)}}, 2), 6);
  EXPECT_EQ(steps_of({.callbacks = {stop_at(Event::kBatch, 2, 1)}}, 1), 4);
  EXPECT_EQ(steps_of({.callbacks = {stop_at(Event::kBegin, 0, 0)}}, 0), 0);
  std::stop_source source;
  const auto request = [&](const TrainingProgress& p) {
    if (p.event == Event::kBatch && p.epoch == 3) source.request_stop();
    return true;
  };
  const auto late = steps_of({.callbacks = {request}, .stop = source.get_token()}, 2);
  EXPECT_THAT(late, ::testing::AnyOf(7, 8));  // after the batch that asked, or the next
  EXPECT_EQ(steps_of({.stop = source.get_token()}, 0), 0);
}

TEST(Trainer, StopsAtNanBeforeAnyWeightChanges) {
  for (const int threads : {1, 3}) {
    Dataset data = blobs(12, 3, 2, 76);
    const std::vector<std::uint32_t> first_batch{0, 1, 2, 3, 4};
    const std::vector<Layer> layers = {Linear{3, 4}, BatchNorm{}, Relu{}, Linear{4, 2}};
    Model expected(layers, Categorical{}, DType::kFloat64, 2);
    Trainer(expected, Adam{}, {.threads = 1})
        .fit(data.subset(first_batch), {.epochs = 1, .batch_size = 5, .shuffle = false});

    data.x.as<double>()(7, 1) = std::numeric_limits<double>::quiet_NaN();
    Model model(layers, Categorical{}, DType::kFloat64, 2);
    Trainer trainer(model, Adam{}, {.threads = threads});
    try {
      trainer.fit(data, {.epochs = 3, .batch_size = 5, .shuffle = false});
      FAIL() << "no error";
    } catch (const NonFiniteError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("epoch 1, batch 2"), HasSubstr(error.node())));
      EXPECT_FALSE(error.node().empty());
    }
    EXPECT_EQ(trainer.steps(), 1);
    EXPECT_EQ(bits(model.parameters()), bits(expected.parameters()));
  }
}

TEST(Trainer, ContinuesWhereItStopped) {
  const Dataset data = blobs(50, 4, 3, 77);
  const std::vector<Layer> layers = {Linear{4, 8}, BatchNorm{}, Relu{}, Dropout{}, Linear{8, 3}};
  Model once(layers, Categorical{});
  Model twice(layers, Categorical{});
  const auto options = [](Index epochs) {
    return FitOptions{
        .epochs = epochs, .batch_size = 8, .seed = 4, .schedule = RobbinsMonro{.a = 1, .t0 = 100}};
  };
  Trainer(once, Adam{}).fit(data, options(5));
  Trainer trainer(twice, Adam{});
  trainer.fit(data, options(2));
  trainer.fit(data, options(0));
  const History history = trainer.fit(data, options(3));
  EXPECT_EQ(bits(once.parameters()), bits(twice.parameters()));
  EXPECT_EQ(trainer.steps(), 35);
  EXPECT_EQ(history.epochs.front().epoch, 1);
}

TEST(Trainer, TakesAWeightForARepetition) {
  Dataset data = blobs(9, 3, 3, 78);
  std::vector<std::uint32_t> rows;
  data.weights = Tensor({9, 1}, DType::kFloat64);
  for (Index i = 0; i < 9; ++i) {
    const Index weight = i % 3 == 2 ? 2 : i % 3;  // 0, 1, 2
    data.weights.as<double>()(i, 0) = static_cast<double>(weight);
    for (Index k = 0; k < weight; ++k) rows.push_back(static_cast<std::uint32_t>(i));
  }
  Dataset repeated = data.subset(rows);
  repeated.weights = {};
  repeated.class_names = {"a", "b", "c"};
  data.x.as<double>()(0, 0) = 1e300;  // of weight 0: selected away, whatever it holds
  Model weighted({Linear{3, 3}}, Categorical{}, DType::kFloat64, 5);
  Model plain = weighted.clone();
  const FitOptions options{.epochs = 20, .batch_size = 100};
  const History a = Trainer(weighted, Sgd{.learning_rate = 0.1}).fit(data, options);
  const History b = Trainer(plain, Sgd{.learning_rate = 0.1}).fit(repeated, options);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < 3; ++j) {
      EXPECT_NEAR(element(weighted.parameters().view(0), i, j),
                  element(plain.parameters().view(0), i, j), 1e-13);
    }
  }
  EXPECT_NEAR(a.epochs.back().loss, b.epochs.back().loss, 1e-13);
}

// With the exposure as offset and one constant feature, the rate is all events by all exposure.
TEST(Trainer, FitsAPoissonRateWithOffset) {
  const std::vector<double> exposure{1, 2, 0.5, 4, 3};
  const std::vector<double> counts{2, 3, 0, 9, 7};
  Dataset data;
  data.x = Tensor({5, 1}, DType::kFloat64);
  data.y = matrix(5, 1, counts);
  data.offset = Tensor({5, 1}, DType::kFloat64);
  for (Index i = 0; i < 5; ++i) {
    data.x.as<double>()(i, 0) = 1;
    data.offset.as<double>()(i, 0) = std::log(exposure[static_cast<std::size_t>(i)]);
  }
  Model model({Linear{.in = 1, .out = 1, .bias = false}}, Poisson{}, DType::kFloat64);
  Trainer(model, Sgd{.learning_rate = 0.1}).fit(data, {.epochs = 300});
  EXPECT_NEAR(element(model.parameters().view(0), 0, 0), std::log(21.0 / 10.5), 1e-12);
}

TEST(Trainer, RefusesWhatItCannotRun) {
  Model model{Linear{2, 2}, Categorical{}};
  Trainer trainer(model, Sgd{});
  const Dataset data = blobs(4, 2, 2, 79);
  EXPECT_THROW(trainer.fit(data, {.epochs = -1}), ArgumentError);
  EXPECT_THROW(trainer.fit(data, {.batch_size = 0}), ArgumentError);
  EXPECT_THROW(trainer.fit(data, {.schedule = StepDecay{.factor = 2}}), ArgumentError);
  EXPECT_THAT(message_of<ArgumentError>([&] { trainer.fit(Dataset{}); }), HasSubstr("0 rows"));
  EXPECT_THROW(trainer.fit(blobs(4, 3, 2, 80)), ShapeError);
  EXPECT_EQ(trainer.steps(), 0);
}

}  // namespace
}  // namespace chainrule
