// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/trainer.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::bits;
using ::testing::HasSubstr;
using testing::matrix;
using testing::message_of;
using testing::noise;
using testing::rows_of;

// Trained a little, so that running statistics and biases are not trivial.
Model trained(DType dtype) {
  Model model({Linear{20, 33}, BatchNorm{}, Silu{}, Dropout{}, Linear{33, 17}, LayerNorm{}, Gelu{},
               Linear{17, 5}},
              Categorical{}, dtype, 3);
  Trainer(model, Adam{}, {.threads = 1}).fit(testing::blobs(200, 20, 5, 61), {.epochs = 2});
  return model;
}

class BatchInvariance : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Types, BatchInvariance,
                         ::testing::Values(DType::kFloat32, DType::kFloat64),
                         [](const auto& info) { return std::string(to_string(info.param)); });

TEST_P(BatchInvariance, ARowHasTheSameBitsInAnyBatch) {
  const Model model = trained(GetParam());
  const Tensor x = noise(5000, 20, 62);  // more than one chunk of the predictor
  Predictor predictor(model);
  const Tensor all = predictor.predict(x);
  ASSERT_EQ(all.rows(), 5000);
  EXPECT_EQ(bits(predictor.predict(rows_of(x, 0, 1000)).view()),
            bits(rows_of(all, 0, 1000).view()));
  for (Index first = 0; first < 140; first += 7) {
    EXPECT_EQ(bits(predictor.predict(rows_of(x, first, 7)).view()),
              bits(rows_of(all, first, 7).view()));
  }
  for (const Index row : {0, 1, 6, 7, 500, 999, 4095, 4096, 4999}) {
    EXPECT_EQ(bits(predictor.predict(rows_of(x, row, 1)).view()), bits(rows_of(all, row, 1).view()))
        << row;
  }
  Predictor many(model, {.threads = 3});
  EXPECT_EQ(bits(many.predict(x).view()), bits(all.view()));
}

TEST(Predictor, KeepsASnapshotAndCopiesAreIndependent) {
  Model model = trained(DType::kFloat32);
  const Tensor x = noise(9, 20, 63);
  Predictor predictor(model);
  const std::string before = bits(predictor.predict(x).view());
  Predictor copy = predictor;
  model.initialize(99);
  EXPECT_EQ(bits(predictor.predict(x).view()), before);
  EXPECT_EQ(bits(copy.predict(x).view()), before);
  predictor = Predictor(model);
  EXPECT_NE(bits(predictor.predict(x).view()), before);
  EXPECT_EQ(bits(copy.predict(x).view()), before);
}

TEST(Predictor, ClassifiesByTheLargestProbabilityAndTheLowestClass) {
  Model model({Linear{1, 3}}, Categorical{}, DType::kFloat64);
  const auto w = model.parameters().mutable_view("0.weight").as<double>();
  const auto b = model.parameters().mutable_view("0.bias").as<double>();
  for (Index k = 0; k < 3; ++k) w(0, k) = k == 2 ? 1 : 0, b(0, k) = 0;
  const std::vector<double> values{-1, 0, 1};
  EXPECT_EQ(Predictor(model).classify(matrix(3, 1, values)), (std::vector<std::int32_t>{0, 0, 2}));
  EXPECT_EQ(Predictor(model).predict(Tensor({0, 1}, DType::kFloat64)).rows(), 0);
}

TEST(Predictor, ScalesRatesByTheOffset) {
  Model model({Linear{2, 1}}, Poisson{}, DType::kFloat64);
  const Tensor x = noise(4, 2, 64);
  const Tensor offset = noise(4, 1, 65);
  Predictor predictor(model);
  const Tensor plain = predictor.predict(x);
  const Tensor with_offset = predictor.predict(x, offset);
  for (Index i = 0; i < 4; ++i) {
    EXPECT_NEAR(element(with_offset, i, 0), element(plain, i, 0) * std::exp(element(offset, i, 0)),
                1e-13);
  }
  EXPECT_THAT(message_of<ShapeError>([&] { predictor.predict(x, noise(3, 1, 66)); }),
              HasSubstr("offset has shape [3, 1], expected [4, 1]"));
  EXPECT_THROW(predictor.predict(x, noise(4, 2, 66)), ShapeError);
  EXPECT_THROW(predictor.classify(x), ArgumentError);
  Predictor regression(Model{Linear{2, 1}, Gaussian{}});
  EXPECT_THAT(message_of<ArgumentError>([&] { regression.predict(x, offset); }),
              HasSubstr("takes no offset"));
  EXPECT_THROW(predictor.predict(noise(4, 3, 67)), ShapeError);
}

TEST(Evaluate, CountsClassesAndWeighsTheLoss) {
  Model model({Linear{1, 1}}, Bernoulli{}, DType::kFloat64);
  model.parameters().mutable_view("0.weight").as<double>()(0, 0) = 2;
  model.parameters().mutable_view("0.bias").as<double>()(0, 0) = 0;
  const std::vector<double> x{-1, 1, 2, -0.5, 3};
  const std::vector<double> weights{1, 2, 0, 0.5, 3};
  Dataset data;
  data.x = matrix(5, 1, x);
  data.labels = {0, 0, 1, 1, 1};
  data.weights = matrix(5, 1, weights);
  const Evaluation result = evaluate(model, data);
  EXPECT_EQ(result.rows, 5);
  EXPECT_EQ(result.accuracy, 0.6);
  EXPECT_FALSE(result.rmse.has_value());
  EXPECT_EQ(result.confusion, (std::vector<std::vector<Index>>{{1, 1}, {1, 2}}));
  long double loss = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    const long double z = data.labels[i] == 1 ? 2 * x[i] : -2 * x[i];
    loss += static_cast<long double>(weights[i]) * std::log1p(std::exp(-z));
  }
  EXPECT_NEAR(result.loss, static_cast<double>(loss / 6.5L), 1e-14);
}

TEST(Evaluate, MeasuresRegressionOverAllChunks) {
  const Index rows = 4097;  // one more than the rows of a run
  Model model({Linear{1, 2}}, Gaussian{}, DType::kFloat64, 5);
  Dataset data;
  data.x = noise(rows, 1, 68);
  data.y = noise(rows, 2, 69);
  const Tensor prediction = Predictor(model).predict(data.x);
  long double squares = 0;
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < 2; ++j) {
      const long double error = element(prediction, i, j) - element(data.y, i, j);
      squares += error * error;
    }
  }
  const Evaluation result = evaluate(model, data, {.threads = 2});
  EXPECT_NEAR(*result.rmse, static_cast<double>(std::sqrt(squares / (2 * rows))), 1e-12);
  EXPECT_NEAR(result.loss, static_cast<double>(squares / (2 * rows)), 1e-12);
  EXPECT_FALSE(result.accuracy.has_value());
  EXPECT_TRUE(result.confusion.empty());
}

}  // namespace
}  // namespace chainrule
