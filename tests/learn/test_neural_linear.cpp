// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/neural_linear.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/posterior_file.hpp"
#include "file_support.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

Model network(Index features = 7) {
  return Model({Linear{3, features}, Tanh{}, Linear{features, 1}}, Gaussian{}, DType::kFloat64, 3);
}

// Smooth functions of x with noise, far from 0.
Tensor targets(const Tensor& x, Index outputs, double size) {
  const Tensor e = noise(x.rows(), outputs, 17);
  Tensor y({x.rows(), outputs}, DType::kFloat64);
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < outputs; ++j) {
      y.as<double>()(i, j) = std::sin(element(x, i, 0) + static_cast<double>(j)) +
                             0.5 * element(x, i, 1) + size * element(e, i, j) + 3;
    }
  }
  return y;
}

void expect_close(double value, double expected, double tolerance = 1e-10) {
  EXPECT_NEAR(value, expected, tolerance * std::max(1.0, std::abs(expected)));
}

struct SpaceCase {
  const char* name;
  bool bias;
  bool center;
  std::optional<std::size_t> layer;
};

class BothSpaces : public ::testing::TestWithParam<SpaceCase> {};
INSTANTIATE_TEST_SUITE_P(NeuralLinear, BothSpaces,
                         ::testing::Values(SpaceCase{"Plain", false, false, {}},
                                           SpaceCase{"Bias", true, false, {}},
                                           SpaceCase{"Centered", false, true, {}},
                                           SpaceCase{"BiasAndCentered", true, true, {}},
                                           SpaceCase{"FirstLayer", true, false, 0}),
                         [](const auto& info) { return info.param.name; });

// Weights against functions: the Gaussian process with the learned kernel, by its own algorithm.
TEST_P(BothSpaces, Agree) {
  const SpaceCase& c = GetParam();
  const Model model = network();
  const Tensor x = noise(1100, 3, 1), at = noise(40, 3, 2);
  const Tensor y = targets(x, 2, 0.3);
  constexpr double kAlpha = 0.4, kNoise = 0.07;
  CovarianceKernel kernel = learned_kernel(model, c.layer);
  if (c.bias) kernel = kernel + constant_kernel(1);
  GaussianProcess gp(scaled(kernel, 1 / kAlpha), {.noise = kNoise, .center_targets = c.center});
  gp.fit(x, y);
  NeuralLinearModel bayes(model, 2,
                          {.prior_precision = kAlpha,
                           .noise = kNoise,
                           .bias = c.bias,
                           .center_targets = c.center,
                           .layer = c.layer});
  EXPECT_EQ(bayes.features(), c.bias ? 8 : 7);
  bayes.add(testing::rows_of(x, 0, 300), testing::rows_of(y, 0, 300));
  bayes.add(testing::rows_of(x, 300, 800), testing::rows_of(y, 300, 800));
  EXPECT_EQ(bayes.rows(), 1100);

  const auto expected = gp.predict(at), seen = bayes.predict(at);
  for (Index i = 0; i < 40; ++i) {
    expect_close(element(seen.variance, i, 0), element(expected.variance, i, 0));
    for (Index j = 0; j < 2; ++j) {
      expect_close(element(seen.mean, i, j), element(expected.mean, i, j));
    }
  }
  const LogMarginalLikelihood a = gp.log_marginal_likelihood(true),
                              b = bayes.log_marginal_likelihood(true);
  expect_close(b.value, a.value);
  expect_close(b.data_fit, a.data_fit);
  expect_close(b.complexity, a.complexity);
  expect_close(b.constant, a.constant);
  // By log alpha and by log variance; sums over n^2 elements, which cancel.
  expect_close(b.gradient[0], -a.gradient.front(), 1e-8);
  expect_close(b.gradient[1], a.gradient.back(), 1e-8);
  expect_close(bayes.negative_log_predictive_density(at, targets(at, 2, 0)),
               gp.negative_log_predictive_density(at, targets(at, 2, 0)));

  // The model of the mean says the same, also from a file that has the posterior.
  const testing::TemporaryDirectory directory;
  save(bayes, directory / "bayes.safetensors");
  const Tensor mean = Predictor(load_model(directory / "bayes.safetensors")).predict(at);
  auto loaded = load_posterior(directory / "bayes.safetensors");
  ASSERT_TRUE(loaded);
  const auto again = std::get<NeuralLinearModel>(*loaded).predict(at);
  for (Index i = 0; i < 40; ++i) {
    expect_close(element(again.variance, i, 0), element(seen.variance, i, 0), 1e-13);
    for (Index j = 0; j < 2; ++j) {
      expect_close(element(mean, i, j), element(expected.mean, i, j));
      expect_close(element(again.mean, i, j), element(seen.mean, i, j), 1e-13);
    }
  }
}

// Bishop, eq. 3.53 and 3.54, by elimination in long double.
TEST(NeuralLinear, HasThePosteriorOfTheWeights) {
  const Model model = network(2);
  const Tensor x = noise(50, 3, 4), y = targets(x, 1, 0.2);
  NeuralLinearModel bayes(model, 1, {.prior_precision = 2, .noise = 0.5});
  bayes.add(x, y);
  const Tensor phi = model.features(x);
  long double system[3][7] = {};
  for (Index i = 0; i < 50; ++i) {
    const long double f[3] = {element(phi, i, 0), element(phi, i, 1), 1};
    for (int a = 0; a < 3; ++a) {
      for (int b = 0; b < 3; ++b) system[a][b] += f[a] * f[b] / 0.5L;
      system[a][6] += f[a] * element(y, i, 0) / 0.5L;
    }
  }
  for (int a = 0; a < 3; ++a) {
    system[a][a] += 2;
    system[a][3 + a] = 1;
  }
  for (int p = 0; p < 3; ++p) {
    const long double pivot = system[p][p];
    for (long double& value : system[p]) value /= pivot;
    for (int a = 0; a < 3; ++a) {
      if (a == p) continue;
      const long double factor = system[a][p];
      for (int b = 0; b < 7; ++b) system[a][b] -= factor * system[p][b];
    }
  }
  for (Index a = 0; a < 3; ++a) {
    expect_close(element(bayes.mean(), a, 0), static_cast<double>(system[a][6]), 1e-13);
    for (Index b = 0; b < 3; ++b) {
      expect_close(element(bayes.covariance(), a, b), static_cast<double>(system[a][3 + b]), 1e-13);
    }
  }
}

// MacKay's conditions at the maximum, Bishop eq. 3.92 and 3.95, for two targets together.
TEST(NeuralLinear, MaximizesTheEvidence) {
  const Model model = network();
  const Tensor x = noise(400, 3, 5), y = targets(x, 2, 0.3);
  NeuralLinearModel bayes(model, 2);
  bayes.add(x, y);
  const double before = bayes.log_marginal_likelihood().value;
  const OptimizeResult result = bayes.optimize();
  EXPECT_TRUE(result.converged);
  EXPECT_GT(result.log_marginal_likelihood, before);
  expect_close(bayes.log_marginal_likelihood().value, result.log_marginal_likelihood, 1e-13);
  const Tensor mean = bayes.mean(), covariance = bayes.covariance(), fitted = bayes.predict(x).mean;
  double determined = 8, squares = 0, residuals = 0;
  for (Index i = 0; i < 8; ++i) {
    determined -= bayes.prior_precision() * element(covariance, i, i);
    for (Index j = 0; j < 2; ++j) squares += std::pow(element(mean, i, j), 2);
  }
  for (Index i = 0; i < 400; ++i) {
    for (Index j = 0; j < 2; ++j)
      residuals += std::pow(element(y, i, j) - element(fitted, i, j), 2);
  }
  expect_close(bayes.prior_precision(), 2 * determined / squares, 1e-5);
  expect_close(bayes.noise(), residuals / (2 * (400 - determined)), 1e-6);
}

// Weights drawn from the prior, data from the weights: 90 % intervals hold 90 % of new targets.
TEST(NeuralLinear, IsCalibrated) {
  const Model model = network();
  constexpr Index kSets = 400, kRows = 12, kNew = 25;
  constexpr double kAlpha = 1.5, kNoise = 0.3, kQuantile = 1.6448536269514722;
  const Tensor weights = noise(kSets, 7, 21);
  Index inside = 0;
  double score = 0;
  for (Index set = 0; set < kSets; ++set) {
    const auto seed = static_cast<std::uint64_t>(1000 + set);
    const Tensor x = noise(kRows + kNew, 3, seed), e = noise(kRows + kNew, 1, seed + 5000);
    const Tensor phi = model.features(x);
    Tensor y({kRows + kNew, 1}, DType::kFloat64);
    for (Index i = 0; i < y.rows(); ++i) {
      double& target = y.as<double>()(i, 0);
      target = std::sqrt(kNoise) * element(e, i, 0);
      for (Index j = 0; j < 7; ++j) {
        target += element(phi, i, j) * element(weights, set, j) / std::sqrt(kAlpha);
      }
    }
    NeuralLinearModel bayes(model, 1, {.prior_precision = kAlpha, .noise = kNoise, .bias = false});
    bayes.add(testing::rows_of(x, 0, kRows), testing::rows_of(y, 0, kRows));
    const auto at = bayes.predict(testing::rows_of(x, kRows, kNew));
    for (Index i = 0; i < kNew; ++i) {
      const double error = element(y, kRows + i, 0) - element(at.mean, i, 0);
      const double variance = element(at.variance, i, 0) + kNoise;
      inside += std::abs(error) <= kQuantile * std::sqrt(variance) ? 1 : 0;
      score += error * error / variance;
    }
  }
  constexpr double kTotal = kSets * kNew;
  // Targets of one set are not independent: some four standard deviations of the sets' shares.
  EXPECT_NEAR(static_cast<double>(inside) / kTotal, 0.9, 0.02);
  EXPECT_NEAR(score / kTotal, 1, 0.06);
}

TEST(NeuralLinear, HasTheSameBitsForAnyNumberOfThreads) {
  const Model model = network(40);
  const Tensor x = noise(3000, 3, 6), y = targets(x, 1, 0.1), at = noise(1500, 3, 7);
  std::vector<std::string> seen;
  for (const int threads : {1, 2, 3, 8}) {
    NeuralLinearModel bayes(model, 1, {.threads = threads});
    bayes.add(x, y);
    bayes.optimize({.restarts = 1});
    const auto prediction = bayes.predict(at);
    seen.push_back(testing::bits(prediction.mean.view()) +
                   testing::bits(prediction.variance.view()));
  }
  for (const std::string& other : seen) EXPECT_EQ(other, seen.front());
}

TEST(NeuralLinear, KeepsThePriorBeforeAnyRows) {
  const Model model = network();
  NeuralLinearModel bayes(model, 1, {.prior_precision = 4, .bias = false, .center_targets = true});
  const Tensor x = noise(3, 3, 1), phi = model.features(x);
  const auto at = bayes.predict(x);
  for (Index i = 0; i < 3; ++i) {
    double squares = 0;
    for (Index j = 0; j < 7; ++j) squares += std::pow(element(phi, i, j), 2);
    EXPECT_EQ(element(at.mean, i, 0), 0);
    expect_close(element(at.variance, i, 0), squares / 4, 1e-14);
  }
  EXPECT_THROW(bayes.optimize(), ArgumentError);
}

TEST(NeuralLinear, SaysWhatIsWrong) {
  const Model model = network();
  EXPECT_THAT(message_of<ArgumentError>([&] { NeuralLinearModel(model, 1, {.noise = 0}); }),
              HasSubstr("got noise 0"));
  EXPECT_THROW(NeuralLinearModel(model, 0), ArgumentError);
  EXPECT_THROW(NeuralLinearModel(model, 1, {.layer = 3}), ArgumentError);
  NeuralLinearModel bayes(model);
  EXPECT_THAT(message_of<ShapeError>([&] { bayes.add(noise(3, 2, 1), noise(3, 1, 1)); }),
              HasSubstr("got x [3, 2] and y [3, 1], expected [n, 3] and [n, 1]"));
  Tensor y = noise(3, 1, 1);
  y.as<double>()(2, 0) = std::nan("");
  EXPECT_THAT(message_of<ArgumentError>([&] { bayes.add(noise(3, 3, 1), y); }),
              HasSubstr("y has nan in row 2"));
  EXPECT_EQ(bayes.rows(), 0);
  EXPECT_THROW(bayes.predict(noise(3, 2, 1)), ShapeError);
  EXPECT_THROW(bayes.set_hyperparameters(1, -1), ArgumentError);
  EXPECT_THROW(NeuralLinearModel(model, NeuralLinearSums{}, {}), ShapeError);
}

TEST(PosteriorFile, RefusesDamageAndKnowsPlainModels) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "model.safetensors";
  save(network(), path);
  EXPECT_FALSE(load_posterior(path));
  NeuralLinearModel bayes(network(2));
  bayes.schema().target_name = "price";
  bayes.add(noise(20, 3, 1), noise(20, 1, 2));
  save(bayes, path);
  EXPECT_EQ(std::get<NeuralLinearModel>(*load_posterior(path)).schema().target_name, "price");
  const std::string valid = testing::read_text(path);
  const testing::MutationCount count = testing::mutate(valid, 300, [&](const std::string& text) {
    testing::write_text(path, text);
    load_posterior(path);
  });
  EXPECT_GT(count.refused, 100);
  TensorFile file = read_safetensors(testing::bytes_of(valid));
  for (auto& [name, tensor] : file.tensors) {
    if (name == "posterior.gram") tensor = Tensor({2, 2}, DType::kFloat64);
  }
  write_safetensors(file, path);
  EXPECT_THAT(testing::error_of([&] { load_posterior(path); }), HasSubstr("expected [3, 3]"));
}

}  // namespace
}  // namespace chainrule
