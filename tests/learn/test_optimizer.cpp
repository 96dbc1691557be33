// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/optimizer.hpp"

#include <gmock/gmock.h>

#include <array>
#include <cmath>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/trainer.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

constexpr Index kRows = 6;
constexpr int kSteps = 20;
using Real = long double;
using Weights = std::array<Real, 3>;  // w0, w1, b

// The gradient of mean (x w + b - t)^2.
Weights gradient_at(const Dataset& data, const Weights& at) {
  Weights gradient{};
  for (Index i = 0; i < kRows; ++i) {
    const Real x0 = element(data.x, i, 0);
    const Real x1 = element(data.x, i, 1);
    const Real delta = 2 * (x0 * at[0] + x1 * at[1] + at[2] - element(data.y, i, 0)) / kRows;
    gradient[0] += delta * x0;
    gradient[1] += delta * x1;
    gradient[2] += delta;
  }
  return gradient;
}

// The weights after each step, by the formulas of the papers, one number at a time; the bias is
// not decayed.
std::vector<Weights> expected(const Dataset& data, Weights w, const Optimizer& optimizer) {
  Weights m{};
  Weights v{};
  std::vector<Weights> path;
  for (int t = 1; t <= kSteps; ++t) {
    const Weights gradient = gradient_at(data, w);
    for (std::size_t i = 0; i < w.size(); ++i) {
      Real g = gradient[i];
      if (const auto* sgd = std::get_if<Sgd>(&optimizer)) {
        if (i < 2) g += sgd->weight_decay * w[i];
        m[i] = sgd->momentum * m[i] + g;
        w[i] -= sgd->learning_rate * (sgd->nesterov ? g + sgd->momentum * m[i] : m[i]);
        continue;
      }
      const auto* adamw = std::get_if<AdamW>(&optimizer);
      const Adam adam = adamw == nullptr ? std::get<Adam>(optimizer)
                                         : Adam{adamw->learning_rate, adamw->beta1, adamw->beta2,
                                                adamw->epsilon, adamw->weight_decay};
      if (i < 2 && adamw == nullptr) g += adam.weight_decay * w[i];
      if (i < 2 && adamw != nullptr) w[i] -= adam.learning_rate * adam.weight_decay * w[i];
      m[i] = adam.beta1 * m[i] + (1 - static_cast<Real>(adam.beta1)) * g;
      v[i] = adam.beta2 * v[i] + (1 - static_cast<Real>(adam.beta2)) * g * g;
      const Real m_hat = m[i] / (1 - std::pow(static_cast<Real>(adam.beta1), t));
      const Real v_hat = v[i] / (1 - std::pow(static_cast<Real>(adam.beta2), t));
      w[i] -= adam.learning_rate * m_hat / (std::sqrt(v_hat) + adam.epsilon);
    }
    path.push_back(w);
  }
  return path;
}

class Optimizers : public ::testing::TestWithParam<Optimizer> {};
INSTANTIATE_TEST_SUITE_P(
    All, Optimizers,
    ::testing::Values(Sgd{.learning_rate = 0.1}, Sgd{.learning_rate = 0.1, .weight_decay = 0.3},
                      Sgd{.learning_rate = 0.05, .momentum = 0.9},
                      Sgd{.learning_rate = 0.05, .momentum = 0.8, .weight_decay = 0.2},
                      Sgd{.learning_rate = 0.05, .momentum = 0.9, .nesterov = true},
                      Adam{.learning_rate = 0.1},
                      Adam{.learning_rate = 0.1,
                           .beta1 = 0.8,
                           .beta2 = 0.99,
                           .epsilon = 1e-3,
                           .weight_decay = 0.2},
                      AdamW{.learning_rate = 0.1, .weight_decay = 0.3},
                      AdamW{.learning_rate = 0.1, .beta1 = 0.5, .weight_decay = 0}));

TEST_P(Optimizers, FollowTheirFormulas) {
  Dataset data;
  data.x = noise(kRows, 2, 31);
  data.y = noise(kRows, 1, 32);
  Model model({Linear{2, 1}}, Gaussian{}, DType::kFloat64, 3);
  const auto weights = [&] {
    const ConstTensorView w = model.parameters().view("0.weight");
    return Weights{element(w, 0, 0), element(w, 1, 0),
                   element(model.parameters().view("0.bias"), 0, 0)};
  };
  const std::vector<Weights> path = expected(data, weights(), GetParam());
  int step = 0;
  const auto compare = [&](const TrainingProgress& progress) {
    if (progress.event != TrainingProgress::Event::kBatch) return true;
    const Weights now = weights();
    for (std::size_t i = 0; i < now.size(); ++i) {
      EXPECT_NEAR(static_cast<double>(now[i] - path[static_cast<std::size_t>(step)][i]), 0, 1e-13)
          << "step " << step + 1 << ", weight " << i;
    }
    ++step;
    return true;
  };
  Trainer trainer(model, GetParam(), {.threads = 1});
  trainer.fit(data, {.epochs = kSteps, .batch_size = kRows, .callbacks = {compare}});
  EXPECT_EQ(step, kSteps);
  EXPECT_EQ(trainer.steps(), kSteps);
}

TEST(Optimizer, KnowsItsNameAndRate) {
  EXPECT_EQ(name_of(Optimizer(Sgd{})), "sgd");
  EXPECT_EQ(name_of(Optimizer(Adam{})), "adam");
  EXPECT_EQ(name_of(Optimizer(AdamW{})), "adamw");
  EXPECT_EQ(base_learning_rate(Adam{.learning_rate = 0.25}), 0.25);
  EXPECT_EQ(update_def(Sgd{}).state_slots, 0);
  EXPECT_EQ(update_def(Sgd{.momentum = 0.9}).state_slots, 1);
  EXPECT_EQ(update_def(AdamW{}).state_slots, 2);
}

TEST(Optimizer, RefusesNumbersOutsideTheirDomain) {
  const double nan = std::nan("");
  const std::vector<std::pair<Optimizer, std::string>> cases = {
      {Sgd{.learning_rate = -1}, "learning_rate"},
      {Sgd{.learning_rate = nan}, "learning_rate"},
      {Sgd{.momentum = 1}, "momentum"},
      {Sgd{.momentum = nan}, "momentum"},
      {Sgd{.nesterov = true}, "momentum"},
      {Sgd{.weight_decay = -1}, "weight_decay"},
      {Adam{.learning_rate = INFINITY}, "learning_rate"},
      {Adam{.beta1 = 1}, "beta1"},
      {Adam{.beta2 = -0.1}, "beta2"},
      {Adam{.epsilon = 0}, "epsilon"},
      {AdamW{.beta2 = nan}, "beta2"},
      {AdamW{.weight_decay = INFINITY}, "weight_decay"},
  };
  for (const auto& [optimizer, number] : cases) {
    EXPECT_THAT(message_of<ArgumentError>([&, &o = optimizer] { validate(o); }),
                HasSubstr(std::string(name_of(optimizer)) + ": " + number));
  }
  EXPECT_THROW(Trainer(Model{Linear{1, 1}, Gaussian{}}, Adam{.epsilon = -1}), ArgumentError);
}

}  // namespace
}  // namespace chainrule
