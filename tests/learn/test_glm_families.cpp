// SPDX-License-Identifier: Apache-2.0
//
// fit_glm() against an independent solution, and against results that others published.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/glm.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::matrix;
using testing::noise;

using Vector = std::vector<long double>;
using Matrix = std::vector<Vector>;

// One output as its mean, and the variance and density of a target, say.
struct Family {
  Likelihood likelihood;
  std::function<long double(long double eta)> mean;
  std::function<long double(long double mu)> slope;     ///< d mu / d eta
  std::function<long double(long double mu)> variance;  ///< as a multiple of the dispersion
  std::function<long double(long double t, long double mu)> log_density;
};

constexpr long double kShape = 3;
constexpr long double kOverdispersion = 0.7L;

Family poisson() {
  return {.likelihood = Poisson{},
          .mean = [](long double eta) { return std::exp(eta); },
          .slope = [](long double mu) { return mu; },
          .variance = [](long double mu) { return mu; },
          .log_density = [](long double t,
                            long double mu) { return t * std::log(mu) - mu - std::lgamma(t + 1); }};
}

Family gamma() {
  return {.likelihood = Gamma{.shape = static_cast<double>(kShape)},
          .mean = [](long double eta) { return std::exp(eta); },
          .slope = [](long double mu) { return mu; },
          .variance = [](long double mu) { return mu * mu; },
          .log_density = {}};
}

Family negative_binomial_of(long double a) {
  return {.likelihood = NegativeBinomial{.dispersion = static_cast<double>(a)},
          .mean = [](long double eta) { return std::exp(eta); },
          .slope = [](long double mu) { return mu; },
          .variance = [a](long double mu) { return mu + a * mu * mu; },
          .log_density =
              [a](long double t, long double mu) {
                const long double r = 1 / a;
                return std::lgamma(t + r) - std::lgamma(r) - std::lgamma(t + 1) +
                       r * std::log(r / (r + mu)) + t * std::log(mu / (r + mu));
              }};
}

Family negative_binomial() { return negative_binomial_of(kOverdispersion); }

Family bernoulli() {
  return {
      .likelihood = Bernoulli{},
      .mean = [](long double eta) { return 1 / (1 + std::exp(-eta)); },
      .slope = [](long double mu) { return mu * (1 - mu); },
      .variance = [](long double mu) { return mu * (1 - mu); },
      .log_density = [](long double t,
                        long double mu) { return t * std::log(mu) + (1 - t) * std::log(1 - mu); }};
}

struct Solution {
  Vector coefficients;
  Matrix unscaled_covariance;  ///< without the dispersion
  Vector means;
};

// Fisher scoring as iteratively reweighted least squares, by QR (modified Gram-Schmidt), in long
// double: neither the algorithm nor the equations of fit_glm(). design[i] begins with a 1.
Solution irls(const Family& family, const Matrix& design, const Vector& t, const Vector& w,
              const Vector& offset) {
  const std::size_t n = design.size(), p = design.front().size();
  Solution result{.coefficients = Vector(p), .unscaled_covariance = {}, .means = Vector(n)};
  Matrix r;
  for (int iteration = 0; iteration < 100; ++iteration) {
    Matrix q(p, Vector(n));  // columns
    Vector z(n);
    for (std::size_t i = 0; i < n; ++i) {
      const long double eta = offset[i] + std::inner_product(design[i].begin(), design[i].end(),
                                                             result.coefficients.begin(), 0.0L);
      const long double mu = family.mean(eta), slope = family.slope(mu);
      const long double root = std::sqrt(w[i] * slope * slope / family.variance(mu));
      result.means[i] = mu;
      z[i] = root * (eta - offset[i] + (t[i] - mu) / slope);
      for (std::size_t j = 0; j < p; ++j) q[j][i] = root * design[i][j];
    }
    r.assign(p, Vector(p));
    Vector qz(p);
    const auto dot = [](const Vector& a, const Vector& b) {
      return std::inner_product(a.begin(), a.end(), b.begin(), 0.0L);
    };
    for (std::size_t j = 0; j < p; ++j) {
      r[j][j] = std::sqrt(dot(q[j], q[j]));
      for (long double& value : q[j]) value /= r[j][j];
      for (std::size_t k = j + 1; k < p; ++k) {
        r[j][k] = dot(q[j], q[k]);
        for (std::size_t i = 0; i < n; ++i) q[k][i] -= r[j][k] * q[j][i];
      }
      qz[j] = dot(q[j], z);
      for (std::size_t i = 0; i < n; ++i) z[i] -= qz[j] * q[j][i];
    }
    for (std::size_t j = p; j-- > 0;) {
      long double sum = qz[j];
      for (std::size_t k = j + 1; k < p; ++k) sum -= r[j][k] * result.coefficients[k];
      result.coefficients[j] = sum / r[j][j];
    }
  }
  Matrix inverse(p, Vector(p));  // of R, upper
  for (std::size_t k = 0; k < p; ++k) {
    for (std::size_t j = k + 1; j-- > 0;) {
      long double sum = j == k ? 1 : 0;
      for (std::size_t l = j + 1; l <= k; ++l) sum -= r[j][l] * inverse[l][k];
      inverse[j][k] = sum / r[j][j];
    }
  }
  result.unscaled_covariance.assign(p, Vector(p));
  for (std::size_t i = 0; i < p; ++i) {
    for (std::size_t j = 0; j < p; ++j) {
      for (std::size_t k = 0; k < p; ++k) {
        result.unscaled_covariance[i][j] += inverse[i][k] * inverse[j][k];
      }
    }
  }
  return result;
}

// Random data of a family, with weights (some 0) and an offset where there is a log link.
struct Sample {
  Dataset data;
  Matrix design;
  Vector t, w, offset;
};

Sample sample(const Family& family, Index rows, bool extras) {
  const Tensor x = noise(rows, 3, 5), random = noise(rows, 3, 6);
  Sample s;
  s.data.x = Tensor({rows, 3}, DType::kFloat64);
  s.data.y = Tensor({rows, 1}, DType::kFloat64);
  if (extras) s.data.weights = Tensor({rows, 1}, DType::kFloat64);
  const bool with_offset = extras && has_log_link(family.likelihood);
  if (with_offset) s.data.offset = Tensor({rows, 1}, DType::kFloat64);
  const bool classes = is_classification(family.likelihood);
  for (Index i = 0; i < rows; ++i) {
    const double eta = 0.4 + 0.5 * element(x, i, 0) - 0.3 * element(x, i, 1);
    const double e = element(random, i, 0);
    double t = std::exp(eta + 0.5 * e);
    if (!std::holds_alternative<Gamma>(family.likelihood)) t = std::floor(t);
    if (classes) t = eta + e > 0.5 ? 1 : 0;
    const double scales[] = {1, 20, 0.05}, shifts[] = {0, 500, -2};
    s.design.push_back({1});
    for (Index j = 0; j < 3; ++j) {
      double& value = s.data.x.as<double>()(i, j);
      value = element(x, i, j) * scales[j] + shifts[j];
      s.design.back().push_back(value);
    }
    s.data.y.as<double>()(i, 0) = t;
    if (classes) s.data.labels.push_back(static_cast<std::int32_t>(t));
    s.t.push_back(t);
    const double w = i % 9 == 4 ? 0 : std::abs(element(random, i, 1));
    if (extras) s.data.weights.as<double>()(i, 0) = w;
    s.w.push_back(extras ? w : 1);
    if (with_offset) s.data.offset.as<double>()(i, 0) = 0.3 * element(random, i, 2);
    s.offset.push_back(with_offset ? element(s.data.offset, i, 0) : 0);
  }
  if (classes) s.data.y = {};
  return s;
}

Model linear(Index inputs, const Likelihood& likelihood) {
  return Model({Linear{inputs, 1}}, likelihood, DType::kFloat64);
}

// The position of coefficient j (0 is the bias) in GlmFit.
Index row_of(std::size_t j, Index features) {
  return j == 0 ? features : static_cast<Index>(j) - 1;
}

void expect_relative(double value, long double expected, double tolerance) {
  EXPECT_NEAR(value, static_cast<double>(expected),
              tolerance * std::max(1.0, static_cast<double>(std::abs(expected))));
}

struct FamilyCase {
  const char* name;
  Family (*family)();
  bool extras;
};

class GlmFamilies : public ::testing::TestWithParam<FamilyCase> {};
INSTANTIATE_TEST_SUITE_P(
    All, GlmFamilies,
    ::testing::Values(FamilyCase{"Poisson", poisson, false},
                      FamilyCase{"PoissonWithOffset", poisson, true},
                      FamilyCase{"Gamma", gamma, false}, FamilyCase{"GammaWithOffset", gamma, true},
                      FamilyCase{"NegativeBinomial", negative_binomial, false},
                      FamilyCase{"NegativeBinomialWithOffset", negative_binomial, true},
                      FamilyCase{"Bernoulli", bernoulli, true}),
    [](const auto& info) { return info.param.name; });

TEST_P(GlmFamilies, AgreeWithFisherScoringInLongDouble) {
  const Family family = GetParam().family();
  const Sample s = sample(family, 120, GetParam().extras);
  const Solution expected = irls(family, s.design, s.t, s.w, s.offset);
  const bool free = std::holds_alternative<Gamma>(family.likelihood);
  const long double n = std::accumulate(s.w.begin(), s.w.end(), 0.0L);
  long double dispersion = 1;
  if (free) {
    dispersion = 0;
    for (std::size_t i = 0; i < s.t.size(); ++i) {
      dispersion += s.w[i] * std::pow(s.t[i] / expected.means[i] - 1, 2) / (n - 4);
    }
  }
  for (const GlmSolver solver : {GlmSolver::kNewton, GlmSolver::kLbfgs}) {
    Model model = linear(3, family.likelihood);
    const GlmFit fit = fit_glm(model, s.data, {.solver = solver});
    EXPECT_TRUE(fit.converged) << fit.max_gradient;
    EXPECT_FALSE(fit.no_maximum);
    EXPECT_LE(fit.iterations, solver == GlmSolver::kNewton ? 12 : 200);
    expect_relative(fit.dispersion[0], dispersion, 1e-9);
    for (std::size_t j = 0; j < 4; ++j) {
      const Index row = row_of(j, 3);
      expect_relative(element(fit.coefficients, row, 0), expected.coefficients[j], 1e-9);
      expect_relative(element(fit.standard_errors, row, 0),
                      std::sqrt(dispersion * expected.unscaled_covariance[j][j]), 1e-9);
      for (std::size_t k = 0; k < 4; ++k) {
        expect_relative(element(fit.covariance, row, row_of(k, 3)),
                        dispersion * expected.unscaled_covariance[j][k], 1e-9);
      }
    }
    EXPECT_EQ(element(model.parameters().view("0.weight"), 1, 0), element(fit.coefficients, 1, 0));
    EXPECT_EQ(element(model.parameters().view("0.bias"), 0, 0), element(fit.coefficients, 3, 0));
  }
}

// Deviances and likelihoods from the densities themselves.
TEST_P(GlmFamilies, MeasureTheFit) {
  Family family = GetParam().family();
  const Sample s = sample(family, 120, GetParam().extras);
  const Solution best = irls(family, s.design, s.t, s.w, s.offset);
  const Solution null = irls(family, Matrix(s.design.size(), Vector{1}), s.t, s.w, s.offset);
  const bool free = !family.log_density;
  long double shape = 1;
  const auto gamma_density = [&](long double t, long double mu) {
    return shape * std::log(shape / mu) + (shape - 1) * std::log(t) - shape * t / mu -
           std::lgamma(shape);
  };
  if (free) family.log_density = gamma_density;
  const auto total = [&](const Vector& means) {
    long double sum = 0;
    for (std::size_t i = 0; i < s.t.size(); ++i) {
      if (s.w[i] != 0) sum += s.w[i] * family.log_density(s.t[i], means[i]);
    }
    return sum;
  };
  Vector saturated = s.t;
  for (long double& mean : saturated) {
    mean = std::max(mean, 1e-300L);
    if (is_classification(family.likelihood)) mean = std::min(mean, 1 - 1e-19L);
  }
  const auto deviance = [&](const Vector& means) { return 2 * (total(saturated) - total(means)); };

  Model model = linear(3, family.likelihood);
  const GlmFit fit = fit_glm(model, s.data);
  expect_relative(fit.deviance, deviance(best.means), 1e-10);
  expect_relative(fit.null_deviance, deviance(null.means), 1e-10);
  EXPECT_EQ(fit.parameters, free ? 5 : 4);
  if (free) {  // golden section over the shape
    long double low = 0.1L, high = 100;
    const long double golden = (std::sqrt(5.0L) - 1) / 2;
    for (int step = 0; step < 60; ++step) {
      const long double a = high - golden * (high - low), b = low + golden * (high - low);
      shape = a;
      const long double at_a = total(best.means);
      shape = b;
      (at_a > total(best.means) ? high : low) = at_a > total(best.means) ? b : a;
    }
  }
  expect_relative(fit.log_likelihood, total(best.means), 1e-10);
  expect_relative(fit.aic, 2 * (static_cast<long double>(fit.parameters) - total(best.means)),
                  1e-10);
}

// The slope of the likelihood in a at the dispersion found, by differences in long double.
TEST(Glm, FindsTheDispersionOfCounts) {
  for (const bool extras : {false, true}) {
    const Sample s = sample(poisson(), 120, extras);
    const double a = negative_binomial_dispersion(linear(3, Poisson{}), s.data);
    EXPECT_GT(a, 0.01);
    EXPECT_LT(a, 10);
    const Solution best = irls(negative_binomial_of(a), s.design, s.t, s.w, s.offset);
    const auto total = [&](long double at) {
      long double sum = 0;
      for (std::size_t i = 0; i < s.t.size(); ++i) {
        sum += s.w[i] * negative_binomial_of(at).log_density(s.t[i], best.means[i]);
      }
      return sum;
    };
    const long double h = 1e-4L * a;
    const long double slope = (total(a + h) - total(a - h)) / 2;  // times h
    const long double curvature = total(a + h) - 2 * total(a) + total(a - h);
    EXPECT_LT(curvature, 0);
    EXPECT_NEAR(static_cast<double>(slope / curvature) * 1e-4, 0, 1e-8);  // of a
  }
  Dataset constant{.x = noise(20, 1, 1), .y = Tensor({20, 1}, DType::kFloat64)};
  for (Index i = 0; i < 20; ++i) constant.y.as<double>()(i, 0) = 3;
  EXPECT_LT(negative_binomial_dispersion(linear(1, Poisson{}), constant), 1e-8);
  EXPECT_THROW(
      negative_binomial_dispersion(Model({Linear{1, 2}}, Poisson{}, DType::kFloat64), constant),
      ArgumentError);
}

// Dobson, An Introduction to Generalized Linear Models, 1990, p. 93, as help(glm) of R prints it.
TEST(PublishedGlm, DobsonsRandomizedControlledTrial) {
  Dataset data{.x = Tensor({9, 4}, DType::kFloat64),
               .y = matrix(9, 1, std::vector<double>{18, 17, 15, 20, 10, 20, 25, 13, 12})};
  for (Index i = 0; i < 9; ++i) {
    if (i % 3 > 0) data.x.as<double>()(i, i % 3 - 1) = 1;  // outcome2, outcome3
    if (i / 3 > 0) data.x.as<double>()(i, i / 3 + 1) = 1;  // treatment2, treatment3
  }
  Model model = linear(4, Poisson{});
  const GlmFit fit = fit_glm(model, data);
  const double coefficients[] = {-0.4543, -0.2930, 0, 0, 3.045};
  const double errors[] = {0.2022, 0.1927, 0.2, 0.2, 0.1709};
  for (Index j = 0; j < 5; ++j) {
    EXPECT_NEAR(element(fit.coefficients, j, 0), coefficients[j], j == 4 ? 5e-4 : 5e-5);
    EXPECT_NEAR(element(fit.standard_errors, j, 0), errors[j], 5e-5);
  }
  EXPECT_NEAR(element(fit.coefficients, 2, 0), 0, 1e-12);
  EXPECT_NEAR(fit.null_deviance, 10.5814, 5e-5);
  EXPECT_NEAR(fit.deviance, 5.1291, 5e-5);
  EXPECT_NEAR(fit.aic, 56.76, 5e-3);
}

// R's data set mtcars, of Motor Trend 1974.
constexpr double kWeight[] = {2.620, 2.875, 2.320, 3.215, 3.440, 3.460, 3.570, 3.190,
                              3.150, 3.440, 3.440, 4.070, 3.730, 3.780, 5.250, 5.424,
                              5.345, 2.200, 1.615, 1.835, 2.465, 3.520, 3.435, 3.840,
                              3.845, 1.935, 2.140, 1.513, 3.170, 2.770, 3.570, 2.780};

// glm(am ~ wt, binomial, mtcars).
TEST(PublishedGlm, ManualTransmissionByWeight) {
  Dataset data{.x = matrix(32, 1, kWeight),
               .labels = {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                          0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1}};
  Model model = linear(1, Bernoulli{});
  const GlmFit fit = fit_glm(model, data);
  EXPECT_NEAR(element(fit.coefficients, 0, 0), -4.024, 5e-4);
  EXPECT_NEAR(element(fit.coefficients, 1, 0), 12.040, 5e-4);
  // R takes them of the weights before its last step.
  EXPECT_NEAR(element(fit.standard_errors, 0, 0), 1.436, 1e-3);
  EXPECT_NEAR(element(fit.standard_errors, 1, 0), 4.510, 1e-3);
  EXPECT_NEAR(fit.null_deviance, 43.230, 5e-4);
  EXPECT_NEAR(fit.deviance, 19.176, 5e-4);
  EXPECT_NEAR(fit.aic, 23.176, 5e-4);
}

// lm(mpg ~ wt, mtcars).
TEST(PublishedGlm, FuelByWeight) {
  Dataset data{
      .x = matrix(32, 1, kWeight),
      .y = matrix(32, 1, std::vector<double>{21.0, 21.0, 22.8, 21.4, 18.7, 18.1, 14.3, 24.4,
                                             22.8, 19.2, 17.8, 16.4, 17.3, 15.2, 10.4, 10.4,
                                             14.7, 32.4, 30.4, 33.9, 21.5, 15.5, 15.2, 13.3,
                                             19.2, 27.3, 26.0, 30.4, 15.8, 19.7, 15.0, 21.4})};
  Model model = linear(1, Gaussian{});
  const GlmFit fit = fit_glm(model, data);
  EXPECT_NEAR(element(fit.coefficients, 0, 0), -5.3445, 5e-5);
  EXPECT_NEAR(element(fit.coefficients, 1, 0), 37.2851, 5e-5);
  EXPECT_NEAR(element(fit.standard_errors, 0, 0), 0.5591, 5e-5);
  EXPECT_NEAR(element(fit.standard_errors, 1, 0), 1.8776, 5e-5);
  EXPECT_NEAR(std::sqrt(fit.dispersion[0]), 3.046, 5e-4);
  EXPECT_NEAR(fit.aic, 166.0294, 5e-5);
}

// Against the equations of the classes 1 and 2 relative to class 0.
TEST(Glm, KnowsCategoricalCoefficientsUpToAConstant) {
  Dataset data{.x = noise(90, 2, 3)};
  for (Index i = 0; i < 90; ++i) {
    const double score = element(data.x, i, 0) + element(noise(90, 1, 4), i, 0);
    data.labels.push_back(score > 0.6 ? 2 : score > -0.4 ? 1 : 0);
  }
  Model model({Linear{2, 3}}, Categorical{}, DType::kFloat64);
  const GlmFit fit = fit_glm(model, data);
  EXPECT_TRUE(fit.converged);
  EXPECT_EQ(fit.parameters, 6);
  for (Index j = 0; j < 3; ++j) {
    EXPECT_NEAR(element(fit.coefficients, j, 0) + element(fit.coefficients, j, 1) +
                    element(fit.coefficients, j, 2),
                0, 1e-12);
  }
  long double gradient[6] = {}, system[6][12] = {}, log_likelihood = 0;
  for (Index i = 0; i < 90; ++i) {
    const long double x[3] = {element(data.x, i, 0), element(data.x, i, 1), 1};
    long double e[3] = {1, 1, 1}, sum = 0;
    for (Index k = 0; k < 3; ++k) {
      long double z = 0;
      for (Index j = 0; j < 3; ++j) {
        z += x[j] * (static_cast<long double>(element(fit.coefficients, j, k)) -
                     element(fit.coefficients, j, 0));
      }
      sum += e[k] = std::exp(z);
    }
    const std::int32_t label = data.labels[static_cast<std::size_t>(i)];
    log_likelihood += std::log(e[label] / sum);
    for (int a = 0; a < 6; ++a) {  // class 1 + a / 3, coefficient a % 3
      const long double p = e[1 + a / 3] / sum;
      gradient[a] += ((label == 1 + a / 3 ? 1 : 0) - p) * x[a % 3];
      for (int b = 0; b < 6; ++b) {
        const long double q = e[1 + b / 3] / sum;
        system[a][b] += p * ((a / 3 == b / 3 ? 1 : 0) - q) * x[a % 3] * x[b % 3];
      }
    }
  }
  for (const long double g : gradient) EXPECT_NEAR(static_cast<double>(g), 0, 1e-10);
  expect_relative(fit.log_likelihood, log_likelihood, 1e-12);
  expect_relative(fit.deviance, -2 * log_likelihood, 1e-12);
  for (int a = 0; a < 6; ++a) system[a][6 + a] = 1;
  for (int p = 0; p < 6; ++p) {  // Gauss-Jordan, the matrix is positive definite
    const long double pivot = system[p][p];
    for (long double& value : system[p]) value /= pivot;
    for (int a = 0; a < 6; ++a) {
      if (a == p) continue;
      const long double factor = system[a][p];
      for (int b = 0; b < 12; ++b) system[a][b] -= factor * system[p][b];
    }
  }
  for (int a = 0; a < 6; ++a) {
    const Index at = a % 3 * 3 + 1 + a / 3, base = a % 3 * 3;
    const double variance = element(fit.covariance, at, at) + element(fit.covariance, base, base) -
                            2 * element(fit.covariance, at, base);
    expect_relative(variance, system[a][6 + a], 1e-10);
  }
}

TEST(Glm, FitsTheLastLayerOfANetworkOnItsFeatures) {
  Dataset data{.x = noise(60, 3, 8), .y = noise(60, 1, 9)};
  for (Index i = 0; i < 60; ++i) {
    double& y = data.y.as<double>()(i, 0);
    y = std::floor(std::exp(y));
  }
  Model network({Linear{3, 4}, Tanh{}, Linear{4, 1}}, Poisson{}, DType::kFloat64, 3);
  const std::string before = testing::bits(network.parameters().view("0.weight"));
  Dataset features = data;
  features.x = network.features(data.x);
  Model alone = linear(4, Poisson{});
  const GlmFit expected = fit_glm(alone, features), fit = fit_glm(network, data);
  EXPECT_EQ(fit.log_likelihood, expected.log_likelihood);
  EXPECT_EQ(testing::bits(network.parameters().view("2.weight")),
            testing::bits(alone.parameters().view("0.weight")));
  EXPECT_EQ(testing::bits(network.parameters().view("2.bias")),
            testing::bits(alone.parameters().view("0.bias")));
  EXPECT_EQ(testing::bits(network.parameters().view("0.weight")), before);
}

// The optimum where the bias is penalized too, which the gradient tells.
TEST(Glm, PenalizesTheBiasIfAsked) {
  Dataset data{.x = noise(30, 2, 1), .labels = {}};
  for (Index i = 0; i < 30; ++i) data.labels.push_back(element(data.x, i, 0) > -0.8 ? 1 : 0);
  Model model = linear(2, Bernoulli{});
  const GlmFit fit = fit_glm(model, data, {.l2 = 0.5, .penalize_bias = true});
  EXPECT_TRUE(fit.converged);
  long double gradient[3] = {};
  for (Index j = 0; j < 3; ++j) gradient[j] = 0.5L * element(fit.coefficients, j, 0);
  for (Index i = 0; i < 30; ++i) {
    const long double x[3] = {element(data.x, i, 0), element(data.x, i, 1), 1};
    long double z = 0;
    for (Index j = 0; j < 3; ++j) z += x[j] * element(fit.coefficients, j, 0);
    for (Index j = 0; j < 3; ++j) {
      gradient[j] += (1 / (1 + std::exp(-z)) - data.labels[static_cast<std::size_t>(i)]) * x[j];
    }
  }
  for (const long double g : gradient) EXPECT_NEAR(static_cast<double>(g), 0, 1e-11);
}

}  // namespace
}  // namespace chainrule
