// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <iostream>

#include "chainrule/learn/neural_linear.hpp"
#include "learn_support.hpp"
#include "peak_memory.hpp"

namespace chainrule {
namespace {

using testing::peak_megabytes;

TEST(NeuralLinear, SeesAMillionRowsInBoundedMemory) {
  constexpr Index kPieces = 100, kRows = 10'000, kFeatures = 128;
  const Model model({Linear{8, kFeatures}, Tanh{}, Linear{kFeatures, 1}}, Gaussian{},
                    DType::kFloat64, 4);
  const Tensor weights = testing::noise(kFeatures, 1, 1);
  NeuralLinearModel bayes(model, 1, {.prior_precision = 1, .noise = 0.25, .bias = false});
  double before = 0;
  std::chrono::duration<double> time{};
  for (Index piece = 0; piece < kPieces; ++piece) {
    const auto seed = static_cast<std::uint64_t>(10 + piece);
    const Tensor x = testing::noise(kRows, 8, seed), phi = model.features(x);
    Tensor y = testing::noise(kRows, 1, seed + 1000);
    for (Index i = 0; i < kRows; ++i) {
      double& target = y.as<double>()(i, 0);
      target *= 0.5;
      for (Index j = 0; j < kFeatures; ++j) target += element(phi, i, j) * element(weights, j, 0);
    }
    const auto start = std::chrono::steady_clock::now();
    bayes.add(x, y);
    time += std::chrono::steady_clock::now() - start;
    if (piece == 9) before = peak_megabytes();
  }
  ASSERT_EQ(bayes.rows(), kPieces * kRows);
  std::cout << time.count() << " s, " << peak_megabytes() << " MB at most, " << before
            << " MB after a tenth\n";
  EXPECT_LT(peak_megabytes() - before, 10);

  // The weights are what the data were made of, within what the posterior says.
  const Tensor mean = bayes.mean(), covariance = bayes.covariance();
  double score = 0;
  for (Index j = 0; j < kFeatures; ++j) {
    score += std::pow(element(mean, j, 0) - element(weights, j, 0), 2) / element(covariance, j, j);
  }
  EXPECT_NEAR(score / kFeatures, 1, 0.5);
  bayes.optimize({.restarts = 0});
  EXPECT_NEAR(bayes.noise(), 0.25, 0.002);  // its standard deviation is 0.00035
}

}  // namespace
}  // namespace chainrule
