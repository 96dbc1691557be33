// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/gaussian_process.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <numbers>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/infinite_kernel.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/standardizer.hpp"
#include "diabetes.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::Column;
using testing::diabetes;
using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;
using testing::Standardized;

void expect_relative(double value, double expected, double tolerance) {
  EXPECT_NEAR(value, expected, tolerance * std::abs(expected));
}

void expect_relative(const Tensor& column, const nlohmann::json& expected, double tolerance) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    expect_relative(element(column, static_cast<Index>(i), 0), expected[i].get<double>(),
                    tolerance);
  }
}

TEST(GaussianProcess, AgreesWithTheReferenceOnDiabetes) {
  const nlohmann::json& reference = testing::sklearn_reference()["D_gp_diabetes"];
  const nlohmann::json& expected = reference["results"]["s2=1,l=3,noise=0.5"];
  const Standardized data = diabetes();
  GaussianProcess gp(scaled(rbf_kernel(3), 1), {.noise = 0.5});
  gp.fit(data.train.x, data.train.y);

  const LogMarginalLikelihood likelihood = gp.log_marginal_likelihood(true);
  expect_relative(likelihood.value, expected["lml"], 1e-12);
  expect_relative(likelihood.data_fit, expected["datafit_term"], 1e-12);
  expect_relative(likelihood.complexity, expected["complexity_term"], 1e-12);
  ASSERT_EQ(likelihood.gradient.size(), 3U);
  expect_relative(likelihood.gradient[0], expected["d_dlog_s2"], 1e-11);
  expect_relative(likelihood.gradient[1], expected["d_dlog_l"], 1e-11);
  expect_relative(likelihood.gradient[2], expected["d_dlog_noise"], 1e-11);

  const GaussianProcessPrediction at = gp.predict(data.test.x);
  expect_relative(at.mean, expected["mu_first10"], 1e-11);
  expect_relative(at.variance, expected["latent_var_first10"], 1e-11);
  double squares = 0;
  for (Index i = 0; i < data.test.y.rows(); ++i) {
    squares += std::pow(element(at.mean, i, 0) - element(data.test.y, i, 0), 2);
  }
  const double rmse = std::sqrt(squares / static_cast<double>(data.test.y.rows()));
  expect_relative(rmse * reference["y_std"].get<double>(), expected["test_rmse_y"], 1e-11);
  expect_relative(gp.negative_log_predictive_density(data.test.x, data.test.y),
                  expected["test_nlpd_standardised"], 1e-11);
}

std::vector<double> numbers_of(const std::string& name) {
  std::ifstream stream(testing::data_file(name));
  std::vector<double> values;
  for (double value = 0; stream >> value;) values.push_back(value);
  return values;
}

Column snelson() {
  return {testing::matrix(200, 1, numbers_of("snelson_train_inputs.dat")),
          testing::matrix(200, 1, numbers_of("snelson_train_outputs.dat"))};
}

TEST(GaussianProcess, FindsTheOptimumOfSnelsonsDataFromDefaultStarts) {
  const nlohmann::json& results = testing::sklearn_reference()["E_gp_snelson"]["results"];
  const Column data = snelson();
  for (const bool centered : {true, false}) {
    const nlohmann::json& expected = results[centered ? "centred_targets" : "raw_targets"];
    GaussianProcess gp(scaled(rbf_kernel(), 1), {.center_targets = centered});
    gp.fit(data.x, data.y);
    const OptimizeResult result = gp.optimize();
    EXPECT_TRUE(result.converged);
    EXPECT_NEAR(result.log_marginal_likelihood, expected["lml"].get<double>(), 1e-8);
    EXPECT_EQ(gp.log_marginal_likelihood().value, result.log_marginal_likelihood);
    expect_relative(gp.kernel().hyperparameter("variance"), expected["s2"], 1e-5);
    expect_relative(gp.kernel().hyperparameter("length_scale"), expected["l"], 1e-5);
    expect_relative(gp.noise(), expected["noise"], 1e-5);
    GaussianProcessPrediction at = gp.predict(testing::matrix(3, 1, std::vector<double>{0, 3, -1}));
    // The reference's centered mean is that of the centered targets.
    double mean = 0;
    for (Index i = 0; i < 200; ++i) mean += centered ? element(data.y, i, 0) / 200 : 0;
    for (Index i = 0; i < 3; ++i) at.mean.as<double>()(i, 0) -= mean;
    expect_relative(at.mean, expected["mu_at_0_3_m1"], 1e-5);
    expect_relative(at.variance, expected["var_at_0_3_m1"], 1e-5);
  }
}

// Each image with mean 0 and population variance 1.
Tensor standardized_images(const Tensor& images) {
  Tensor x = images.to(DType::kFloat64);
  const auto view = x.as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    double mean = 0, square = 0;
    for (Index j = 0; j < 64; ++j) mean += view(i, j) / 64;
    for (Index j = 0; j < 64; ++j) square += (view(i, j) - mean) * (view(i, j) - mean) / 64;
    for (Index j = 0; j < 64; ++j) view(i, j) = (view(i, j) - mean) / std::sqrt(square);
  }
  return x;
}

void expect_digits_reference(const CovarianceKernel& kernel) {
  const nlohmann::json& results = testing::sklearn_reference()["F_nngp_digits"]["results"];
  const Split split = load_digits().split_every(5);
  const Tensor x = standardized_images(split.train.x), test = standardized_images(split.test.x);
  for (const Index n : {100, 1437}) {
    const nlohmann::json& expected = results["relu,sw2=2,sb2=0.1,L=1,n=" + std::to_string(n)];
    GaussianProcess gp(kernel, {.noise = 1e-3});
    const std::span labels(split.train.labels.data(), static_cast<std::size_t>(n));
    gp.fit(testing::rows_of(x, 0, n), one_hot_targets(labels, 10));
    expect_relative(gp.log_marginal_likelihood().value, expected["lml_sum_10_outputs"], 1e-9);
    const Tensor mean = gp.predict_mean(test);
    for (Index j = 0; j < 10; ++j) {
      EXPECT_NEAR(element(mean, 0, j),
                  expected["pred_first"][static_cast<std::size_t>(j)].get<double>(), 1e-9);
    }
    const std::vector<std::int32_t> classes = gp.classify(test);
    int errors = 0;
    for (std::size_t i = 0; i < classes.size(); ++i) errors += classes[i] != split.test.labels[i];
    EXPECT_EQ(errors, expected["errors"].get<int>());
  }
}

// One hidden layer of rectified units, infinitely wide, is 0.1 + the arc-cosine kernel of order 1:
// weight variance 2 a fan-in of 64, bias variance 0.1, and 2 / 2 in front.
TEST(GaussianProcess, ClassifiesDigitsByRegression) {
  expect_digits_reference(constant_kernel(0.1) + arc_cosine_kernel(1, 2.0 / 64, 0.1));
}

TEST(GaussianProcess, ClassifiesDigitsAsAnInfinitelyWideNetwork) {
  expect_digits_reference(nngp_kernel(1, "relu", {.weight = 2, .bias = 0.1}));
  expect_digits_reference(
      nngp_kernel(InfiniteNetwork(1, DualActivation::relu(), {.weight = 2, .bias = 0.1})));
}

// One observation y of noise s, and k(x, z) = v exp(-(x - z)^2 / 2): all in closed form.
TEST(GaussianProcess, IsRightForOnePoint) {
  const double v = 2, s = 0.3, y = 1.5, z = 0.7, k = v * std::exp(-z * z / 2);
  GaussianProcess gp(scaled(rbf_kernel(), v), {.noise = s});
  gp.fit(testing::matrix(1, 1, std::vector<double>{0}),
         testing::matrix(1, 2, std::vector<double>{y, -2 * y}));
  const GaussianProcessPrediction at = gp.predict(testing::matrix(1, 1, std::vector<double>{z}));
  EXPECT_NEAR(element(at.mean, 0, 0), k / (v + s) * y, 1e-15);
  EXPECT_NEAR(element(at.mean, 0, 1), k / (v + s) * -2 * y, 1e-15);
  EXPECT_NEAR(element(at.variance, 0, 0), v - k * k / (v + s), 1e-15);
  const LogMarginalLikelihood likelihood = gp.log_marginal_likelihood(true);
  EXPECT_NEAR(likelihood.value,
              -0.5 * 5 * y * y / (v + s) - std::log(v + s) - std::log(2 * std::numbers::pi), 1e-14);
  const double by_total = 0.5 * 5 * y * y / ((v + s) * (v + s)) - 1 / (v + s);
  EXPECT_NEAR(likelihood.gradient[0], v * by_total, 1e-14);
  EXPECT_NEAR(likelihood.gradient[1], 0, 1e-14);
  EXPECT_NEAR(likelihood.gradient[2], s * by_total, 1e-14);
}

TEST(GaussianProcess, TheGradientAgreesWithDifferences) {
  GaussianProcess gp(scaled(ard_rbf_kernel({1, 2}) + linear_kernel(), 0.5) * matern52_kernel(3) +
                         arc_cosine_kernel(1, 0.5, 0.3),
                     {.noise = 0.2, .center_targets = true});
  gp.fit(noise(40, 2, 1), noise(40, 3, 2));
  const std::vector<double> theta = gp.theta();
  const std::vector<double> gradient = gp.log_marginal_likelihood(true).gradient;
  ASSERT_EQ(gradient.size(), theta.size());
  for (std::size_t h = 0; h < theta.size(); ++h) {
    const auto slope = [&](double step) {
      std::vector<double> moved = theta;
      moved[h] += step;
      gp.set_theta(moved);
      const double up = gp.log_marginal_likelihood().value;
      moved[h] = theta[h] - step;
      gp.set_theta(moved);
      return (up - gp.log_marginal_likelihood().value) / (2 * step);
    };
    const double expected = (4 * slope(5e-3) - slope(1e-2)) / 3;
    EXPECT_NEAR(gradient[h], expected, 1e-7 * (1 + std::abs(expected)))
        << gp.hyperparameters()[h].name;
  }
}

TEST(GaussianProcess, ColumnsAreFunctionsOfTheirOwn) {
  const Tensor x = noise(30, 2, 3), y = noise(30, 2, 4), at = noise(5, 2, 5);
  GaussianProcess both(rbf_kernel(), {.center_targets = true});
  both.fit(x, y);
  double sum = 0;
  for (Index column = 0; column < 2; ++column) {
    Tensor one({30, 1}, DType::kFloat64);
    for (Index i = 0; i < 30; ++i) one.as<double>()(i, 0) = element(y, i, column);
    GaussianProcess single(rbf_kernel(), {.center_targets = true});
    single.fit(x, one);
    sum += single.log_marginal_likelihood().value;
    for (Index i = 0; i < 5; ++i) {
      EXPECT_NEAR(element(both.predict_mean(at), i, column), element(single.predict_mean(at), i, 0),
                  1e-12);
    }
  }
  EXPECT_NEAR(both.log_marginal_likelihood().value, sum, 1e-10 * std::abs(sum));
}

TEST(GaussianProcess, HasTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Tensor x = noise(500, 3, 6), y = noise(500, 2, 7), at = noise(40, 3, 8);
  std::string first;
  for (const int threads : {1, 2, 3, 8}) {
    GaussianProcess gp(scaled(ard_rbf_kernel({1, 2, 3}), 2), {.noise = 0.1, .threads = threads});
    gp.fit(x, y);
    const GaussianProcessPrediction prediction = gp.predict(at);
    const std::vector<double> gradient = gp.log_marginal_likelihood(true).gradient;
    const std::string all = testing::bits(prediction.mean) + testing::bits(prediction.variance) +
                            testing::bits(testing::matrix(5, 1, gradient));
    if (threads == 1) first = all;
    EXPECT_TRUE(all == first) << threads;
  }
}

TEST(GaussianProcess, OptimizingNeverMakesItWorse) {
  const Column data = snelson();
  GaussianProcess gp(scaled(rbf_kernel(), 1));
  gp.fit(data.x, data.y);
  const double before = gp.log_marginal_likelihood().value;
  const std::vector<double> theta = gp.theta();
  const OptimizeResult none = gp.optimize({.restarts = 0, .max_iterations = 0});
  EXPECT_EQ(none.log_marginal_likelihood, before);
  EXPECT_EQ(gp.theta(), theta);
  EXPECT_FALSE(none.converged);
  const OptimizeResult few = gp.optimize({.restarts = 2, .max_iterations = 2});
  EXPECT_GT(few.log_marginal_likelihood, before);
  EXPECT_EQ(few.values.size(), 3U);
  EXPECT_EQ(few.log_marginal_likelihood, few.values[static_cast<std::size_t>(few.best_start)]);
}

TEST(GaussianProcess, OptimizingTellsHowFarItIsAndStopsWhenTold) {
  const Column data = snelson();
  GaussianProcess gp(scaled(rbf_kernel(), 1), {.center_targets = true});
  gp.fit(data.x, data.y);
  std::vector<OptimizeProgress> seen;
  OptimizeOptions options{.restarts = 3, .max_iterations = 3};
  options.progress = [&](const OptimizeProgress& progress) {
    seen.push_back(progress);
    return progress.start < 2;
  };
  const OptimizeResult result = gp.optimize(options);
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.values.size(), 3U);  // and not the fourth
  ASSERT_EQ(static_cast<int>(seen.size()), result.evaluations);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].evaluations, static_cast<int>(i) + 1);
    EXPECT_EQ(seen[i].starts, 4);
    EXPECT_GE(seen[i].best, seen[i - (i > 0 ? 1 : 0)].best);
  }
  EXPECT_EQ(seen.back().start, 2);
  EXPECT_EQ(seen.back().best, result.log_marginal_likelihood);
  EXPECT_EQ(gp.log_marginal_likelihood().value, result.log_marginal_likelihood);
}

TEST(GaussianProcess, SaysWhatIsNotPositiveDefinite) {
  // Two points that are the same, and noise below the rounding of 1.
  const Tensor x = testing::matrix(2, 1, std::vector<double>{1, 1}), y = noise(2, 1, 9);
  GaussianProcess bare(rbf_kernel(), {.noise = 1e-20});
  EXPECT_THAT(message_of<Error>([&] { bare.fit(x, y); }),
              HasSubstr("not positive definite: the pivot of row 1 (from 0) is 0"));
  EXPECT_THROW(bare.predict(x), ArgumentError);  // not fitted
  GaussianProcess jittered(rbf_kernel(), {.noise = 1e-20, .max_jitter = 1e-6});
  jittered.fit(x, y);
  EXPECT_EQ(jittered.jitter(), 1e-10);
}

TEST(GaussianProcess, KeepsWhatItHadWhenFittingFails) {
  const Tensor x = noise(4, 2, 1), y = noise(4, 1, 2);
  GaussianProcess gp(rbf_kernel());
  gp.fit(x, y);
  const double before = gp.log_marginal_likelihood().value;
  EXPECT_THROW(gp.fit(x, noise(3, 1, 2)), ShapeError);
  std::vector<double> theta = gp.theta();
  theta.back() = 1e4;
  EXPECT_THROW(gp.set_theta(theta), ArgumentError);
  EXPECT_EQ(gp.log_marginal_likelihood().value, before);
}

TEST(GaussianProcess, RefusesBadInput) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(GaussianProcess(rbf_kernel(), {.noise = 0}), ArgumentError);
  EXPECT_THROW(GaussianProcess(rbf_kernel(), {.noise = nan}), ArgumentError);
  EXPECT_THROW(GaussianProcess(rbf_kernel(), {.max_jitter = -1}), ArgumentError);
  GaussianProcess gp(rbf_kernel());
  EXPECT_THAT(message_of<ArgumentError>([&] { gp.optimize(); }), HasSubstr("fit()"));
  EXPECT_THROW(gp.log_marginal_likelihood(), ArgumentError);
  Tensor x = noise(4, 2, 1), y = noise(4, 1, 2);
  gp.fit(x, y);
  EXPECT_THROW(gp.predict(noise(3, 1, 1)), ShapeError);
  EXPECT_THROW(gp.negative_log_predictive_density(x, noise(3, 1, 1)), ShapeError);
  EXPECT_THROW(gp.set_theta(std::vector<double>{1}), ArgumentError);
  EXPECT_THROW(gp.optimize({.restarts = -1}), ArgumentError);
  y.as<double>()(2, 0) = nan;
  EXPECT_THAT(message_of<ArgumentError>([&] { gp.fit(x, y); }),
              HasSubstr("y has nan in row 2, column 0"));
  const std::vector<std::int32_t> labels{0, 3};
  EXPECT_THAT(message_of<ArgumentError>([&] { one_hot_targets(labels, 3); }),
              HasSubstr("label 3 in row 1 of 3 classes"));
}

}  // namespace
}  // namespace chainrule
