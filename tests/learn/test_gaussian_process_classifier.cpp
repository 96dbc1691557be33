// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/gaussian_process_classifier.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "chainrule/core/error.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

using LongMatrix = std::vector<std::vector<long double>>;
using LongVector = std::vector<long double>;

// The inverse and the determinant by Gauss and Jordan, without pivots: for well conditioned ones.
struct Inverted {
  LongMatrix inverse;
  long double determinant = 1;
};

Inverted inverted(LongMatrix a) {
  const std::size_t n = a.size();
  Inverted result{LongMatrix(n, LongVector(n)), 1};
  for (std::size_t i = 0; i < n; ++i) result.inverse[i][i] = 1;
  for (std::size_t k = 0; k < n; ++k) {
    const long double pivot = a[k][k];
    result.determinant *= pivot;
    for (std::size_t j = 0; j < n; ++j) {
      a[k][j] /= pivot;
      result.inverse[k][j] /= pivot;
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (i == k) continue;
      const long double factor = a[i][k];
      for (std::size_t j = 0; j < n; ++j) {
        a[i][j] -= factor * a[k][j];
        result.inverse[i][j] -= factor * result.inverse[k][j];
      }
    }
  }
  return result;
}

LongVector times(const LongMatrix& a, const LongVector& x) {
  LongVector result(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < x.size(); ++j) result[i] += a[i][j] * x[j];
  }
  return result;
}

long double inner(const LongVector& a, const LongVector& b) {
  long double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Laplace's approximation by its definition (Rasmussen & Williams, 3.4), for targets -1 and 1.
struct PlainLaplace {
  PlainLaplace(const LongMatrix& k, const std::vector<int>& y) : f(y.size()), slope(y.size()) {
    const std::size_t n = y.size();
    const LongMatrix inverse_k = inverted(k).inverse;
    LongVector w(n);
    for (int iteration = 0; iteration < 60; ++iteration) {
      LongMatrix precision = inverse_k;  // minus the Hessian of the log posterior
      for (std::size_t i = 0; i < n; ++i) {
        const long double p = 1 / (1 + std::exp(-f[i]));
        slope[i] = (y[i] > 0 ? 1 : 0) - p;
        w[i] = p * (1 - p);
        precision[i][i] += w[i];
      }
      covariance = inverted(precision).inverse;
      LongVector gradient = slope;
      const LongVector a = times(inverse_k, f);
      for (std::size_t i = 0; i < n; ++i) gradient[i] -= a[i];
      const LongVector move = times(covariance, gradient);
      for (std::size_t i = 0; i < n; ++i) f[i] += move[i];
    }
    LongMatrix b = k;  // I + K W
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) b[i][j] = k[i][j] * w[j] + (i == j ? 1 : 0);
      log_likelihood -= std::log1p(std::exp(-static_cast<long double>(y[i]) * f[i]));
    }
    log_likelihood -= inner(f, times(inverse_k, f)) / 2 + std::log(inverted(b).determinant) / 2;
    LongMatrix noisy = k;  // K + W^-1
    for (std::size_t i = 0; i < n; ++i) noisy[i][i] += 1 / w[i];
    explained = inverted(noisy).inverse;
  }

  LongVector f;
  LongVector slope;
  LongMatrix covariance;
  LongMatrix explained;
  long double log_likelihood = 0;
};

LongMatrix long_gram(const Tensor& k) {
  LongMatrix result(static_cast<std::size_t>(k.rows()));
  for (Index i = 0; i < k.rows(); ++i) {
    for (Index j = 0; j < k.columns(); ++j) {
      result[static_cast<std::size_t>(i)].push_back(element(k, i, j));
    }
  }
  return result;
}

const std::vector<std::int32_t> kLabels{0, 1, 1, 0, 1, 0, 2, 2, 1, 2, 0, 1};

TEST(GaussianProcessClassifier, IsLaplacesApproximation) {
  const Tensor x = noise(12, 2, 1), at = noise(3, 2, 2);
  const CovarianceKernel kernel = scaled(rbf_kernel(0.8), 4);
  std::vector<std::int32_t> labels;
  std::vector<int> targets;
  for (std::int32_t label : kLabels) {
    labels.push_back(label == 1 ? 1 : 0);
    targets.push_back(label == 1 ? 1 : -1);
  }
  GaussianProcessClassifier gp(kernel);
  gp.fit(x, labels, 2);
  const PlainLaplace plain(long_gram(kernel.gram(x)), targets);
  EXPECT_NEAR(gp.log_marginal_likelihood().value, static_cast<double>(plain.log_likelihood), 1e-12);
  const LatentPrediction latent = gp.predict_latent(at);
  const Tensor across = kernel.gram(x, at);
  for (Index i = 0; i < 3; ++i) {
    LongVector k;
    for (Index j = 0; j < 12; ++j) k.push_back(element(across, j, i));
    EXPECT_NEAR(element(latent.mean, i, 0), static_cast<double>(inner(k, plain.slope)), 1e-12);
    EXPECT_NEAR(element(latent.variance, i, 0),
                static_cast<double>(4 - inner(k, times(plain.explained, k))), 1e-12);
    const Tensor p = gp.predict(at);
    EXPECT_NEAR(element(p, i, 0) + element(p, i, 1), 1, 1e-15);
    EXPECT_NEAR(element(p, i, 1),
                expected_logistic(element(latent.mean, i, 0), element(latent.variance, i, 0)),
                1e-15);
  }
}

TEST(GaussianProcessClassifier, OneAgainstTheRest) {
  const Tensor x = noise(12, 2, 1);
  const CovarianceKernel kernel = scaled(rbf_kernel(0.8), 4);
  GaussianProcessClassifier gp(kernel);
  gp.fit(x, kLabels, 3);
  double sum = 0;
  const Tensor p = gp.predict(x);
  for (std::int32_t c = 0; c < 3; ++c) {
    std::vector<std::int32_t> one;
    for (std::int32_t label : kLabels) one.push_back(label == c ? 1 : 0);
    GaussianProcessClassifier single(kernel);
    single.fit(x, one, 2);
    sum += single.log_marginal_likelihood().value;
    EXPECT_NEAR(element(gp.predict_latent(x).mean, 5, c),
                element(single.predict_latent(x).mean, 5, 0), 1e-13);
  }
  EXPECT_NEAR(gp.log_marginal_likelihood().value, sum, 1e-12);
  for (Index i = 0; i < 12; ++i) {
    EXPECT_NEAR(element(p, i, 0) + element(p, i, 1) + element(p, i, 2), 1, 1e-15);
  }
}

TEST(GaussianProcessClassifier, TheGradientAgreesWithDifferences) {
  const Tensor x = noise(12, 2, 1);
  const CovarianceKernel kernel = scaled(ard_rbf_kernel({0.8, 1.5}), 4) + linear_kernel();
  const auto likelihood = [&](const std::vector<double>& theta, bool with_gradient) {
    CovarianceKernel moved = kernel;
    moved.set_theta(theta);
    GaussianProcessClassifier gp(moved, {.tolerance = 1e-13});
    gp.fit(x, kLabels, 3);
    return gp.log_marginal_likelihood(with_gradient);
  };
  const std::vector<double> theta = kernel.theta();
  const std::vector<double> gradient = likelihood(theta, true).gradient;
  ASSERT_EQ(gradient.size(), 3U);
  for (std::size_t h = 0; h < theta.size(); ++h) {
    const auto slope = [&](double step) {
      std::vector<double> up = theta, down = theta;
      up[h] += step;
      down[h] -= step;
      return (likelihood(up, false).value - likelihood(down, false).value) / (2 * step);
    };
    const double expected = (4 * slope(5e-3) - slope(1e-2)) / 3;
    EXPECT_NEAR(gradient[h], expected, 1e-8) << kernel.hyperparameters()[h].name;
  }
}

TEST(GaussianProcessClassifier, LearnsIrisAndItsHyperparameters) {
  const Split split = testing::reference_split("iris");
  GaussianProcessClassifier gp(scaled(rbf_kernel(), 1));
  gp.fit(split.train.x, split.train.labels, 3);
  const double before = gp.log_marginal_likelihood().value;
  const OptimizeResult result = gp.optimize({.restarts = 0, .tolerance = 1e-3});
  EXPECT_GT(result.log_marginal_likelihood, before);
  EXPECT_TRUE(result.converged);
  const std::vector<std::int32_t> classes = gp.classify(split.test.x);
  int errors = 0;
  for (std::size_t i = 0; i < classes.size(); ++i) errors += classes[i] != split.test.labels[i];
  EXPECT_LE(errors, 1);  // of 30
}

TEST(GaussianProcessClassifier, HasTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Tensor x = noise(400, 3, 6);
  std::vector<std::int32_t> labels;
  for (Index i = 0; i < 400; ++i) labels.push_back(element(x, i, 0) > 0.3 ? 1 : 0);
  std::string first;
  for (const int threads : {1, 2, 3, 8}) {
    GaussianProcessClassifier gp(scaled(rbf_kernel(), 2), {.threads = threads});
    gp.fit(x, labels, 2);
    const std::vector<double> gradient = gp.log_marginal_likelihood(true).gradient;
    const std::string all =
        testing::bits(gp.predict(noise(30, 3, 7))) + testing::bits(testing::matrix(2, 1, gradient));
    if (threads == 1) first = all;
    EXPECT_TRUE(all == first) << threads;
  }
}

// By Simpson's rule in long double with many more points.
TEST(ExpectedLogistic, IsTheMeanOverTheLatentValue) {
  for (const double mean : {0.0, 0.3, -2.0, 8.0}) {
    for (const double variance : {0.0, 1e-3, 1.0, 30.0, 2500.0}) {
      const long double deviation = std::sqrt(static_cast<long double>(variance));
      const int intervals = 40'000;
      const long double step = 24.0L / intervals;
      long double sum = 0;
      for (int i = 0; i <= intervals; ++i) {
        const long double t = -12 + i * step;
        const int weight = i == 0 || i == intervals ? 1 : i % 2 == 1 ? 4 : 2;
        sum += weight * std::exp(-t * t / 2) / (1 + std::exp(-(mean + deviation * t)));
      }
      const long double expected = sum * step / 3 / std::sqrt(2 * std::numbers::pi_v<long double>);
      EXPECT_NEAR(expected_logistic(mean, variance), static_cast<double>(expected), 1e-12)
          << mean << ", " << variance;
    }
  }
}

TEST(GaussianProcessClassifier, RefusesBadInput) {
  EXPECT_THROW(GaussianProcessClassifier(rbf_kernel(), {.tolerance = 0}), ArgumentError);
  GaussianProcessClassifier gp(rbf_kernel());
  Tensor x = noise(12, 2, 1);
  EXPECT_THAT(message_of<ArgumentError>([&] { gp.predict(x); }), HasSubstr("fit()"));
  EXPECT_THROW(gp.log_marginal_likelihood(), ArgumentError);
  EXPECT_THROW(gp.optimize(), ArgumentError);
  EXPECT_THROW(gp.fit(noise(11, 2, 1), kLabels, 3), ShapeError);
  EXPECT_THROW(gp.fit(x, kLabels, 1), ArgumentError);
  EXPECT_THAT(message_of<ArgumentError>([&] { gp.fit(x, kLabels, 2); }),
              HasSubstr("label 2 in row 6 of 2 classes"));
  gp.fit(x, kLabels, 3);
  EXPECT_THROW(gp.predict(noise(3, 3, 1)), ShapeError);
  x.as<double>()(1, 1) = std::numeric_limits<double>::infinity();
  EXPECT_THAT(message_of<ArgumentError>([&] { gp.fit(x, kLabels, 3); }),
              HasSubstr("x has inf in row 1, column 1"));
  GaussianProcessClassifier hasty(rbf_kernel(), {.max_iterations = 1});
  EXPECT_THAT(message_of<Error>([&] { hasty.fit(noise(12, 2, 1), kLabels, 3); }),
              HasSubstr("has not converged in 1 steps"));
}

}  // namespace
}  // namespace chainrule
