// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/sparse_gaussian_process.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <set>

#include "chainrule/core/error.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;
using testing::rows_of;

CovarianceKernel test_kernel() { return scaled(rbf_kernel(1.2), 1.5); }

TEST(SparseGaussianProcess, IsTheExactOneWithAllPointsAsInducing) {
  const Tensor x = noise(40, 2, 1), y = noise(40, 2, 2), at = noise(7, 2, 3);
  GaussianProcess exact(test_kernel(), {.noise = 0.3});
  exact.fit(x, y);
  SparseGaussianProcess sparse(test_kernel(), x, 2, {.noise = 0.3, .max_jitter = 0});
  sparse.add(x, y);
  EXPECT_NEAR(sparse.lower_bound(), exact.log_marginal_likelihood().value, 1e-8);
  const GaussianProcessPrediction got = sparse.predict(at), expected = exact.predict(at);
  for (Index i = 0; i < 7; ++i) {
    EXPECT_NEAR(element(got.variance, i, 0), element(expected.variance, i, 0), 1e-9);
    for (Index j = 0; j < 2; ++j) {
      EXPECT_NEAR(element(got.mean, i, j), element(expected.mean, i, j), 1e-9);
    }
  }
}

// With few inducing points: Q = K_xz K_zz^-1 K_zx formed in full, and an exact process whose kernel
// matrix is Q: log N(y; 0, Q + noise I) - tr(K - Q) / (2 noise).
TEST(SparseGaussianProcess, IsTitsiasBound) {
  const Tensor x = noise(50, 2, 1), y = noise(50, 1, 2), z = noise(4, 2, 4);
  const CovarianceKernel kernel = test_kernel();
  SparseGaussianProcess sparse(kernel, z, 1, {.noise = 0.3, .max_jitter = 0});
  sparse.add(x, y);
  // A kernel that is Q: of 4 points, by Cramer-free elimination in long double.
  const Tensor kzz = kernel.gram(z);
  const auto q = [&](const Tensor& left, const Tensor& right, Index i, Index j) {
    const Tensor a = kernel.gram(z, rows_of(left, i, 1)), b = kernel.gram(z, rows_of(right, j, 1));
    long double m[4][5];
    for (Index r = 0; r < 4; ++r) {
      for (Index c = 0; c < 4; ++c) m[r][c] = element(kzz, r, c);
      m[r][4] = element(b, r, 0);
    }
    for (int k = 0; k < 4; ++k) {
      for (int r = 0; r < 4; ++r) {
        if (r == k) continue;
        const long double factor = m[r][k] / m[k][k];
        for (int c = k; c < 5; ++c) m[r][c] -= factor * m[k][c];
      }
    }
    long double sum = 0;
    for (Index k = 0; k < 4; ++k) sum += element(a, k, 0) * m[k][4] / m[k][k];
    return static_cast<double>(sum);
  };
  const auto view_tensor = [](MatrixView<const double> v) {
    return Tensor::view(const_cast<double*>(v.data), {v.rows, v.columns}, DType::kFloat64, v.ld);
  };
  const CovarianceKernel projected = function_kernel(
      {.name = "projected",
       .gram =
           [&](MatrixView<const double> a, MatrixView<const double> b, MatrixView<double> k) {
             for (Index i = 0; i < k.rows; ++i) {
               for (Index j = 0; j < k.columns; ++j) {
                 k(i, j) = q(view_tensor(a), view_tensor(b), i, j);
               }
             }
           },
       .diagonal =
           [&](MatrixView<const double> a, std::span<double> k) {
             for (Index i = 0; i < a.rows; ++i) {
               k[static_cast<std::size_t>(i)] = q(view_tensor(a), view_tensor(a), i, i);
             }
           }});
  GaussianProcess exact(projected, {.noise = 0.3});
  exact.fit(x, y);
  double trace = 0;
  const Tensor diagonal = projected.diagonal(x);
  for (Index i = 0; i < 50; ++i) trace += 1.5 - element(diagonal, i, 0);
  EXPECT_NEAR(sparse.lower_bound(), exact.log_marginal_likelihood().value - trace / (2 * 0.3),
              1e-9);
  const Tensor at = noise(5, 2, 5), mean = exact.predict_mean(at);
  const Tensor at_q = projected.diagonal(at);
  const GaussianProcessPrediction got = sparse.predict(at), of_q = exact.predict(at);
  for (Index i = 0; i < 5; ++i) {
    EXPECT_NEAR(element(got.mean, i, 0), element(mean, i, 0), 1e-10);
    EXPECT_NEAR(element(got.variance, i, 0),
                1.5 - element(at_q, i, 0) + element(of_q.variance, i, 0), 1e-10);
  }
  // A bound.
  GaussianProcess truth(kernel, {.noise = 0.3});
  truth.fit(x, y);
  EXPECT_LT(sparse.lower_bound(), truth.log_marginal_likelihood().value);
}

TEST(SparseGaussianProcess, HasTheSameBitsForAnyPiecesAndThreads) {
  const ScopedThreadLimit limit(8);
  const Index n = 2500;
  const Tensor x = noise(n, 2, 6), y = noise(n, 1, 7), z = noise(150, 2, 8), at = noise(9, 2, 9);
  std::string first;
  double bound = 0;
  for (const int threads : {1, 2, 3, 8}) {
    for (const Index piece : {n, Index{777}}) {
      SparseGaussianProcess gp(scaled(rbf_kernel(0.3), 1), z, 1,
                               {.noise = 0.3, .threads = threads});
      for (Index i = 0; i < n; i += piece) {
        const Index count = std::min(piece, n - i);
        gp.add(rows_of(x, i, count), rows_of(y, i, count));
        if (i == 0) gp.lower_bound();  // looking changes nothing
      }
      EXPECT_EQ(gp.rows(), n);
      const GaussianProcessPrediction got = gp.predict(at);
      const std::string all = testing::bits(got.mean) + testing::bits(got.variance);
      if (first.empty()) {
        first = all;
        bound = gp.lower_bound();
      }
      EXPECT_TRUE(all == first) << threads << " threads, " << piece << " rows a piece";
      EXPECT_EQ(gp.lower_bound(), bound);
    }
  }
}

TEST(SparseGaussianProcess, TakesAnotherNoiseWithoutTheData) {
  const Tensor x = noise(50, 2, 1), y = noise(50, 1, 2), z = noise(10, 2, 3);
  SparseGaussianProcess moved(test_kernel(), z, 1, {.noise = 0.1});
  SparseGaussianProcess direct(test_kernel(), z, 1, {.noise = 0.4});
  moved.add(x, y);
  direct.add(x, y);
  moved.set_noise(0.4);
  EXPECT_EQ(moved.lower_bound(), direct.lower_bound());
}

// The bound is the likelihood where the training inputs are the inducing points, whatever the
// hyperparameters: so are the gradients, which the exact process takes another way.
TEST(SparseGaussianProcess, HasTheExactGradientWithAllPointsAsInducing) {
  const Tensor x = noise(40, 2, 1), y = noise(40, 2, 2);
  const CovarianceKernel kernel = test_kernel() + scaled(linear_kernel(), 0.4);
  GaussianProcess exact(kernel, {.noise = 0.3});
  exact.fit(x, y);
  SparseGaussianProcess sparse(kernel, x, 2, {.noise = 0.3, .max_jitter = 0});
  const LogMarginalLikelihood got = sparse.lower_bound(x, y);
  const LogMarginalLikelihood expected = exact.log_marginal_likelihood(true);
  EXPECT_NEAR(got.value, expected.value, 1e-8);
  EXPECT_NEAR(got.data_fit, expected.data_fit, 1e-8);
  EXPECT_NEAR(got.complexity, expected.complexity, 1e-8);
  ASSERT_EQ(got.gradient.size(), 4U);
  for (std::size_t h = 0; h < 4; ++h) {
    EXPECT_NEAR(got.gradient[h], expected.gradient[h], 1e-7) << sparse.hyperparameters()[h].name;
  }
}

// With few inducing points and several pieces of rows, against Richardson's differences.
TEST(SparseGaussianProcess, DifferentiatesItsBound) {
  const Tensor x = noise(2500, 3, 1), y = noise(2500, 2, 2), z = noise(12, 3, 3);
  const SparseGaussianProcessOptions options{.noise = 0.6, .means = {0.5, -1}, .max_jitter = 0};
  const CovarianceKernel kernel = scaled(ard_rbf_kernel({1, 2, 1.5}), 1.4) * matern52_kernel(3) +
                                  scaled(arc_cosine_kernel(1, 0.5, 0.3), 0.2);
  std::vector<double> theta = kernel.theta();
  theta.push_back(std::log(0.6));
  const auto bound_at = [&](const std::vector<double>& at) {
    CovarianceKernel moved = kernel;
    moved.set_theta(std::span(at).first(at.size() - 1));
    SparseGaussianProcessOptions moved_options = options;
    moved_options.noise = std::exp(at.back());
    SparseGaussianProcess gp(moved, z, 2, moved_options);
    gp.add(x, y);
    return gp.lower_bound();
  };
  const SparseGaussianProcess gp(kernel, z, 2, options);
  const LogMarginalLikelihood got = gp.lower_bound(x, y);
  EXPECT_EQ(got.value, bound_at(theta));
  ASSERT_EQ(got.gradient.size(), theta.size());
  for (std::size_t h = 0; h < theta.size(); ++h) {
    const auto slope = [&](double step) {
      std::vector<double> up = theta, down = theta;
      up[h] += step;
      down[h] -= step;
      return (bound_at(up) - bound_at(down)) / (2 * step);
    };
    const double expected = (4 * slope(0.5e-3) - slope(1e-3)) / 3;
    EXPECT_NEAR(got.gradient[h], expected, 1e-6 * (1 + std::abs(expected)))
        << gp.hyperparameters()[h].name;
  }
}

TEST(SparseGaussianProcess, FindsTheHyperparametersOfTheExactOne) {
  const Tensor x = noise(60, 1, 1);
  Tensor y = noise(60, 1, 2);
  for (Index i = 0; i < 60; ++i) {
    y.as<double>()(i, 0) = std::sin(3 * element(x, i, 0)) + 0.1 * element(y, i, 0) + 5;
  }
  GaussianProcess exact(scaled(rbf_kernel(1), 1), {.noise = 0.1, .center_targets = true});
  exact.fit(x, y);
  exact.optimize({.restarts = 0});
  double mean = 0;
  for (Index i = 0; i < 60; ++i) mean += element(y, i, 0) / 60;
  SparseGaussianProcess sparse(scaled(rbf_kernel(1), 1),
                               greedy_inducing_points(rbf_kernel(0.5), x, 25), 1,
                               {.noise = 0.1, .means = {mean}});
  sparse.add(noise(10, 1, 7), noise(10, 1, 8));  // to be forgotten
  const OptimizeResult result = sparse.optimize(x, y, {.restarts = 0});
  EXPECT_TRUE(result.converged);
  EXPECT_EQ(sparse.rows(), 60);
  EXPECT_NEAR(sparse.lower_bound(), exact.log_marginal_likelihood().value, 1e-3);
  EXPECT_DOUBLE_EQ(sparse.lower_bound(), result.log_marginal_likelihood);
  for (std::size_t h = 0; h < 3; ++h) {
    const Hyperparameter got = sparse.hyperparameters()[h], expected = exact.hyperparameters()[h];
    EXPECT_EQ(got.name, expected.name);
    EXPECT_NEAR(got.value, expected.value, 1e-3 * expected.value) << got.name;
  }
  const Tensor at = noise(20, 1, 9), at_y = noise(20, 1, 10);
  EXPECT_NEAR(sparse.negative_log_predictive_density(at, at_y),
              exact.negative_log_predictive_density(at, at_y),
              1e-3 * exact.negative_log_predictive_density(at, at_y));
}

TEST(SparseGaussianProcess, IsWhatItsSumsAre) {
  const Tensor x = noise(1500, 2, 1), y = noise(1500, 2, 2), z = noise(9, 2, 3);
  const SparseGaussianProcessOptions options{.noise = 0.4, .means = {1, 2}};
  SparseGaussianProcess first(test_kernel(), z, 2, options);
  first.add(x, y);
  const SparseGaussianProcess second(test_kernel(), z, first.sums(), options);
  EXPECT_EQ(second.rows(), 1500);
  EXPECT_EQ(second.lower_bound(), first.lower_bound());
  const GaussianProcessPrediction a = first.predict(x), b = second.predict(x);
  EXPECT_TRUE(testing::bits(a.mean) == testing::bits(b.mean));
  EXPECT_TRUE(testing::bits(a.variance) == testing::bits(b.variance));
  SparseGaussianProcessSums other = first.sums();
  other.squares = noise(8, 8, 1);
  EXPECT_THROW(SparseGaussianProcess(test_kernel(), z, other, options), ShapeError);
}

TEST(SparseGaussianProcess, IsThePriorWithoutData) {
  const SparseGaussianProcess gp(test_kernel(), noise(5, 2, 1));
  const GaussianProcessPrediction at = gp.predict(noise(3, 2, 2));
  for (Index i = 0; i < 3; ++i) {
    EXPECT_EQ(element(at.mean, i, 0), 0);
    EXPECT_NEAR(element(at.variance, i, 0), 1.5, 1e-14);
  }
  EXPECT_NEAR(gp.lower_bound(), 0, 1e-14);
}

TEST(GreedyInducingPoints, TakesTheMostUncertainFirst) {
  // On a line: the first row (all are equally uncertain), the farthest from it, then the middle.
  const Tensor x = testing::matrix(6, 1, std::vector<double>{0, 0.1, 1.9, 2, 4, 0});
  const Tensor points = greedy_inducing_points(rbf_kernel(1), x, 3);
  EXPECT_EQ(element(points, 0, 0), 0);
  EXPECT_EQ(element(points, 1, 0), 4);
  EXPECT_EQ(element(points, 2, 0), 2);
  // The copy of a point adds nothing.
  EXPECT_LE(greedy_inducing_points(rbf_kernel(1), x, 6).rows(), 5);
  const Tensor line = greedy_inducing_points(linear_kernel(), noise(20, 3, 1), 20);
  EXPECT_EQ(line.rows(), 3);  // of rank 3
}

TEST(SparseGaussianProcess, RefusesBadInput) {
  const Tensor z = noise(5, 2, 1);
  EXPECT_THROW(SparseGaussianProcess(rbf_kernel(), z, 1, {.noise = 0}), ArgumentError);
  EXPECT_THROW(SparseGaussianProcess(rbf_kernel(), z, 0), ArgumentError);
  EXPECT_THROW(greedy_inducing_points(rbf_kernel(), z, 0), ArgumentError);
  SparseGaussianProcess gp(rbf_kernel(), z);
  Tensor y = noise(4, 1, 1);
  EXPECT_THROW(gp.add(noise(4, 3, 1), y), ShapeError);
  EXPECT_THROW(gp.add(noise(3, 2, 1), y), ShapeError);
  EXPECT_THROW(gp.predict(noise(3, 3, 1)), ShapeError);
  EXPECT_THROW(gp.set_noise(-1), ArgumentError);
  EXPECT_THROW(SparseGaussianProcess(rbf_kernel(), z, 1, {.means = {1, 2}}), ArgumentError);
  EXPECT_THROW(gp.lower_bound(noise(4, 2, 1), noise(3, 1, 1)), ShapeError);
  EXPECT_THROW(gp.optimize(noise(4, 1, 1), y), ShapeError);
  y.as<double>()(2, 0) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(message_of<ArgumentError>([&] { gp.add(noise(4, 2, 1), y); }),
              HasSubstr("y has nan in row 2, column 0"));
  EXPECT_EQ(gp.rows(), 0);
  Tensor twice = z;
  for (Index j = 0; j < 2; ++j) twice.as<double>()(1, j) = element(z, 0, j);
  EXPECT_THROW(SparseGaussianProcess(rbf_kernel(), twice, 1, {.max_jitter = 0}), Error);
  EXPECT_NO_THROW(SparseGaussianProcess(rbf_kernel(), twice));
}

}  // namespace
}  // namespace chainrule
