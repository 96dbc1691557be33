// SPDX-License-Identifier: Apache-2.0
//
// The same weights to the last bit, whatever the threads: for each way in which weights are updated
// (in the registers of their gradient, tile by tile, in parts of the batch for one output) and each
// way of multiplying.

#include <gtest/gtest.h>

#include <string>
#include <tuple>

#include "chainrule/learn/trainer.hpp"
#include "chainrule/runtime/executor.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::bits;
using testing::noise;

constexpr Index kRows = 1100;  // of batches of 500: the last one is partial
constexpr Index kBatch = 500;
constexpr Index kFeatures = 70;

enum class Net : std::uint8_t { kClasses, kGlm, kWide };
enum class Rule : std::uint8_t { kSgd, kMomentum, kAdam };

using Case = std::tuple<Net, Rule, DType>;

Model model_of(Net net, DType dtype) {
  switch (net) {
    case Net::kGlm:
      return Model({Linear{kFeatures, 1}}, Poisson{}, dtype, 1);
    case Net::kWide:
      return Model({Linear{kFeatures, 130}, Tanh{}, Linear{130, 40}}, Gaussian{}, dtype, 1);
    case Net::kClasses:
      break;
  }
  return Model({Linear{kFeatures, 64}, Relu{}, Linear{64, 64}, Relu{}, Linear{64, 10}},
               Categorical{}, dtype, 1);
}

Optimizer optimizer_of(Rule rule) {
  if (rule == Rule::kAdam) return Adam{.learning_rate = 1e-3};
  return Sgd{.learning_rate = 1e-2, .momentum = rule == Rule::kMomentum ? 0.9 : 0.0};
}

Dataset data_for(Net net) {
  Dataset data{.x = noise(kRows, kFeatures, 1)};
  if (net == Net::kClasses) {
    for (Index i = 0; i < kRows; ++i) data.labels.push_back(static_cast<std::int32_t>(i * i % 10));
    return data;
  }
  data.y = noise(kRows, net == Net::kGlm ? 1 : 40, 2);
  if (net == Net::kGlm) {
    for (Index i = 0; i < kRows; ++i) data.y.as<double>()(i, 0) = static_cast<double>(i % 5);
  }
  return data;
}

class TrainerBits : public ::testing::TestWithParam<Case> {
 protected:
  static std::string weights_after_an_epoch(const Dataset& data, GemmPath gemm, int threads) {
    const auto [net, rule, dtype] = GetParam();
    Model model = model_of(net, dtype);
    const std::string before = bits(model.parameters());
    Trainer(model, optimizer_of(rule), {.threads = threads, .gemm = gemm})
        .fit(data, {.epochs = 1, .batch_size = kBatch, .seed = 5});
    std::string after = bits(model.parameters());
    EXPECT_NE(after, before);
    return after;
  }
};

TEST_P(TrainerBits, AreTheSameForAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Dataset data = data_for(std::get<Net>(GetParam()));
  for (const GemmPath gemm : {GemmPath::kAuto, GemmPath::kFused}) {
    const std::string serial = weights_after_an_epoch(data, gemm, 1);
    for (const int threads : {2, 3, 8}) {
      EXPECT_TRUE(weights_after_an_epoch(data, gemm, threads) == serial)
          << to_string(gemm) << ", " << threads << " threads";
    }
  }
}

std::string name_of_case(const ::testing::TestParamInfo<Case>& info) {
  constexpr const char* kNets[] = {"Classes", "Glm", "Wide"};
  constexpr const char* kRules[] = {"Sgd", "Momentum", "Adam"};
  const auto [net, rule, dtype] = info.param;
  return std::string(kNets[static_cast<int>(net)]) + kRules[static_cast<int>(rule)] +
         (dtype == DType::kFloat32 ? "Float32" : "Float64");
}

INSTANTIATE_TEST_SUITE_P(Updates, TrainerBits,
                         ::testing::Combine(::testing::Values(Net::kClasses, Net::kGlm, Net::kWide),
                                            ::testing::Values(Rule::kSgd, Rule::kMomentum,
                                                              Rule::kAdam),
                                            ::testing::Values(DType::kFloat32, DType::kFloat64)),
                         name_of_case);

}  // namespace
}  // namespace chainrule
