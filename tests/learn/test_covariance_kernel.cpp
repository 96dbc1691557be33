// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/covariance_kernel.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numbers>

#include "chainrule/core/error.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;
using testing::rows_of;

using Row = std::vector<long double>;
using Formula = std::function<long double(const Row&, const Row&)>;

Row long_row(const Tensor& x, Index i) {
  Row row;
  for (Index k = 0; k < x.columns(); ++k) row.push_back(element(x, i, k));
  return row;
}

long double dot(const Row& x, const Row& z) {
  long double sum = 0;
  for (std::size_t k = 0; k < x.size(); ++k) sum += x[k] * z[k];
  return sum;
}

// |x - z|^2 with the k-th difference divided by scales[k], or all by the only one.
long double scaled_square(const Row& x, const Row& z, const std::vector<double>& scales) {
  long double sum = 0;
  for (std::size_t k = 0; k < x.size(); ++k) {
    const long double u = (x[k] - z[k]) / scales[scales.size() == 1 ? 0 : k];
    sum += u * u;
  }
  return sum;
}

Formula rbf(std::vector<double> scales) {
  return [=](const Row& x, const Row& z) { return std::exp(-scaled_square(x, z, scales) / 2); };
}
Formula matern32(std::vector<double> scales) {
  return [=](const Row& x, const Row& z) {
    const long double a = std::sqrt(3 * scaled_square(x, z, scales));
    return (1 + a) * std::exp(-a);
  };
}
Formula matern52(std::vector<double> scales) {
  return [=](const Row& x, const Row& z) {
    const long double square = scaled_square(x, z, scales), a = std::sqrt(5 * square);
    return (1 + a + 5 * square / 3) * std::exp(-a);
  };
}
Formula polynomial(int degree, double offset) {
  return [=](const Row& x, const Row& z) { return std::pow(dot(x, z) + offset, degree); };
}
Formula arc_cosine(int order, double weight, double bias) {
  return [=](const Row& x, const Row& z) {
    const long double pi = std::numbers::pi_v<long double>;
    const long double s = bias + weight * dot(x, z);
    const long double norms = std::sqrt((bias + weight * dot(x, x)) * (bias + weight * dot(z, z)));
    const long double angle = std::acos(std::min(1.0L, s / norms));
    if (order == 0) return 1 - angle / pi;
    return norms * (std::sin(angle) + (pi - angle) * std::cos(angle)) / pi;
  };
}

// `kernel` on matrices of `columns` columns against its formula.
void expect_formula(const CovarianceKernel& kernel, const Formula& formula, Index columns,
                    double tolerance = 4e-15) {
  SCOPED_TRACE(kernel.name());
  const Tensor x = noise(70, columns, 1), z = noise(30, columns, 2);
  const Executor executor(2);
  const Tensor across = kernel.gram(x, z, executor), own = kernel.gram(x, executor);
  const Tensor diagonal = kernel.diagonal(x);
  for (Index i = 0; i < 70; ++i) {
    const Row row = long_row(x, i);
    const auto expect = [&](double value, const Row& other) {
      const auto expected = static_cast<double>(formula(row, other));
      ASSERT_NEAR(value, expected, tolerance * (1 + std::abs(expected)));
    };
    for (Index j = 0; j < 30; ++j) expect(element(across, i, j), long_row(z, j));
    for (Index j = 0; j < 70; ++j) {
      ASSERT_EQ(element(own, i, j), element(own, j, i));
      if (j != i) expect(element(own, i, j), long_row(x, j));
    }
    expect(element(own, i, i), row);
    expect(element(diagonal, i, 0), row);
  }
}

TEST(CovarianceKernel, FollowsItsFormula) {
  expect_formula(rbf_kernel(1.5), rbf({1.5}), 3);
  expect_formula(rbf_kernel(6), rbf({6}), 40);  // by products
  expect_formula(ard_rbf_kernel({0.5, 2, 7}), rbf({0.5, 2, 7}), 3);
  expect_formula(matern32_kernel(1.5), matern32({1.5}), 3);
  expect_formula(ard_matern32_kernel({1, 2}), matern32({1, 2}), 2);
  expect_formula(matern52_kernel(1.5), matern52({1.5}), 3);
  expect_formula(matern52_kernel(5), matern52({5}), 40, 2e-14);
  expect_formula(ard_matern52_kernel({1, 2}), matern52({1, 2}), 2);
  expect_formula(
      constant_kernel(0.3), [](const Row&, const Row&) { return 0.3L; }, 2);
  expect_formula(linear_kernel(), polynomial(1, 0), 5);
  expect_formula(polynomial_kernel(3, 0.5), polynomial(3, 0.5), 5, 1e-14);
  expect_formula(arc_cosine_kernel(0, 0.7, 0.2), arc_cosine(0, 0.7, 0.2), 4);
  expect_formula(arc_cosine_kernel(1, 0.7, 0.2), arc_cosine(1, 0.7, 0.2), 4);
  expect_formula(arc_cosine_kernel(1), arc_cosine(1, 1, 0), 4);
}

TEST(CovarianceKernel, AddsMultipliesAndScales) {
  const Formula linear = polynomial(1, 0), radial = rbf({2}), matern = matern32({1});
  const CovarianceKernel sum = scaled(rbf_kernel(2), 0.5) + linear_kernel();
  EXPECT_EQ(sum.name(), "variance * rbf + linear");
  expect_formula(
      sum, [=](const Row& x, const Row& z) { return radial(x, z) / 2 + linear(x, z); }, 3);
  const CovarianceKernel product = sum * matern32_kernel(1);
  EXPECT_EQ(product.name(), "(variance * rbf + linear) * matern32");
  expect_formula(
      product,
      [=](const Row& x, const Row& z) { return (radial(x, z) / 2 + linear(x, z)) * matern(x, z); },
      3);
}

// The gradient of sum_ij W_ij K_ij against central differences of Gram matrices, by every
// coordinate.
void expect_gradient(CovarianceKernel kernel, Index columns) {
  SCOPED_TRACE(kernel.name());
  const Index n = 80;
  const Tensor x = noise(n, columns, 3);
  Tensor weights = noise(n, n, 4);
  const auto w = weights.as<double>();
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < i; ++j) w(j, i) = w(i, j);
  }
  const auto total = [&](const std::vector<double>& theta) {
    CovarianceKernel moved = kernel;
    moved.set_theta(theta);
    const Tensor k = moved.gram(x);
    long double sum = 0;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) sum += static_cast<long double>(w(i, j)) * element(k, i, j);
    }
    return sum;
  };
  const std::vector<double> theta = kernel.theta();
  const std::vector<double> gradient = kernel.contract(x, weights.as<double>(), Executor(2));
  ASSERT_EQ(gradient.size(), theta.size());
  for (std::size_t h = 0; h < theta.size(); ++h) {
    const auto slope = [&](double step) {
      std::vector<double> up = theta, down = theta;
      up[h] += step;
      down[h] -= step;
      return (total(up) - total(down)) / (2 * static_cast<long double>(step));
    };
    const long double step = 1e-3;  // Richardson: the error of second order goes
    const auto expected = static_cast<double>(
        (4 * slope(static_cast<double>(step / 2)) - slope(static_cast<double>(step))) / 3);
    EXPECT_NEAR(gradient[h], expected, 2e-9 * (1 + std::abs(expected)))
        << kernel.hyperparameters()[h].name;
  }
}

TEST(CovarianceKernel, DifferentiatesByItsHyperparameters) {
  expect_gradient(rbf_kernel(1.5), 3);
  expect_gradient(rbf_kernel(6), 40);
  expect_gradient(ard_rbf_kernel({0.5, 2, 7}), 3);
  expect_gradient(matern32_kernel(1.5), 3);
  expect_gradient(ard_matern32_kernel({1, 2}), 2);
  expect_gradient(matern52_kernel(1.5), 3);
  expect_gradient(ard_matern52_kernel({1, 2}), 2);
  expect_gradient(constant_kernel(0.3), 2);
  expect_gradient(polynomial_kernel(3, 0.5), 3);
  expect_gradient(arc_cosine_kernel(0, 0.7, 0.2), 4);
  expect_gradient(arc_cosine_kernel(1, 0.7, 0.2), 4);
  expect_gradient(arc_cosine_kernel(1), 4);
  expect_gradient(scaled(rbf_kernel(2) * linear_kernel(), 0.5) + matern52_kernel(3), 3);
  expect_gradient((scaled(rbf_kernel(2), 2) + constant_kernel(1)) * polynomial_kernel(2, 1), 3);
}

// The symmetric contract() was compared with differences above: of x and z behind one another, with
// weights off the diagonal blocks, it is the one of two arguments; with those on the diagonal, of
// the diagonal.
TEST(CovarianceKernel, DifferentiatesBetweenTwoSetsAndOnTheDiagonal) {
  const CovarianceKernel kernels[] = {
      scaled(rbf_kernel(2) * linear_kernel(), 0.5) + matern52_kernel(3),
      scaled(ard_rbf_kernel({0.5, 2, 7}), 1.3) + polynomial_kernel(3, 0.5),
      arc_cosine_kernel(1, 0.7, 0.2) + constant_kernel(0.3)};
  const Tensor both = noise(90, 3, 5), x = rows_of(both, 0, 70), z = rows_of(both, 70, 20);
  const Tensor weights = noise(70, 20, 6);
  Tensor symmetric({90, 90}, DType::kFloat64), identity({90, 90}, DType::kFloat64);
  for (Index i = 0; i < 90; ++i) identity.as<double>()(i, i) = 1;
  for (Index i = 0; i < 70; ++i) {
    for (Index j = 0; j < 20; ++j) symmetric.as<double>()(70 + j, i) = element(weights, i, j) / 2;
  }
  for (const CovarianceKernel& kernel : kernels) {
    const auto expect_near = [&](const std::vector<double>& got, const Tensor& all_weights) {
      const std::vector<double> expected = kernel.contract(both, all_weights.as<double>());
      ASSERT_EQ(got.size(), expected.size());
      for (std::size_t h = 0; h < got.size(); ++h) {
        EXPECT_NEAR(got[h], expected[h], 1e-11 * (1 + std::abs(expected[h])))
            << kernel.hyperparameters()[h].name;
      }
    };
    expect_near(kernel.contract(x, z, weights.as<double>(), Executor(2)), symmetric);
    expect_near(kernel.contract_diagonal(both), identity);
  }
  EXPECT_THROW(rbf_kernel().contract(x, z, symmetric.as<double>()), ShapeError);
  EXPECT_THROW(rbf_kernel().contract(x, noise(20, 2, 1), weights.as<double>()), ShapeError);
}

// u and v at an angle of 2^-30: in double, the cosine is 1.
TEST(CovarianceKernel, ArcCosineKeepsTheDigitsOfNearlyParallelPoints) {
  const double tangent = std::ldexp(1, -30);
  const Tensor x = testing::matrix(2, 2, std::vector<double>{1, 0, 1, tangent});
  const double angle = std::atan(tangent);
  const Tensor step = arc_cosine_kernel(0).gram(x);
  EXPECT_NEAR((1 - element(step, 0, 1)) * std::numbers::pi, angle, 1e-7 * angle + 4e-16);
  EXPECT_EQ(element(step, 0, 0), 1);
}

TEST(CovarianceKernel, RbfKeepsTheDigitsOfNearPointsFarFromTheOrigin) {
  std::vector<double> values(2 * 40, 1000.0);
  values[40] += 0.5;  // the other point, half a unit away
  const Tensor k = rbf_kernel(1).gram(testing::matrix(2, 40, values));
  EXPECT_NEAR(element(k, 0, 1), std::exp(-0.125), 4e-16);
}

TEST(CovarianceKernel, LearnsFromAModel) {
  const Model model({Linear{3, 5}, Tanh{}, Linear{5, 4}, Tanh{}, Linear{4, 2}}, Gaussian{},
                    DType::kFloat64, 7);
  const Tensor x = noise(6, 3, 5);
  const Tensor phi = model.features(x), k = learned_kernel(model).gram(x);
  const Tensor first = learned_kernel(model, 1).gram(x);
  Tensor hidden({6, 5}, DType::kFloat64);  // tanh(x W + b)
  const auto w = model.parameters().view(0), b = model.parameters().view(1);
  for (Index i = 0; i < 6; ++i) {
    for (Index u = 0; u < 5; ++u) {
      double z = element(b, 0, u);
      for (Index j = 0; j < 3; ++j) z += element(x, i, j) * element(w, j, u);
      hidden.as<double>()(i, u) = std::tanh(z);
    }
  }
  for (Index i = 0; i < 6; ++i) {
    for (Index j = 0; j < 6; ++j) {
      EXPECT_NEAR(element(k, i, j), static_cast<double>(dot(long_row(phi, i), long_row(phi, j))),
                  1e-15);
      EXPECT_NEAR(element(first, i, j),
                  static_cast<double>(dot(long_row(hidden, i), long_row(hidden, j))), 1e-14);
    }
  }
  EXPECT_THAT(message_of<ArgumentError>([&] { learned_kernel(model, 5); }),
              HasSubstr("layer 5 (from 0) of a model of 5"));
}

TEST(CovarianceKernel, TakesFunctions) {
  KernelFunctions functions{
      .name = "sum",
      .gram =
          [](MatrixView<const double> x, MatrixView<const double> z, MatrixView<double> k) {
            for (Index i = 0; i < k.rows; ++i) {
              for (Index j = 0; j < k.columns; ++j) k(i, j) = x(i, 0) * z(j, 0) + 1;
            }
          },
      .diagonal =
          [](MatrixView<const double> x, std::span<double> k) {
            for (Index i = 0; i < x.rows; ++i) {
              k[static_cast<std::size_t>(i)] = x(i, 0) * x(i, 0) + 1;
            }
          }};
  const CovarianceKernel kernel = function_kernel(functions);
  expect_formula(kernel, polynomial(1, 1), 1);
  functions.whole_matrices = true;
  functions.gram = [](MatrixView<const double> x, MatrixView<const double> z,
                      MatrixView<double> k) {
    EXPECT_EQ(k.rows, 70);
    for (Index i = 0; i < k.rows; ++i) {
      for (Index j = 0; j < k.columns; ++j) k(i, j) = x(i, 0) * z(j, 0) + 1;
    }
  };
  const CovarianceKernel whole = function_kernel(functions);
  expect_formula(whole, polynomial(1, 1), 1);
  expect_formula(
      whole + linear_kernel(), [](const Row& x, const Row& z) { return 2 * dot(x, z) + 1; }, 1);
  EXPECT_TRUE(kernel.hyperparameters().empty());
  EXPECT_TRUE(kernel.contract(noise(4, 1, 1), noise(4, 4, 1).as<double>()).empty());
  EXPECT_THAT(message_of<ArgumentError>([] { function_kernel({.name = "half"}); }),
              HasSubstr("'half': got no gram function"));
}

TEST(CovarianceKernel, NamesItsHyperparameters) {
  CovarianceKernel kernel = scaled(rbf_kernel(3), 2) + scaled(ard_rbf_kernel({1, 4}), 5);
  std::vector<std::string> names;
  for (const Hyperparameter& h : kernel.hyperparameters()) names.push_back(h.name);
  EXPECT_THAT(names, ElementsAre("variance", "length_scale", "variance#2", "length_scale_0",
                                 "length_scale_1"));
  EXPECT_EQ(kernel.hyperparameter("variance#2"), 5);
  const CovarianceKernel before = kernel;  // a value
  kernel.set_hyperparameter("length_scale_1", 0.25);
  EXPECT_EQ(kernel.hyperparameter("length_scale_1"), 0.25);
  EXPECT_EQ(before.hyperparameter("length_scale_1"), 4);
  EXPECT_EQ(kernel.theta()[4], std::log(0.25));
  std::vector<double> theta = kernel.theta();
  kernel.set_theta(theta);
  EXPECT_EQ(kernel.hyperparameter("length_scale"), 3);  // no rounding on the way
  theta[0] = 1;
  kernel.set_theta(theta);
  EXPECT_EQ(kernel.hyperparameter("variance"), std::exp(1.0));
}

TEST(CovarianceKernel, RefusesBadInput) {
  CovarianceKernel kernel = ard_rbf_kernel({1, 2});
  EXPECT_THAT(message_of<ShapeError>([&] { kernel.gram(noise(3, 3, 1)); }),
              HasSubstr("ard_rbf: got inputs of 3 columns, expected 2"));
  EXPECT_THAT(message_of<ShapeError>([&] { kernel.gram(noise(3, 2, 1), noise(3, 4, 1)); }),
              HasSubstr("[3, 4]"));
  EXPECT_THROW(kernel.contract(noise(3, 2, 1), noise(2, 2, 1).as<double>()), ShapeError);
  EXPECT_THAT(
      message_of<ArgumentError>([&] { kernel.hyperparameter("lengthscale"); }),
      HasSubstr("no hyperparameter 'lengthscale'; there are: length_scale_0, length_scale_1"));
  EXPECT_THROW(kernel.set_hyperparameter("length_scale_0", -1), ArgumentError);
  EXPECT_THROW(kernel.set_theta(std::vector<double>{1}), ArgumentError);
  EXPECT_THROW(kernel.set_theta(std::vector<double>{1, 1e4}), ArgumentError);
  EXPECT_THROW(rbf_kernel(0), ArgumentError);
  EXPECT_THROW(ard_rbf_kernel({}), ArgumentError);
  EXPECT_THROW(rbf_kernel(std::numeric_limits<double>::quiet_NaN()), ArgumentError);
  EXPECT_THROW(polynomial_kernel(0), ArgumentError);
  EXPECT_THROW(polynomial_kernel(2, -1), ArgumentError);
  EXPECT_THROW(arc_cosine_kernel(2), ArgumentError);
  EXPECT_THROW(arc_cosine_kernel(1, 1, -1), ArgumentError);
  EXPECT_THROW(scaled(linear_kernel(), 0), ArgumentError);
  EXPECT_THROW(constant_kernel(-1), ArgumentError);
}

TEST(CovarianceKernel, HasTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const CovarianceKernel kernel = scaled(ard_rbf_kernel({1, 2, 3}), 2) * matern32_kernel(1);
  const Tensor x = noise(600, 3, 1), weights = noise(600, 600, 2);
  const Tensor gram = kernel.gram(x);
  const std::vector<double> gradient = kernel.contract(x, weights.as<double>());
  for (const int threads : {2, 3, 8}) {
    const Executor executor(threads);
    EXPECT_TRUE(testing::bits(kernel.gram(x, executor)) == testing::bits(gram));
    EXPECT_EQ(kernel.contract(x, weights.as<double>(), executor), gradient);
  }
}

}  // namespace
}  // namespace chainrule
