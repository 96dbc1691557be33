// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/dataset.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/standardizer.hpp"
#include "file_support.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

/// n rows; every part of row i is made of i.
Dataset numbered(Index n) {
  Dataset data{.x = Tensor({n, 3}, DType::kFloat64),
               .y = Tensor({n, 2}, DType::kFloat64),
               .weights = Tensor({n, 1}, DType::kFloat64),
               .offset = Tensor({n, 1}, DType::kFloat64),
               .feature_names = {"a", "b", "c"},
               .class_names = {"even", "odd"},
               .target_name = "parity"};
  for (Index i = 0; i < n; ++i) {
    const auto value = static_cast<double>(i);
    for (Index j = 0; j < 3; ++j) data.x.as<double>()(i, j) = 10 * value + static_cast<double>(j);
    for (Index j = 0; j < 2; ++j) data.y.as<double>()(i, j) = -value - static_cast<double>(j);
    data.weights.as<double>()(i, 0) = value;
    data.offset.as<double>()(i, 0) = value / 2;
    data.labels.push_back(static_cast<std::int32_t>(i % 2));
  }
  return data;
}

void expect_row(const Dataset& data, Index row, Index original) {
  const auto value = static_cast<double>(original);
  for (Index j = 0; j < 3; ++j) {
    EXPECT_EQ(element(data.x, row, j), 10 * value + static_cast<double>(j));
  }
  EXPECT_EQ(element(data.y, row, 1), -value - 1);
  EXPECT_EQ(element(data.weights, row, 0), value);
  EXPECT_EQ(element(data.offset, row, 0), value / 2);
  EXPECT_EQ(data.labels[static_cast<std::size_t>(row)], original % 2);
}

std::vector<double> first_column(const Dataset& data) {
  std::vector<double> values;
  for (Index i = 0; i < data.rows(); ++i) values.push_back(element(data.x, i, 0) / 10);
  return values;
}

TEST(Dataset, KnowsItsSizes) {
  const Dataset data = numbered(5);
  data.validate();
  EXPECT_EQ(data.rows(), 5);
  EXPECT_EQ(data.features(), 3);
  EXPECT_EQ(data.classes(), 2);
  const Dataset nothing;
  EXPECT_EQ(nothing.rows(), 0);
  EXPECT_EQ(nothing.features(), 0);
  EXPECT_EQ(nothing.classes(), 0);
  EXPECT_EQ((Dataset{.labels = {0, 4, 2}}.classes()), 5);
}

TEST(Dataset, SubsetTakesRowsInOrderAndRepeats) {
  const std::vector<std::uint32_t> rows{4, 0, 4};
  const Dataset part = numbered(5).subset(rows);
  part.validate();
  ASSERT_EQ(part.rows(), 3);
  for (Index i = 0; i < 3; ++i) expect_row(part, i, rows[static_cast<std::size_t>(i)]);
  EXPECT_EQ(part.feature_names, numbered(1).feature_names);
  EXPECT_EQ(part.class_names, numbered(1).class_names);
  EXPECT_EQ(part.target_name, "parity");
  EXPECT_EQ(numbered(5).subset({}).rows(), 0);
  const std::vector<std::uint32_t> beyond{5};
  EXPECT_THAT(error_of<ArgumentError>([&] { numbered(5).subset(beyond); }),
              HasSubstr("row 5 of a set of 5 rows"));
}

TEST(Dataset, SplitIsAPartitionThatDependsOnTheSeedAlone) {
  const Dataset data = numbered(101);
  const auto [train, test] = data.split(0.2, 1);
  EXPECT_EQ(test.rows(), 20);
  EXPECT_EQ(train.rows(), 81);
  std::vector<double> all = first_column(train);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
  for (const double value : first_column(test)) all.push_back(value);
  const std::set<double> distinct(all.begin(), all.end());
  EXPECT_EQ(distinct.size(), 101U);
  EXPECT_EQ(*distinct.rbegin(), 100);
  for (Index i = 0; i < test.rows(); ++i) {
    expect_row(test, i, static_cast<Index>(element(test.x, i, 0) / 10));
  }
  EXPECT_EQ(first_column(data.split(0.2, 1).test), first_column(test));
  EXPECT_NE(first_column(data.split(0.2, 2).test), first_column(test));
}

TEST(Dataset, SplitAtTheEdges) {
  EXPECT_EQ(numbered(5).split(0, 1).test.rows(), 0);
  EXPECT_EQ(numbered(5).split(0.01, 1).test.rows(), 1);
  EXPECT_EQ(numbered(5).split(0.99, 1).train.rows(), 1);
  for (const double fraction : {-0.1, 1.0, std::nan("")}) {
    EXPECT_THROW(numbered(5).split(fraction, 1), ArgumentError) << fraction;
  }
}

TEST(Dataset, SplitEveryTakesMultiplesOfK) {
  const auto [train, test] = numbered(11).split_every(5);
  EXPECT_THAT(first_column(test), ElementsAre(0, 5, 10));
  EXPECT_THAT(first_column(train), ElementsAre(1, 2, 3, 4, 6, 7, 8, 9));
  EXPECT_THROW(numbered(11).split_every(1), ArgumentError);
}

TEST(Dataset, ConvertsEveryRealTensor) {
  const Dataset data = numbered(4).to(DType::kFloat32);
  for (const Tensor* tensor : {&data.x, &data.y, &data.weights, &data.offset}) {
    EXPECT_EQ(tensor->dtype(), DType::kFloat32);
  }
  expect_row(data, 3, 3);
  EXPECT_EQ((Dataset{.x = Tensor({1, 1})}.to(DType::kFloat64).y.shape().rank()), 0);
  EXPECT_THROW(numbered(1).to(DType::kInt32), ArgumentError);
}

TEST(Dataset, ValidationSaysWhatCame) {
  const auto shape_error = [](auto&& damage) {
    Dataset data = numbered(4);
    damage(data);
    return error_of<ShapeError>([&] { data.validate(); });
  };
  EXPECT_THAT(error_of<ShapeError>([] { Dataset().validate(); }), HasSubstr("x is missing"));
  EXPECT_THAT(shape_error([](Dataset& d) { d.x = Tensor({4, 2, 2}); }), HasSubstr("[4, 2, 2]"));
  EXPECT_THAT(shape_error([](Dataset& d) {
                d.y = Tensor({3, 1});
              }),
              HasSubstr("y has shape [3, 1], expected [4, any]"));
  EXPECT_THAT(shape_error([](Dataset& d) {
                d.weights = Tensor({4, 2});
              }),
              HasSubstr("weights has shape [4, 2], expected [4, 1]"));
  EXPECT_THAT(shape_error([](Dataset& d) { d.offset = Tensor({4}); }), HasSubstr("offset"));
  EXPECT_THAT(shape_error([](Dataset& d) { d.labels.pop_back(); }), HasSubstr("3 labels"));
  EXPECT_THAT(shape_error([](Dataset& d) { d.feature_names.pop_back(); }),
              HasSubstr("2 feature names, expected 3"));
  for (const std::int32_t label : {-1, 2}) {
    Dataset data = numbered(4);
    data.labels[2] = label;
    EXPECT_THAT(error_of<ArgumentError>([&] { data.validate(); }),
                HasSubstr("label " + std::to_string(label) + " in row 2, expected 0 to 1"));
  }
  Dataset data = numbered(4);
  data.weights.as<double>()(1, 0) = std::nan("");
  EXPECT_THAT(error_of<ArgumentError>([&] { data.validate(); }), HasSubstr("weight nan in row 1"));
}

TEST(Standardizer, MeanZeroDeviationOne) {
  // Columns: 1..4 (mean 2.5, variance 1.25), constant 0.1, and 1e9 + {0, 1, 2, 3}.
  const std::vector<double> values{1, 0.1, 1e9, 2, 0.1, 1e9 + 1, 3, 0.1, 1e9 + 2, 4, 0.1, 1e9 + 3};
  const Tensor x = Tensor::from<double>({4, 3}, values);
  const Standardizer standardizer = Standardizer::fit(x);
  EXPECT_THAT(standardizer.mean, ElementsAre(2.5, 0.1, 1e9 + 1.5));
  EXPECT_THAT(standardizer.scale, ElementsAre(std::sqrt(1.25), 1, std::sqrt(1.25)));
  const Tensor scaled = standardizer.apply(x);
  ASSERT_EQ(scaled.dtype(), DType::kFloat64);
  EXPECT_DOUBLE_EQ(element(scaled, 0, 0), -1.5 / std::sqrt(1.25));
  EXPECT_EQ(element(scaled, 3, 1), 0);
  EXPECT_DOUBLE_EQ(element(scaled, 3, 2), 1.5 / std::sqrt(1.25));
  const Tensor single = standardizer.apply(x.to(DType::kFloat32));
  EXPECT_EQ(single.dtype(), DType::kFloat32);
  EXPECT_EQ(single.as<float>()(0, 0), static_cast<float>(-1.5 / std::sqrt(1.25)));
  const Standardizer whole = Standardizer::fit(x.to(DType::kInt32));
  EXPECT_EQ(whole.apply(x.to(DType::kInt32)).dtype(), DType::kFloat64);
}

TEST(Standardizer, JsonKeepsEveryBit) {
  const Standardizer standardizer{.mean = {1.0 / 3, -0.0, 1e-310}, .scale = {0.1, 1e300, 5e-324}};
  EXPECT_EQ(Standardizer::from_json(standardizer.to_json()), standardizer);
  EXPECT_EQ(Standardizer::from_json(R"({"mean":[1],"scale":[2]})").scale[0], 2);
}

TEST(Standardizer, RefusesBadInput) {
  const Standardizer two{.mean = {0, 0}, .scale = {1, 1}};
  EXPECT_THAT(error_of<ShapeError>([&] {
                two.apply(Tensor({4, 3}));
              }),
              HasSubstr("2 columns: x has shape [4, 3]"));
  EXPECT_THROW(Standardizer::fit(Tensor({0, 3})), ShapeError);
  const std::vector<float> values{1, 2, 3, INFINITY};
  EXPECT_THAT(error_of<ArgumentError>([&] {
                Standardizer::fit(Tensor::from<float>({2, 2}, values));
              }),
              HasSubstr("row 1, column 1"));
  for (const char* text : {"", "[]", "{}", R"({"mean":[1]})", R"({"mean":[1],"scale":[]})",
                           R"({"mean":[1],"scale":[0]})", R"({"mean":[null],"scale":[1]})",
                           R"({"mean":[1e999],"scale":[1]})", R"({"mean":1,"scale":1})"}) {
    EXPECT_THROW(Standardizer::from_json(text), FormatError) << text;
  }
  EXPECT_THROW(Standardizer::from_json(std::string(1'000'000, '[')), FormatError);
}

}  // namespace
}  // namespace chainrule
