// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/last_layer_laplace.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/glm.hpp"
#include "chainrule/learn/posterior_file.hpp"
#include "file_support.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

// Labels of a logistic regression with the given coefficients, classes 0 and 1.
Dataset logistic_data(Index rows, const std::vector<double>& w, double b, std::uint64_t seed) {
  Dataset data{.x = noise(rows, static_cast<Index>(w.size()), seed)};
  std::vector<double> uniform(static_cast<std::size_t>(rows));
  fill_random_uniform({.seed = seed + 1}, 0, uniform);
  for (Index i = 0; i < rows; ++i) {
    double z = b;
    for (std::size_t j = 0; j < w.size(); ++j)
      z += w[j] * element(data.x, i, static_cast<Index>(j));
    data.labels.push_back(uniform[static_cast<std::size_t>(i)] < 1 / (1 + std::exp(-z)) ? 1 : 0);
  }
  return data;
}

// The mode under N(0, 1 / alpha) of each weight.
Model mode(Model model, const Dataset& data, double alpha) {
  EXPECT_TRUE(fit_glm(model, data, {.l2 = alpha, .penalize_bias = true}).converged);
  return model;
}

long double log_sigmoid(long double z) { return -std::log1p(std::exp(-z)); }

// Exact posterior predictive and evidence on a grid over one weight and a bias.
struct Exact {
  long double log_evidence;
  std::vector<long double> probability;
};

Exact integrate(const Dataset& data, double alpha, const std::vector<double>& at) {
  constexpr int kSteps = 160;
  constexpr long double kReach = 6;
  const long double h = 2 * kReach / kSteps;
  long double total = 0, largest = -1e30L;
  std::vector<long double> logs, probability(at.size());
  const auto log_joint = [&](long double w, long double b) {
    long double sum = -static_cast<long double>(alpha) / 2 * (w * w + b * b) +
                      std::log(static_cast<long double>(alpha) / (2 * std::acos(-1.0L)));
    for (Index i = 0; i < data.rows(); ++i) {
      const long double z = w * element(data.x, i, 0) + b;
      sum += log_sigmoid(data.labels[static_cast<std::size_t>(i)] == 1 ? z : -z);
    }
    return sum;
  };
  for (int i = 0; i <= kSteps; ++i) {
    for (int j = 0; j <= kSteps; ++j) logs.push_back(log_joint(-kReach + i * h, -kReach + j * h));
  }
  for (const long double value : logs) largest = std::max(largest, value);
  for (int i = 0; i <= kSteps; ++i) {
    for (int j = 0; j <= kSteps; ++j) {
      const auto k = static_cast<std::size_t>(i * (kSteps + 1) + j);
      const long double mass = std::exp(logs[k] - largest) * h * h;
      total += mass;
      for (std::size_t a = 0; a < at.size(); ++a) {
        probability[a] += mass / (1 + std::exp(-((-kReach + i * h) * at[a] + (-kReach + j * h))));
      }
    }
  }
  for (long double& p : probability) p /= total;
  return {.log_evidence = largest + std::log(total), .probability = probability};
}

// E[sigmoid(z)] for a normal z.
double mean_sigmoid(double mean, double variance) {
  double sum = 0;
  constexpr double kStep = 0.01;
  for (double u = -9; u < 9; u += kStep) {
    const double density = std::exp(-u * u / 2) / std::sqrt(2 * std::acos(-1.0));
    sum += kStep * density / (1 + std::exp(-(mean + std::sqrt(variance) * u)));
  }
  return sum;
}

// The posterior comes closer to a normal one with more rows, in proportion to them.
TEST(LastLayerLaplace, ComesCloseToTheExactIntegral) {
  constexpr double kAlpha = 1;
  const std::vector<double> points{-6, -2, -0.5, 0, 0.7, 2, 6};
  for (const Index rows : {15, 60, 240}) {
    const Dataset data = logistic_data(rows, {1.2}, 0.4, 31);
    const Model model = mode(Model({Linear{1, 1}}, Bernoulli{}, DType::kFloat64), data, kAlpha);
    LastLayerLaplace laplace(model, {.prior_precision = kAlpha});
    laplace.add(data);
    const Exact exact = integrate(data, kAlpha, points);
    const auto at = laplace.predict(Tensor::from<double>({7, 1}, points));
    const auto n = static_cast<double>(rows);
    for (Index i = 0; i < 7; ++i) {
      EXPECT_NEAR(element(at.probability, i, 0),
                  static_cast<double>(exact.probability[static_cast<std::size_t>(i)]), 1 / n)
          << rows << " rows, point " << i;
      EXPECT_NEAR(element(at.probability, i, 0),
                  mean_sigmoid(element(at.logit_mean, i, 0), element(at.logit_variance, i, 0)),
                  0.02);
    }
    EXPECT_NEAR(laplace.log_marginal_likelihood().value, static_cast<double>(exact.log_evidence),
                1.5 / n);
  }
}

// The covariance and the formulas from the weights, in long double.
TEST(LastLayerLaplace, FollowsItsFormulas) {
  Dataset data = logistic_data(40, {1, -0.5}, 0.2, 5);
  data.weights = noise(40, 1, 6);
  for (Index i = 0; i < 40; ++i) {
    double& w = data.weights.as<double>()(i, 0);
    w = std::abs(w);
  }
  const Model model({Linear{2, 1}}, Bernoulli{}, DType::kFloat64, 8);
  LastLayerLaplace laplace(model, {.prior_precision = 0.7});
  laplace.add(data.subset(std::vector<std::uint32_t>{0, 1, 2}));
  std::vector<std::uint32_t> rest;
  for (std::uint32_t i = 3; i < 40; ++i) rest.push_back(i);
  laplace.add(data.subset(rest));
  EXPECT_EQ(laplace.rows(), 40);
  const long double w[3] = {element(model.parameters().view("0.weight"), 0, 0),
                            element(model.parameters().view("0.weight"), 1, 0),
                            element(model.parameters().view("0.bias"), 0, 0)};
  long double system[3][6] = {}, log_likelihood = 0, determinant = 1, squares = 0;
  for (Index i = 0; i < 40; ++i) {
    const long double f[3] = {element(data.x, i, 0), element(data.x, i, 1), 1};
    const long double z = f[0] * w[0] + f[1] * w[1] + w[2], p = 1 / (1 + std::exp(-z));
    const long double weight = element(data.weights, i, 0);
    log_likelihood += weight * log_sigmoid(data.labels[static_cast<std::size_t>(i)] == 1 ? z : -z);
    for (int a = 0; a < 3; ++a) {
      for (int b = 0; b < 3; ++b) system[a][b] += weight * p * (1 - p) * f[a] * f[b];
    }
  }
  for (int a = 0; a < 3; ++a) {
    system[a][a] += 0.7;
    system[a][3 + a] = 1;
    squares += w[a] * w[a];
  }
  for (int p = 0; p < 3; ++p) {
    const long double pivot = system[p][p];
    determinant *= pivot;
    for (long double& value : system[p]) value /= pivot;
    for (int a = 0; a < 3; ++a) {
      if (a == p) continue;
      const long double factor = system[a][p];
      for (int b = 0; b < 6; ++b) system[a][b] -= factor * system[p][b];
    }
  }
  const Tensor covariance = laplace.covariance();
  for (Index a = 0; a < 3; ++a) {
    for (Index b = 0; b < 3; ++b) {
      EXPECT_NEAR(element(covariance, a, b), static_cast<double>(system[a][3 + b]), 1e-13);
    }
  }
  EXPECT_NEAR(
      laplace.log_marginal_likelihood().value,
      static_cast<double>(log_likelihood +
                          (3 * std::log(0.7L) - 0.7L * squares - std::log(determinant)) / 2),
      1e-11);
  const Tensor x = noise(5, 2, 9);
  const auto at = laplace.predict(x);
  for (Index i = 0; i < 5; ++i) {
    const long double f[3] = {element(x, i, 0), element(x, i, 1), 1};
    long double mean = 0, variance = 0;
    for (int a = 0; a < 3; ++a) {
      mean += f[a] * w[a];
      for (int b = 0; b < 3; ++b) variance += f[a] * system[a][3 + b] * f[b];
    }
    EXPECT_NEAR(element(at.logit_mean, i, 0), static_cast<double>(mean), 1e-14);
    EXPECT_NEAR(element(at.logit_variance, i, 0), static_cast<double>(variance), 1e-13);
    const long double z = mean / std::sqrt(1 + std::acos(-1.0L) / 8 * variance);
    EXPECT_NEAR(element(at.probability, i, 0), static_cast<double>(1 / (1 + std::exp(-z))), 1e-14);
  }
}

// Weights of two classes with precision alpha differ with precision alpha / 2.
TEST(LastLayerLaplace, OfTwoSoftmaxClassesIsTheBinaryOne) {
  const Dataset data = logistic_data(80, {1, -0.5}, 0.2, 12);
  constexpr double kAlpha = 0.8;
  const Model softmax = mode(Model({Linear{2, 2}}, Categorical{}, DType::kFloat64), data, kAlpha);
  const Model binary = mode(Model({Linear{2, 1}}, Bernoulli{}, DType::kFloat64), data, kAlpha / 2);
  LastLayerLaplace two(softmax, {.prior_precision = kAlpha}),
      one(binary, {.prior_precision = kAlpha / 2});
  two.add(data);
  one.add(data);
  EXPECT_EQ(two.weights(), 6);
  EXPECT_EQ(one.weights(), 3);
  const Tensor x = noise(20, 2, 13);
  const auto a = two.predict(x), b = one.predict(x);
  for (Index i = 0; i < 20; ++i) {
    EXPECT_NEAR(element(a.probability, i, 1), element(b.probability, i, 0), 1e-9);
    EXPECT_NEAR(element(a.probability, i, 0) + element(a.probability, i, 1), 1, 1e-14);
  }
  EXPECT_NEAR(two.log_marginal_likelihood().value, one.log_marginal_likelihood().value, 1e-8);
}

// With expected information and the same penalty, fit_glm() finds the same covariance its own way.
TEST(LastLayerLaplace, HasTheInformationOfTheGlm) {
  Dataset data = testing::reference_split("iris").train;
  Model model({Linear{4, 3}}, Categorical{}, DType::kFloat64);
  const GlmFit fit = fit_glm(model, data, {.l2 = 0.3, .penalize_bias = true});
  LastLayerLaplace laplace(model, {.prior_precision = 0.3});
  laplace.add(data);
  const Tensor covariance = laplace.covariance();
  for (Index i = 0; i < 15; ++i) {
    for (Index j = 0; j < 15; ++j) {
      EXPECT_NEAR(element(covariance, i % 3 * 5 + i / 3, j % 3 * 5 + j / 3),
                  element(fit.covariance, i, j), 1e-10);
    }
  }
}

TEST(LastLayerLaplace, MaximizesTheEvidenceOverThePrior) {
  const Dataset data = logistic_data(200, {1, -0.5, 0}, 0.2, 14);
  const Model model = mode(Model({Linear{3, 1}}, Bernoulli{}, DType::kFloat64), data, 1);
  LastLayerLaplace laplace(model);
  laplace.add(data);
  const OptimizeResult result = laplace.optimize();
  EXPECT_TRUE(result.converged);
  // MacKay's condition: alpha |w|^2 = the number of well-determined weights.
  double determined = 4, squares = std::pow(element(model.parameters().view("0.bias"), 0, 0), 2);
  const Tensor covariance = laplace.covariance();
  for (Index i = 0; i < 4; ++i) {
    determined -= laplace.prior_precision() * element(covariance, i, i);
    if (i < 3) squares += std::pow(element(model.parameters().view("0.weight"), i, 0), 2);
  }
  EXPECT_NEAR(laplace.prior_precision() * squares, determined, 1e-4);
}

// Far from the data a trained network's classes are less certain than it says (Kristiadi et al.).
TEST(LastLayerLaplace, DoubtsWhatIsFarAway) {
  const Dataset data = testing::blobs(120, 2, 3, 4);
  Model model({Linear{2, 16}, Relu{}, Linear{16, 3}}, Categorical{}, DType::kFloat64, 2);
  model = mode(model, data, 0.1);
  LastLayerLaplace laplace(model, {.prior_precision = 0.1});
  laplace.add(data);
  Tensor far = noise(30, 2, 8);
  for (Index i = 0; i < 30; ++i) {
    for (Index j = 0; j < 2; ++j) far.as<double>()(i, j) *= 1000;
  }
  const auto at = laplace.predict(far);
  double surest = 0;
  for (Index i = 0; i < 30; ++i) {
    double sum = 0;
    for (Index k = 0; k < 3; ++k) {
      surest = std::max(surest, element(at.probability, i, k));
      sum += element(at.probability, i, k);
    }
    EXPECT_NEAR(sum, 1, 1e-14);
  }
  EXPECT_LT(surest, 0.999);
}

TEST(LastLayerLaplace, HasTheSameBitsForAnyNumberOfThreadsAndInAFile) {
  const Dataset data = testing::blobs(2500, 5, 4, 4);
  const Model model({Linear{5, 30}, Tanh{}, Linear{30, 4}}, Categorical{}, DType::kFloat64, 2);
  const Tensor x = noise(1300, 5, 3);
  std::vector<std::string> seen;
  for (const int threads : {1, 2, 3, 8}) {
    LastLayerLaplace laplace(model, {.threads = threads});
    laplace.add(data);
    seen.push_back(testing::bits(laplace.predict(x).probability.view()));
    const testing::TemporaryDirectory directory;
    save(laplace, directory / "laplace.safetensors");
    const auto loaded = load_posterior(directory / "laplace.safetensors", threads);
    ASSERT_TRUE(loaded);
    const auto& again = std::get<LastLayerLaplace>(*loaded);
    seen.push_back(testing::bits(again.predict(x).probability.view()));
    EXPECT_EQ(again.log_marginal_likelihood().value, laplace.log_marginal_likelihood().value);
  }
  for (const std::string& other : seen) EXPECT_EQ(other, seen.front());
}

TEST(LastLayerLaplace, SaysWhatIsWrong) {
  EXPECT_THAT(message_of<ArgumentError>([] {
                LastLayerLaplace(Model({Linear{2, 1}}, Gaussian{}, DType::kFloat64));
              }),
              HasSubstr("likelihood 'mse', expected a Linear layer and binary or softmax"));
  const Model model({Linear{2, 1}}, Bernoulli{}, DType::kFloat64);
  EXPECT_THROW(LastLayerLaplace(model, {.prior_precision = 0}), ArgumentError);
  LastLayerLaplace laplace(model);
  EXPECT_THROW(laplace.optimize(), ArgumentError);
  EXPECT_THROW(laplace.add(Dataset{.x = noise(3, 4, 1), .labels = {0, 1, 0}}), ShapeError);
  EXPECT_THROW(laplace.predict(noise(3, 4, 1)), ShapeError);
  EXPECT_THROW(laplace.set_prior_precision(-1), ArgumentError);
  EXPECT_THROW(LastLayerLaplace(model, LastLayerLaplaceSums{}, {}), ShapeError);
}

}  // namespace
}  // namespace chainrule
