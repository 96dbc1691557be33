// SPDX-License-Identifier: Apache-2.0
//
// What benchmarks compare results with and measure limits by.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "chainrule/kernels/dispatch.hpp"
#include "figures.hpp"
#include "measure.hpp"

namespace chainrule::bench {
namespace {

Tensor numbers() {
  const float values[] = {1, -2, 0, 0.5F, 4, 8};
  return Tensor::from<float>({2, 3}, values);
}

TEST(Measure, SameBitsSeesEveryElement) {
  const Tensor a = numbers();
  EXPECT_TRUE(same_bits(a, numbers()));
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) {
      Tensor b = numbers();
      float& value = b.as<float>()(i, j);
      value = std::nextafter(value, 9.0F);
      EXPECT_FALSE(same_bits(a, b)) << i << ", " << j;
    }
  }
}

TEST(Measure, SameBitsTellsZerosApartAndNotPadding) {
  Tensor minus_zero = numbers();
  minus_zero.as<float>()(0, 2) = -0.0F;
  EXPECT_FALSE(same_bits(numbers(), minus_zero));
  Tensor padded({2, 3}, DType::kFloat32, Layout::kPadded),
      dense({2, 3}, DType::kFloat32, Layout::kDense);
  copy_values(numbers(), padded);
  copy_values(numbers(), dense);
  ASSERT_NE(padded.ld(), dense.ld());
  padded.as<float>().data[3] = 7;  // behind the first row
  EXPECT_TRUE(same_bits(padded, dense));
}

TEST(Measure, SameBitsNeedsTheSameShapeAndDType) {
  EXPECT_FALSE(same_bits(numbers(), Tensor({3, 2})));
  EXPECT_FALSE(same_bits(Tensor({2, 3}), Tensor({2, 3}, DType::kInt32)));
}

TEST(Measure, AgreementIsRelativeAboveOneAndRefusesNaN) {
  Tensor close = numbers();
  close.as<float>()(1, 2) = 8.08F;
  EXPECT_TRUE(agrees(close, numbers(), 0.01));
  EXPECT_FALSE(agrees(close, numbers(), 0.008));
  close.as<float>()(1, 2) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(agrees(close, numbers(), 0.01));
}

TEST(Measure, BandwidthsAreMeasuredOnceForEachSize) {
  const KernelTable& kernels = default_kernels();
  for (const int threads : {1, 2}) {
    const double bandwidth = read_bandwidth(kernels, 1 << 16, threads);
    EXPECT_GT(bandwidth, 1e8);  // bytes a second: no memory is that slow
    EXPECT_LT(bandwidth, 1e13);
    EXPECT_EQ(read_bandwidth(kernels, 1 << 16, threads), bandwidth);
  }
  const double bandwidth = copy_bandwidth(1 << 16);
  EXPECT_GT(bandwidth, 1e8);
  EXPECT_LT(bandwidth, 1e13);
  EXPECT_EQ(copy_bandwidth(1 << 16), bandwidth);
}

TEST(Figures, MedianIsTheMiddleOrBetweenTheTwoThere) {
  EXPECT_EQ(median({3}), 3);
  EXPECT_EQ(median({9, 1, 4}), 4);
  EXPECT_EQ(median({9, 1, 4, 2}), 3);
}

TEST(Figures, SecondsHaveAUnitAndThreeDigits) {
  EXPECT_EQ(format_seconds(1.35e-7), "135 ns");
  EXPECT_EQ(format_seconds(1.2e-5), "12.0 us");
  EXPECT_EQ(format_seconds(0.00201), "2.01 ms");
}

}  // namespace
}  // namespace chainrule::bench
