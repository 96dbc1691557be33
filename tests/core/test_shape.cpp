// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/shape.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr Index kHuge = Index{1} << 40;

struct View {
  Shape shape;
  Index rows;
  Index columns;
  const char* text;
};

TEST(Shape, IsAMatrixOfLastDimensionByTheOthers) {
  const View views[] = {
      {{}, 1, 1, "[]"},
      {{7}, 1, 7, "[7]"},
      {{kBatch}, kBatch, 1, "[batch]"},
      {{3, 5}, 3, 5, "[3, 5]"},
      {{kBatch, 64}, kBatch, 64, "[batch, 64]"},
      {{2, 3, 5}, 6, 5, "[2, 3, 5]"},
      {{kBatch, 3, 5}, kBatch, 5, "[batch, 3, 5]"},
      {{2, 3, 4, 5}, 24, 5, "[2, 3, 4, 5]"},
      {{0, 3}, 0, 3, "[0, 3]"},
      {{3, 0}, 3, 0, "[3, 0]"},
  };
  for (const View& view : views) {
    EXPECT_EQ(view.shape.rows(), view.rows) << view.text;
    EXPECT_EQ(view.shape.columns(), view.columns) << view.text;
    EXPECT_EQ(to_string(view.shape), view.text);
    EXPECT_EQ(view.shape.is_batched(), view.rows == kBatch) << view.text;
  }
}

TEST(Shape, GivesItsDimensions) {
  const Shape shape{kBatch, 3, 5};
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[0], kBatch);
  EXPECT_EQ(shape[2], 5);
  EXPECT_THAT([&] { shape[3]; },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("[batch, 3, 5]"), HasSubstr("3"))));
  EXPECT_THROW(shape[-1], ShapeError);
  EXPECT_THROW(Shape{}[0], ShapeError);
}

TEST(Shape, ComparesDimensionsAndRank) {
  EXPECT_EQ((Shape{2, 3}), (Shape{2, 3}));
  EXPECT_NE((Shape{2, 3}), (Shape{3, 2}));
  EXPECT_NE((Shape{3}), (Shape{3, 0}));
  EXPECT_NE((Shape{kBatch, 3}), (Shape{1, 3}));
}

TEST(Shape, RefusesWhatIsNoShape) {
  EXPECT_THAT(([] {
                Shape{1, 2, 3, 4, 5};
              }),
              ThrowsMessage<ShapeError>(HasSubstr("[1, 2, 3, 4, 5]")));
  EXPECT_THAT(([] { Shape{3, -2}; }), ThrowsMessage<ShapeError>(HasSubstr("[3, -2]")));
  EXPECT_THROW((Shape{-2}), ShapeError);
  EXPECT_THAT(([] {
                Shape{3, kBatch};
              }),
              ThrowsMessage<ShapeError>(HasSubstr("kBatch (-1) as the first")));
}

TEST(Shape, CountsItsElements) {
  EXPECT_EQ(Shape{}.elements(), 1);
  EXPECT_EQ((Shape{2, 3, 4, 5}).elements(), 120);
  EXPECT_EQ((Shape{kHuge, kHuge, 0}).elements(), 0);
  EXPECT_THAT(([] {
                Shape{kBatch, 3}.elements();
              }),
              ThrowsMessage<ShapeError>(HasSubstr("symbolic")));
  EXPECT_THAT(([] {
                Shape{kHuge, kHuge}.elements();
              }),
              ThrowsMessage<ShapeError>(HasSubstr("[1099511627776, 1099511627776]")));
}

TEST(Shape, PutsANumberOfRowsForTheBatch) {
  EXPECT_EQ((Shape{kBatch, 4}).with_batch(7), (Shape{7, 4}));
  EXPECT_EQ((Shape{kBatch, 3, 4}).with_batch(7).rows(), 21);
  EXPECT_EQ((Shape{kBatch, 4}).with_batch(0), (Shape{0, 4}));
  EXPECT_EQ((Shape{5, 4}).with_batch(7), (Shape{5, 4}));
  EXPECT_THROW((Shape{kBatch, 4}).with_batch(-1), ShapeError);
}

TEST(DType, HasANameAndASize) {
  EXPECT_EQ(parse_dtype("float32"), DType::kFloat32);
  EXPECT_EQ(parse_dtype("float64"), DType::kFloat64);
  EXPECT_THAT([] { parse_dtype("int32"); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("int32"), HasSubstr("float64"))));
  EXPECT_THROW(parse_dtype(""), ArgumentError);
  EXPECT_EQ(size_of(DType::kFloat32), static_cast<Index>(sizeof(float)));
  EXPECT_EQ(size_of(DType::kFloat64), static_cast<Index>(sizeof(double)));
  EXPECT_EQ(size_of(DType::kInt32), static_cast<Index>(sizeof(std::int32_t)));
  EXPECT_EQ(to_string(kDTypeOf<std::int32_t>), "int32");
}

TEST(Error, IsOneFamily) {
  EXPECT_THROW(throw ShapeError("x"), Error);
  EXPECT_THROW(throw ArgumentError("x"), Error);
  EXPECT_THROW(throw UnsupportedError("x"), Error);
  EXPECT_THROW(throw FormatError("x"), Error);
  EXPECT_THROW(throw Error("x"), std::runtime_error);
  try {
    throw NonFiniteError("the loss is nan", "softmax_3");
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the loss is nan");
    EXPECT_EQ(dynamic_cast<const NonFiniteError&>(error).node(), "softmax_3");
  }
}

}  // namespace
}  // namespace chainrule
