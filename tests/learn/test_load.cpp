// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/load.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "chainrule/core/error.hpp"
#include "file_support.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using testing::from_hex;
using ::testing::HasSubstr;

std::string data_file(std::string_view name) {
  return std::string(CHAINRULE_TEST_DATA_DIR) + "/" + std::string(name);
}

nlohmann::json reference(std::string_view name) {
  std::ifstream stream(data_file("sklearn_reference.json"));
  return nlohmann::json::parse(stream).at("datasets").at(std::string(name));
}

double sum(const Tensor& tensor) {
  double total = 0;
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) total += element(tensor, i, j);
  }
  return total;
}

void expect_reference(const Dataset& data, std::string_view name, double x_scale) {
  const nlohmann::json expected = reference(name);
  data.validate();
  EXPECT_EQ(data.rows(), expected["n"].get<Index>());
  EXPECT_EQ(data.features(), expected["d"].get<Index>());
  const double x_sum = expected["x_sum"].get<double>();
  EXPECT_NEAR(sum(data.x) * x_scale, x_sum, 1e-11 * x_sum);
  const double y_sum = data.labels.empty()
                           ? sum(data.y)
                           : std::accumulate(data.labels.begin(), data.labels.end(), 0.0);
  EXPECT_EQ(y_sum, expected["y_sum"].get<double>());
  const bool has_classes = !expected["classes"].is_null();
  EXPECT_EQ(data.classes(), has_classes ? expected["classes"].get<Index>() : 0);
  const auto [train, test] = data.split_every(5);
  EXPECT_EQ(train.rows(), expected["n_train"].get<Index>());
  EXPECT_EQ(test.rows(), expected["n_test"].get<Index>());
}

TEST(Load, DigitsMatchTheReferenceSums) {
  const Dataset scaled = load_digits();
  expect_reference(scaled, "digits", 16);
  EXPECT_EQ(scaled.x.dtype(), DType::kFloat32);
  EXPECT_EQ(element(scaled.x, 0, 2), 5.0 / 16) << "first row: 0,0,5,13,...";
  EXPECT_EQ(scaled.class_names.at(9), "9");
  const Dataset raw = load_digits(1);
  EXPECT_EQ(sum(raw.x), 561718);
  EXPECT_EQ(std::accumulate(raw.labels.begin(), raw.labels.end(), 0), 8070);
  EXPECT_EQ(raw.labels.front(), 0);
  EXPECT_EQ(raw.labels.back(), 8);
  EXPECT_EQ(sum(load("digits").x), sum(scaled.x));
  EXPECT_THROW(load_digits(0), ArgumentError);
}

TEST(Load, ReferenceTables) {
  for (const char* name : {"iris", "breast_cancer", "wine", "diabetes"}) {
    SCOPED_TRACE(name);
    expect_reference(load(data_file(std::string(name) + ".csv")), name, 1);
  }
}

TEST(Load, NpyMatrixIsATable) {
  const testing::TemporaryDirectory directory;
  const std::vector<double> values{1.5, 2, 0.25, 3.5, 4, 0.75};
  write_npy(Tensor::from<double>({2, 3}, values), directory / "a.npy");
  const Dataset data = load((directory / "a.npy").string(), {.target = "0"});
  EXPECT_EQ(element(data.y, 1, 0), 3.5);
  EXPECT_EQ(element(data.x, 1, 1), 0.75);
  EXPECT_THAT(data.feature_names, ElementsAre("column_1", "column_2"));
  EXPECT_EQ(load_table(directory / "a.npy").columns.size(), 3U);
  write_npy(Tensor({4}), directory / "v.npy");
  EXPECT_THAT(error_of([&] { load((directory / "v.npy").string()); }), HasSubstr("[4]"));
}

TEST(Load, IdxImagesFindTheirLabels) {
  const testing::TemporaryDirectory directory;
  const std::string images = (directory / "my-images-idx3-ubyte").string();
  testing::write_text(images, from_hex("00000803000000020000000100000002"
                                       "0033ff00"));
  EXPECT_THAT(error_of([&] { load(images); }), HasSubstr("my-labels-idx1-ubyte"));
  testing::write_text(directory / "my-labels-idx1-ubyte", from_hex("00000801000000020302"));
  const Dataset data = load(images);
  data.validate();
  EXPECT_EQ(data.x.shape(), (Shape{2, 2}));
  EXPECT_EQ(data.x.as<float>()(0, 1), 51.0F / 255.0F);
  EXPECT_EQ(element(data.x, 1, 0), 1);
  EXPECT_THAT(data.labels, ElementsAre(3, 2));
  testing::write_text(directory / "my-labels-idx1-ubyte", from_hex("0000080100000003030201"));
  EXPECT_THAT(error_of([&] { load(images); }), HasSubstr("[3], expected integers of shape [2]"));
  const CsvTable table = load_table(images);
  EXPECT_FALSE(table.has_header);
  EXPECT_EQ(table.rows, 2);
  EXPECT_EQ(feature_matrix(table, {}, 2).as<double>()(0, 1), 51.0F / 255.0F);
  testing::write_text(directory / "pictures", testing::read_text(images));
  EXPECT_THAT(error_of([&] { load((directory / "pictures").string()); }), HasSubstr("are called"));
}

TEST(Load, UnknownNamesSayWhatThereIs) {
  EXPECT_THAT(error_of([] { load("mnist"); }),
              HasSubstr("'mnist', and no data set of that name: expected digits, fashion-mnist"));
}

TEST(Load, FashionMnistNamesTheDebianPackage) {
  const testing::TemporaryDirectory directory;
  EXPECT_THAT(error_of([&] { load_fashion_mnist(directory.path()); }),
              AllOf(HasSubstr("train-images-idx3-ubyte.gz"), HasSubstr("dataset-fashion-mnist")));
}

TEST(Load, FashionMnistFromADirectory) {
  const testing::TemporaryDirectory directory;
  for (const std::string part : {"train", "t10k"}) {
    testing::write_gzip(directory / (part + "-images-idx3-ubyte.gz"),
                        from_hex("00000803000000010000000100000003"
                                 "00ff33"));
    testing::write_gzip(directory / (part + "-labels-idx1-ubyte.gz"),
                        from_hex("000008010000000109"));
  }
  const auto [train, test] = load_fashion_mnist(directory.path());
  EXPECT_EQ(train.x.as<float>()(0, 2), 51.0F / 255.0F);
  EXPECT_EQ(train.class_names.at(static_cast<std::size_t>(test.labels.at(0))), "Ankle boot");
  testing::write_gzip(directory / "t10k-labels-idx1-ubyte.gz", from_hex("00000801000000010a"));
  EXPECT_THAT(error_of([&] { load_fashion_mnist(directory.path()); }), HasSubstr("label 10"));
}

TEST(Load, FashionMnistAsInstalled) {
  if (!std::filesystem::exists(kFashionMnistDirectory)) {
    GTEST_SKIP() << "Debian's package dataset-fashion-mnist is not installed";
  }
  const Dataset test = load("fashion-mnist-test");
  test.validate();
  EXPECT_EQ(test.x.shape(), (Shape{10000, 784}));
  std::vector<int> count(10);
  for (const std::int32_t label : test.labels) ++count.at(static_cast<std::size_t>(label));
  EXPECT_THAT(count, ::testing::Each(1000));  // the paper: balanced classes
  const MatrixView<const float> x = test.x.as<float>();
  EXPECT_EQ(*std::max_element(x.row(0), x.row(100)), 1.0F);
}

}  // namespace
}  // namespace chainrule
