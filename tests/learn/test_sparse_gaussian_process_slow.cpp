// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "chainrule/learn/sparse_gaussian_process.hpp"
#include "learn_support.hpp"
#include "peak_memory.hpp"

namespace chainrule {
namespace {

TEST(SparseGaussianProcess, SeesAMillionRowsInBoundedMemory) {
  constexpr Index kPieces = 100, kRows = 10'000;
  const auto truth = [](const Tensor& x, Index i) {
    return std::sin(2 * element(x, i, 0)) * std::cos(element(x, i, 1));
  };
  const CovarianceKernel kernel = scaled(rbf_kernel(0.8), 0.5);
  SparseGaussianProcess gp(kernel, greedy_inducing_points(kernel, testing::noise(2000, 2, 1), 150),
                           1, {.noise = 0.25});
  double before = 0;
  for (Index piece = 0; piece < kPieces; ++piece) {
    const auto seed = static_cast<std::uint64_t>(10 + piece);
    const Tensor x = testing::noise(kRows, 2, seed);
    Tensor y = testing::noise(kRows, 1, seed + 1000);
    for (Index i = 0; i < kRows; ++i) {
      double& target = y.as<double>()(i, 0);
      target = 0.5 * target + truth(x, i);
    }
    gp.add(x, y);
    if (piece == 9) before = testing::peak_megabytes();
  }
  ASSERT_EQ(gp.rows(), kPieces * kRows);
  EXPECT_LT(testing::peak_megabytes() - before, 10);

  // So many rows leave hardly any doubt, where there are rows.
  Tensor at = testing::noise(50, 2, 5);
  for (Index i = 0; i < at.rows(); ++i) {
    for (Index j = 0; j < 2; ++j) at.as<double>()(i, j) *= 0.5;
  }
  const GaussianProcessPrediction got = gp.predict(at);
  for (Index i = 0; i < at.rows(); ++i) {
    EXPECT_NEAR(element(got.mean, i, 0), truth(at, i), 0.02);
    EXPECT_LT(element(got.variance, i, 0), 1e-3);
  }
}

}  // namespace
}  // namespace chainrule
