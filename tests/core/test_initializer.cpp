// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/initializer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr RandomKey kKey{.seed = 11, .stream = 5};

Tensor initialized(const Initializer& initializer, const Shape& shape,
                   DType dtype = DType::kFloat64, RandomKey key = kKey) {
  Tensor tensor(shape, dtype);
  initialize(initializer, key, tensor);
  return tensor;
}

std::vector<double> values_of(const Tensor& tensor) {
  std::vector<double> values;
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) values.push_back(element(tensor, i, j));
  }
  return values;
}

double mean_square(const std::vector<double>& values) {
  double sum = 0;
  for (const double x : values) sum += x * x;
  return sum / static_cast<double>(values.size());
}

TEST(Initializer, FillsAConstantAndNothingElse) {
  std::vector<float> memory(3 * 8, -1);
  Tensor view = Tensor::view(memory.data(), {3, 5}, DType::kFloat32, 8);
  initialize(constant(0.1), kKey, view);
  for (std::size_t k = 0; k < memory.size(); ++k) EXPECT_EQ(memory[k], k % 8 < 5 ? 0.1F : -1.0F);
  EXPECT_EQ(element(initialized(ones(), {2, 2}), 1, 1), 1);
  EXPECT_EQ(mean_square(values_of(initialized(zeros(), {2, 2}))), 0);
}

TEST(Initializer, LeavesThePaddingAlone) {
  for (const Initializer& initializer : {uniform(1), normal(1)}) {
    std::vector<float> memory(3 * 8, -7);
    Tensor view = Tensor::view(memory.data(), {3, 5}, DType::kFloat32, 8);
    initialize(initializer, kKey, view);
    for (std::size_t k = 0; k < memory.size(); ++k) EXPECT_EQ(memory[k] == -7, k % 8 >= 5) << k;
  }
}

TEST(Initializer, MakesEachElementFromItsOwnNumber) {
  // Wide enough for several of the blocks that the numbers are drawn in.
  constexpr Index kRows = 3;
  constexpr Index kColumns = 601;
  const Tensor uniforms = initialized(uniform(0.3), {kRows, kColumns});
  const Tensor normals = initialized(normal(0.3), {kRows, kColumns});
  for (Index i = 0; i < kRows; ++i) {
    for (Index j = 0; j < kColumns; ++j) {
      const auto index = static_cast<std::uint64_t>(i * kColumns + j);
      ASSERT_NEAR(element(uniforms, i, j), -0.3 + 0.6 * random_uniform(kKey, index), 1e-15);
      ASSERT_NEAR(element(normals, i, j), 0.3 * random_normal(kKey, index), 1e-15);
    }
  }
}

TEST(Initializer, AgreesBetweenTypesUpToRounding) {
  for (const Initializer& initializer : {glorot_uniform(), he_normal(), constant(0.1)}) {
    const Tensor doubles = initialized(initializer, {7, 9});
    const Tensor floats = initialized(initializer, {7, 9}, DType::kFloat32);
    for (Index i = 0; i < 7; ++i) {
      for (Index j = 0; j < 9; ++j) {
        EXPECT_EQ(element(floats, i, j), static_cast<float>(element(doubles, i, j)));
      }
    }
  }
}

TEST(Initializer, DependsOnTheKey) {
  const auto values = values_of(initialized(normal(1), {4, 4}));
  EXPECT_EQ(values, values_of(initialized(normal(1), {4, 4})));
  EXPECT_NE(values, values_of(initialized(normal(1), {4, 4}, DType::kFloat64, {11, 6})));
  EXPECT_NE(values, values_of(initialized(normal(1), {4, 4}, DType::kFloat64, {12, 5})));
}

struct Law {
  Initializer initializer;
  Shape shape;
  double variance;
};

TEST(Initializer, HasTheVarianceOfItsLaw) {
  Initializer with_fans = glorot_normal();
  with_fans.fan_in = 10;
  with_fans.fan_out = 30;
  const Law laws[] = {
      {glorot_uniform(), {300, 100}, 2.0 / 400}, {glorot_normal(), {300, 100}, 2.0 / 400},
      {he_uniform(), {300, 100}, 2.0 / 300},     {he_normal(), {300, 100}, 2.0 / 300},
      {lecun_uniform(), {300, 100}, 1.0 / 300},  {lecun_normal(), {300, 100}, 1.0 / 300},
      {uniform(0.6), {300, 100}, 0.12},          {normal(0.2), {300, 100}, 0.04},
      {glorot_uniform(), {30000}, 1.0 / 30000},  {he_normal(), {30000}, 2.0 / 30000},
      {with_fans, {300, 100}, 2.0 / 40},
  };
  for (const Law& law : laws) {
    const std::vector<double> values = values_of(initialized(law.initializer, law.shape));
    const auto count = static_cast<double>(values.size());
    double mean = 0;
    for (const double x : values) mean += x / count;
    // Four standard errors; x^2 of a normal has relative variance 2, of a uniform less.
    EXPECT_NEAR(mean, 0, 4 * std::sqrt(law.variance / count));
    EXPECT_NEAR(mean_square(values) / law.variance, 1, 4 * std::sqrt(2 / count));
    if (law.initializer.distribution == Initializer::Distribution::kUniform) {
      const double limit = std::sqrt(3 * law.variance);
      const auto [least, greatest] = std::ranges::minmax(values);
      EXPECT_GE(least, -limit * (1 + 1e-15));
      EXPECT_LE(greatest, limit * (1 + 1e-15));
      EXPECT_GT(greatest - least, 1.99 * limit);
    }
  }
}

TEST(Initializer, AcceptsEmptyTensors) {
  EXPECT_EQ(initialized(glorot_uniform(), {0, 3}).rows(), 0);
  EXPECT_EQ(initialized(he_normal(), {3, 0}).columns(), 0);
}

TEST(Initializer, RefusesWhatIsOutsideItsDomain) {
  Initializer negative_fan = he_normal();
  negative_fan.fan_in = -1;
  EXPECT_THAT(
      [&] {
        initialized(negative_fan, {2, 2});
      },
      ThrowsMessage<ArgumentError>(HasSubstr("-1")));
  EXPECT_THAT(
      [] {
        initialized(normal(-2), {2, 2});
      },
      ThrowsMessage<ArgumentError>(HasSubstr(">= 0, got -2")));
  EXPECT_THROW(initialized(uniform(-1), {2, 2}), ArgumentError);
  EXPECT_THROW(initialized(constant(std::numeric_limits<double>::infinity()), {2}), ArgumentError);
  EXPECT_THROW(initialized(normal(std::numeric_limits<double>::quiet_NaN()), {2}), ArgumentError);
  EXPECT_EQ(element(initialized(constant(-1), {2}), 0, 0), -1);
  EXPECT_THAT(
      [] {
        initialized(zeros(), {2, 2}, DType::kInt32);
      },
      ThrowsMessage<ShapeError>(HasSubstr("int32")));
}

}  // namespace
}  // namespace chainrule
