// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/tensor.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::vector<double> counted(Index count) {
  std::vector<double> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

Tensor counted_tensor(const Shape& shape) {
  const std::vector<double> values = counted(shape.elements());
  return Tensor::from<double>(shape, values);
}

TEST(PaddedLeadingDimension, FollowsTheRule) {
  const std::pair<Index, Index> floats[] = {{0, 0},   {1, 1},     {2, 16},    {16, 16},    {17, 32},
                                            {33, 48}, {48, 48},   {49, 80},   {64, 80},    {65, 80},
                                            {80, 80}, {128, 144}, {784, 784}, {1024, 1040}};
  for (const auto& [columns, expected] : floats) {
    EXPECT_EQ(padded_leading_dimension(columns, DType::kFloat32), expected) << columns;
    EXPECT_EQ(padded_leading_dimension(columns, DType::kInt32), expected) << columns;
  }
  const std::pair<Index, Index> doubles[] = {{1, 1},   {2, 8},   {8, 8},   {9, 16},
                                             {25, 40}, {32, 40}, {33, 40}, {64, 72}};
  for (const auto& [columns, expected] : doubles) {
    EXPECT_EQ(padded_leading_dimension(columns, DType::kFloat64), expected) << columns;
  }
}

TEST(PaddedLeadingDimension, HoldsItsPromisesForAnyWidth) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    for (Index columns = 2; columns < 2000; ++columns) {
      const Index bytes = padded_leading_dimension(columns, dtype) * size_of(dtype);
      ASSERT_GE(bytes, columns * size_of(dtype));
      ASSERT_LT(bytes, columns * size_of(dtype) + 2 * kAlignment);
      ASSERT_EQ(bytes % kAlignment, 0);
      ASSERT_NE(bytes % 256, 0);
    }
  }
}

TEST(Tensor, StartsAlignedAndZeroWithItsPadding) {
  for (int round = 0; round < 2; ++round) {  // the second allocation meets used memory
    Tensor tensor({3, 5});
    EXPECT_EQ(tensor.dtype(), DType::kFloat32);
    EXPECT_EQ(tensor.rows(), 3);
    EXPECT_EQ(tensor.columns(), 5);
    EXPECT_EQ(tensor.ld(), 16);
    EXPECT_TRUE(tensor.owns_memory());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data()) % kAlignment, 0U);
    const std::span<float> all(static_cast<float*>(tensor.data()), 3 * 16);
    EXPECT_THAT(all, Each(0.0F));
    for (float& value : all) value = 1;
  }
}

TEST(Tensor, HasADenseLayoutOnDemand) {
  EXPECT_EQ(Tensor({3, 5}, DType::kFloat64, Layout::kDense).ld(), 5);
  EXPECT_EQ(Tensor({64}, DType::kFloat64, Layout::kDense).ld(), 64);
}

TEST(Tensor, MayBeEmpty) {
  const Tensor no_rows({0, 5});
  EXPECT_TRUE(no_rows.owns_memory());
  EXPECT_EQ(no_rows.rows(), 0);
  const Tensor no_columns = Tensor({5, 0}).to(DType::kFloat64);
  EXPECT_EQ(no_columns.shape(), (Shape{5, 0}));
  EXPECT_FALSE(Tensor().owns_memory());
}

TEST(Tensor, RefusesSizesThatOverflow) {
  constexpr Index kHuge = Index{1} << 40;
  EXPECT_THAT([] { Tensor({kBatch, 3}); }, ThrowsMessage<ShapeError>(HasSubstr("[batch, 3]")));
  EXPECT_THROW(Tensor({kHuge, kHuge}), ShapeError);
  // The elements fit in an Index; their bytes, or the padded bytes, do not.
  EXPECT_THAT([] { Tensor({Index{1} << 61}, DType::kFloat32); },
              ThrowsMessage<ShapeError>(HasSubstr("2^63 bytes")));
  EXPECT_THROW(Tensor({std::numeric_limits<Index>::max()}), ShapeError);
  EXPECT_THROW(Tensor({Index{1} << 59, 2}, DType::kFloat32), ShapeError);
  EXPECT_THROW(Tensor::view(nullptr, {Index{1} << 59, 2}, DType::kFloat64, 2), ShapeError);
}

// Sanitizers abort on such a request instead of returning null.
#ifndef CHAINRULE_TEST_SANITIZED
TEST(Tensor, SaysWhenMemoryIsShort) {
  EXPECT_THAT(([] {
                Tensor({Index{1} << 30, Index{1} << 30}, DType::kFloat32, Layout::kDense);
              }),
              ThrowsMessage<Error>(AllOf(HasSubstr("cannot allocate 4611686018427387904 bytes"),
                                         HasSubstr("[1073741824, 1073741824]"))));
}
#endif

TEST(Tensor, TakesValuesRowByRow) {
  const Tensor tensor = counted_tensor({2, 3});
  const MatrixView<const double> view = tensor.as<double>();
  EXPECT_EQ(view.ld, 8);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) EXPECT_EQ(view(i, j), static_cast<double>(3 * i + j + 1));
  }
  EXPECT_EQ(view.row(1), view.data + view.ld);
  const std::array<std::int32_t, 2> labels = {4, -7};
  EXPECT_EQ(Tensor::from<std::int32_t>({2}, labels).as<std::int32_t>()(0, 1), -7);
  EXPECT_THAT([&] { Tensor::from<std::int32_t>({3}, labels); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("[3]"), HasSubstr("got 2"))));
}

TEST(Tensor, CopiesAnOwnersElements) {
  Tensor original = counted_tensor({2, 3});
  const Tensor copy = original;
  original.as<double>()(1, 2) = -1;
  EXPECT_NE(copy.data(), original.data());
  EXPECT_EQ(copy.as<double>()(1, 2), 6);
  EXPECT_EQ(copy.ld(), original.ld());

  Tensor assigned({9});
  assigned = copy;
  EXPECT_EQ(assigned.shape(), (Shape{2, 3}));
  EXPECT_EQ(assigned.as<double>()(0, 1), 2);
  const Tensor& self = assigned;
  assigned = self;
  EXPECT_EQ(assigned.as<double>()(1, 2), 6);

  const void* const data = assigned.data();
  const Tensor moved = std::move(assigned);
  EXPECT_EQ(moved.data(), data);
  EXPECT_TRUE(moved.owns_memory());
}

TEST(Tensor, CopiesAViewsWindow) {
  std::array<float, 8> memory = {1, 2, 3, 4, 5, 6, 7, 8};
  Tensor view = Tensor::view(memory.data(), {2, 3}, DType::kFloat32, 4);
  Tensor copy = view;
  EXPECT_FALSE(copy.owns_memory());
  EXPECT_EQ(copy.data(), memory.data());
  copy.as<float>()(1, 0) = 50;
  EXPECT_EQ(memory[4], 50);
  EXPECT_EQ(view.as<float>()(1, 2), 7);

  EXPECT_THAT(
      [&] {
        Tensor::view(memory.data(), {2, 3}, DType::kFloat32, 2);
      },
      ThrowsMessage<ShapeError>(AllOf(HasSubstr(">= 3"), HasSubstr("got 2"))));
  EXPECT_THROW(Tensor::view(memory.data(), {kBatch, 3}, DType::kFloat32, 3), ShapeError);
  EXPECT_THROW(Tensor::view(nullptr, {2, 3}, DType::kFloat32, 3), ArgumentError);
  EXPECT_EQ(Tensor::view(nullptr, {0, 3}, DType::kFloat32, 3).rows(), 0);
}

TEST(Tensor, GivesTypedWindowsOfItsOwnTypeOnly) {
  Tensor tensor({2, 3}, DType::kFloat64);
  EXPECT_EQ(tensor.as<double>().columns, 3);
  EXPECT_THAT([&] { tensor.as<float>(); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("float64"), HasSubstr("float32"))));
  EXPECT_THROW(std::as_const(tensor).as<std::int32_t>(), ShapeError);
}

TEST(Tensor, ConvertsBetweenTypes) {
  const std::array<double, 4> values = {0.1, -2.5, 3.5, 1e300};
  const Tensor doubles = Tensor::from<double>({2, 2}, values);
  const Tensor floats = doubles.to(DType::kFloat32);
  EXPECT_EQ(floats.ld(), 16);
  EXPECT_EQ(floats.as<float>()(0, 0), 0.1F);
  EXPECT_TRUE(std::isinf(floats.as<float>()(1, 1)));
  EXPECT_EQ(floats.to(DType::kFloat64).as<double>()(0, 0), static_cast<double>(0.1F));
  EXPECT_THAT([&] { doubles.to(DType::kInt32); }, ThrowsMessage<ArgumentError>(HasSubstr("int32")));

  const std::array<double, 3> halves = {-2.5, 3.5, 2147483647.0};
  const Tensor integers = Tensor::from<double>({3}, halves).to(DType::kInt32);
  EXPECT_EQ(integers.as<std::int32_t>()(0, 0), -2);  // half to even
  EXPECT_EQ(integers.as<std::int32_t>()(0, 1), 4);
  EXPECT_EQ(integers.as<std::int32_t>()(0, 2), 2147483647);
  const std::array<float, 1> nan = {std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(Tensor::from<float>({1}, nan).to(DType::kInt32), ArgumentError);
}

TEST(CopyValues, CopiesBetweenLayoutsAndLeavesThePadding) {
  const Tensor source = counted_tensor({3, 5});
  std::vector<double> memory(3 * 7, -1.0);
  copy_values(source, Tensor::view(memory.data(), {3, 5}, DType::kFloat64, 7).view());
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 7; ++j) {
      EXPECT_EQ(memory[i * 7 + j], j < 5 ? static_cast<double>(5 * i + j + 1) : -1.0);
    }
  }
  Tensor wrong({5, 3}, DType::kFloat64);
  EXPECT_THAT([&] { copy_values(source, wrong); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("3 x 5"), HasSubstr("5 x 3"))));
}

TEST(Element, ReadsAnyType) {
  const std::array<float, 2> floats = {0.5F, 0.1F};
  const std::array<std::int32_t, 2> integers = {3, -4};
  EXPECT_EQ(element(counted_tensor({2, 2}), 1, 0), 3);
  EXPECT_EQ(element(Tensor::from<float>({2}, floats), 0, 1), static_cast<double>(0.1F));
  EXPECT_EQ(element(Tensor::from<std::int32_t>({2}, integers), 0, 1), -4);
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt32}) {
    Tensor written({2, 3}, dtype);
    set_element(written, 1, 2, 5.75);
    const double stored = dtype == DType::kInt32 ? 5 : 5.75;
    EXPECT_EQ(element(written, 1, 2), stored);
    EXPECT_EQ(element(written, 1, 1), 0);
  }
}

}  // namespace
}  // namespace chainrule
