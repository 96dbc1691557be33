// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/trainer.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

struct Runs {
  std::vector<double> accuracies;
  std::vector<double> mean_losses;  // by epoch

  double mean_accuracy() const {
    double sum = 0;
    for (const double accuracy : accuracies) sum += accuracy;
    return sum / static_cast<double>(accuracies.size());
  }
  double worst_accuracy() const { return *std::ranges::min_element(accuracies); }
};

// Ten seeds of the same network.
Runs train_ten(const std::vector<Layer>& layers, const Split& data, const Optimizer& optimizer,
               FitOptions options, bool standardize) {
  Runs runs;
  runs.mean_losses.resize(static_cast<std::size_t>(options.epochs));
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    Model model(layers, Categorical{}, DType::kFloat32, seed);
    if (standardize) model.schema().standardizer = Standardizer::fit(data.train.x);
    options.seed = seed;
    const History history = Trainer(model, optimizer, {.threads = 1}).fit(data.train, options);
    for (std::size_t i = 0; i < history.epochs.size(); ++i) {
      runs.mean_losses[i] += history.epochs[i].loss / 10;
    }
    runs.accuracies.push_back(*evaluate(model, data.test).accuracy);
  }
  ::testing::Test::RecordProperty("mean_accuracy", std::to_string(runs.mean_accuracy()));
  ::testing::Test::RecordProperty("worst_accuracy", std::to_string(runs.worst_accuracy()));
  return runs;
}

void expect_digits(const char* name, const std::vector<Layer>& layers, const Optimizer& optimizer,
                   const std::vector<int>& epochs) {
  const auto& reference = testing::sklearn_reference().at("C_mlp_digits").at(name);
  const Split data = load_digits().split_every(5);
  const Runs runs = train_ten(layers, data, optimizer, {.epochs = 60, .batch_size = 32}, false);
  EXPECT_NEAR(runs.mean_accuracy(), reference.at("test_acc_mean").get<double>(), 0.005);
  for (const int epoch : epochs) {
    const double expected =
        reference.at("mean_loss_at_epoch").at(std::to_string(epoch)).get<double>();
    EXPECT_NEAR(runs.mean_losses[static_cast<std::size_t>(epoch - 1)], expected, 0.15 * expected)
        << "epoch " << epoch;
  }
  EXPECT_GE(runs.worst_accuracy(), reference.at("test_acc_min").get<double>() - 0.006);
}

TEST(Digits, TrainAsInScikitLearn) {
  expect_digits("h64_relu_adam_b32_lr1e3_60ep", mlp_layers("64-64-10", Relu{}), Adam{},
                {1, 2, 5, 10, 20, 40, 60});
}

TEST(Digits, TrainBySgdAsInScikitLearn) {
  expect_digits("h64_tanh_sgd_b32_lr0p1_60ep", mlp_layers("64-64-10", Tanh{}),
                Sgd{.learning_rate = 0.1}, {1, 2, 5, 10, 20, 40, 60});
}

class SmallSets : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Reference, SmallSets, ::testing::Values("iris", "wine", "breast_cancer"),
                         [](const auto& info) { return std::string(info.param); });

TEST_P(SmallSets, ReachScikitLearnsAccuracy) {
  const double reference = testing::sklearn_reference()
                               .at("C2_mlp_small")
                               .at(GetParam())
                               .at("test_acc_mean")
                               .get<double>();
  const Split data = testing::reference_split(GetParam());
  const std::string widths =
      std::to_string(data.train.features()) + "-32-" + std::to_string(data.train.classes());
  const Runs runs =
      train_ten(mlp_layers(widths, Tanh{}), data, Adam{}, {.epochs = 400, .batch_size = 16}, true);
  // On average less than one test row away.
  EXPECT_NEAR(runs.mean_accuracy(), reference, 1.0 / static_cast<double>(data.test.rows()));
}

}  // namespace
}  // namespace chainrule
