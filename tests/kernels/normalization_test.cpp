// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

template <class T>
class NormalizationTest : public ::testing::Test {};
TYPED_TEST_SUITE(NormalizationTest, ElementTypes);

constexpr double kEpsilon = 1e-3;

/// A group of numbers that is normalized together: a row of layer_norm, a column of batch_norm.
struct Group {
  std::vector<Real> x;
  std::vector<Real> dy_gamma;  ///< gradient of the normalized numbers
  Real mean = 0;
  Real variance = 0;

  void finish() {
    const Real n = static_cast<Real>(x.size());
    for (const Real v : x) mean += v / n;
    for (const Real v : x) variance += (v - mean) * (v - mean) / n;
  }
  Real rstd() const { return 1 / std::sqrt(variance + kEpsilon); }
  Real normal(std::size_t k) const { return (x[k] - mean) * rstd(); }
  /// Sum over j of dy_j d normal_j / d x_k, with the Jacobian written out.
  Real gradient(std::size_t k) const {
    const Real n = static_cast<Real>(x.size());
    Real sum = 0;
    for (std::size_t j = 0; j < x.size(); ++j) {
      const Real delta = j == k ? 1 : 0;
      sum += dy_gamma[j] * rstd() * (delta - 1 / n - normal(j) * normal(k) / n);
    }
    return sum;
  }
};

TYPED_TEST(NormalizationTest, LayerNorm) {
  using T = TypeParam;
  const Index rows = 3;
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    for (const Index n : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        const Matrix<T> x(rows, n, placement, uniform<T>(-2, 3, 1));
        const Matrix<T> gamma(1, n, {0, 1}, uniform<T>(0.5, 2, 2));
        const Matrix<T> beta(1, n, {0, 2}, uniform<T>(-1, 1, 3));
        Matrix<T> y(rows, n, {2, 0});
        Matrix<T> stats(rows, 2, placement);
        kernels.layer_norm(x.in(), gamma.data(), beta.data(), kEpsilon, y.out(), stats.out());
        for (Index i = 0; i < rows; ++i) {
          Group group;
          for (Index j = 0; j < n; ++j) group.x.push_back(x(i, j));
          group.finish();
          EXPECT_TRUE(close(stats(i, 0), group.mean, 10, 2));
          EXPECT_TRUE(close(stats(i, 1), group.rstd(), 30));
          for (Index j = 0; j < n; ++j) {
            const Real normal = group.normal(static_cast<std::size_t>(j));
            EXPECT_TRUE(close(y(i, j), normal * gamma(0, j) + beta(0, j), 100));
          }
        }
        EXPECT_TRUE(y.padding_intact() && stats.padding_intact());
      }
    }
  });
}

template <class T>
void check_layer_norm_backward(const Kernels<T>& kernels, Index n, Placement placement,
                               bool accumulate) {
  const Index rows = 3;
  const Matrix<T> x(rows, n, placement, uniform<T>(-2, 3, 1));
  const Matrix<T> dy(rows, n, placement, uniform<T>(-1, 1, 4));
  const Matrix<T> gamma(1, n, {0, 1}, uniform<T>(0.5, 2, 2));
  const auto one = [](Index, Index) { return T(1); };
  Matrix<T> y(rows, n);
  Matrix<T> stats(rows, 2);
  Matrix<T> dx(rows, n, placement, one);
  Matrix<T> dgamma(1, n, {0, 1}, one);
  Matrix<T> dbeta(1, n, {0, 2}, one);
  kernels.layer_norm(x.in(), gamma.data(), gamma.data(), kEpsilon, y.out(), stats.out());
  kernels.layer_norm_backward(x.in(), gamma.data(), stats.in(), dy.in(), dx.out(), accumulate,
                              dgamma.data(), accumulate, dbeta.data(), accumulate);
  const Real start = accumulate ? 1 : 0;
  std::vector<Real> gamma_sum(static_cast<std::size_t>(n), start);
  std::vector<Real> beta_sum(static_cast<std::size_t>(n), start);
  for (Index i = 0; i < rows; ++i) {
    Group group;
    for (Index j = 0; j < n; ++j) {
      group.x.push_back(x(i, j));
      group.dy_gamma.push_back(static_cast<Real>(dy(i, j)) * gamma(0, j));
    }
    group.finish();
    for (std::size_t j = 0; j < group.x.size(); ++j) {
      const auto column = static_cast<Index>(j);
      EXPECT_TRUE(close(dx(i, column), start + group.gradient(j), 200, group.rstd()));
      gamma_sum[j] += dy(i, column) * group.normal(j);
      beta_sum[j] += dy(i, column);
    }
  }
  for (Index j = 0; j < n; ++j) {
    EXPECT_TRUE(close(dgamma(0, j), gamma_sum[static_cast<std::size_t>(j)], 200));
    EXPECT_TRUE(close(dbeta(0, j), beta_sum[static_cast<std::size_t>(j)], 8));
  }
  EXPECT_TRUE(dx.padding_intact() && dgamma.padding_intact() && dbeta.padding_intact());
}

TYPED_TEST(NormalizationTest, LayerNormBackward) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const Index n : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        check_layer_norm_backward(kernels, n, placement, false);
        check_layer_norm_backward(kernels, n, placement, true);
      }
    }
  });
}

template <class T>
Group column_of(const Matrix<T>& x, Index j) {
  Group group;
  for (Index i = 0; i < x.rows(); ++i) group.x.push_back(x(i, j));
  group.finish();
  return group;
}

TYPED_TEST(NormalizationTest, BatchNorm) {
  using T = TypeParam;
  const Index rows = 21;
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    for (const Index n : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        const Matrix<T> x(rows, n, placement, uniform<T>(-2, 3, 1));
        const Matrix<T> gamma(1, n, {0, 1}, uniform<T>(0.5, 2, 2));
        const Matrix<T> beta(1, n, {0, 2}, uniform<T>(-1, 1, 3));
        Matrix<T> stats(2, n, placement);
        Matrix<T> y(rows, n, {2, 0});
        kernels.column_moments(x.in(), stats.out());
        kernels.batch_norm(x.in(), stats.in(), gamma.data(), beta.data(), kEpsilon, y.out());
        for (Index j = 0; j < n; ++j) {
          const Group group = column_of(x, j);
          EXPECT_TRUE(close(stats(0, j), group.mean, 2));
          EXPECT_TRUE(close(stats(1, j), group.variance, 4));
          for (Index i = 0; i < rows; ++i) {
            const Real normal = group.normal(static_cast<std::size_t>(i));
            EXPECT_TRUE(close(y(i, j), normal * gamma(0, j) + beta(0, j), 16));
          }
        }
        EXPECT_TRUE(stats.padding_intact() && y.padding_intact());
      }
    }
  });
}

template <class T>
void check_batch_norm_backward(const Kernels<T>& kernels, Index n, Placement placement,
                               bool accumulate) {
  const Index rows = 21;
  const Matrix<T> x(rows, n, placement, uniform<T>(-2, 3, 1));
  const Matrix<T> dy(rows, n, placement, uniform<T>(-1, 1, 4));
  const Matrix<T> gamma(1, n, {0, 1}, uniform<T>(0.5, 2, 2));
  const auto one = [](Index, Index) { return T(1); };
  Matrix<T> stats(2, n, placement);
  Matrix<T> dx(rows, n, placement, one);
  Matrix<T> dgamma(1, n, {0, 1}, one);
  Matrix<T> dbeta(1, n, {0, 2}, one);
  kernels.column_moments(x.in(), stats.out());
  kernels.batch_norm_backward(x.in(), stats.in(), gamma.data(), kEpsilon, dy.in(), dx.out(),
                              accumulate, dgamma.data(), accumulate, dbeta.data(), accumulate);
  const Real start = accumulate ? 1 : 0;
  for (Index j = 0; j < n; ++j) {
    Group group = column_of(x, j);
    Real gamma_sum = start;
    Real beta_sum = start;
    for (Index i = 0; i < rows; ++i) {
      group.dy_gamma.push_back(static_cast<Real>(dy(i, j)) * gamma(0, j));
      gamma_sum += dy(i, j) * group.normal(static_cast<std::size_t>(i));
      beta_sum += dy(i, j);
    }
    for (Index i = 0; i < rows; ++i) {
      EXPECT_TRUE(close(dx(i, j), start + group.gradient(static_cast<std::size_t>(i)), 40));
    }
    EXPECT_TRUE(close(dgamma(0, j), gamma_sum, 40));
    EXPECT_TRUE(close(dbeta(0, j), beta_sum, 4));
  }
  EXPECT_TRUE(dx.padding_intact() && dgamma.padding_intact() && dbeta.padding_intact());
}

TYPED_TEST(NormalizationTest, BatchNormBackward) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const Index n : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        check_batch_norm_backward(kernels, n, placement, false);
        check_batch_norm_backward(kernels, n, placement, true);
      }
    }
  });
}

TYPED_TEST(NormalizationTest, GradientsThatNobodyWantsMayBeNull) {
  using T = TypeParam;
  const Index n = 17;
  const Matrix<T> x(4, n, {0, 0}, uniform<T>(-2, 3, 1));
  const Matrix<T> gamma(1, n, {0, 0}, uniform<T>(0.5, 2, 2));
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    Matrix<T> y(4, n);
    Matrix<T> row_stats(4, 2);
    Matrix<T> stats(2, n);
    Matrix<T> dbeta(1, n);
    const MatrixView<T> nothing{nullptr, 4, n, n};
    kernels.layer_norm(x.in(), gamma.data(), gamma.data(), kEpsilon, y.out(), row_stats.out());
    kernels.layer_norm_backward(x.in(), gamma.data(), row_stats.in(), x.in(), nothing, false,
                                nullptr, false, dbeta.data(), false);
    Matrix<T> expected(1, n);
    kernels.column_sum(x.in(), expected.data(), false);
    EXPECT_TRUE(dbeta.same_bits(expected));
    kernels.column_moments(x.in(), stats.out());
    kernels.batch_norm_backward(x.in(), stats.in(), gamma.data(), kEpsilon, x.in(), nothing, false,
                                nullptr, false, nullptr, false);
    Matrix<T> dx(4, n);
    kernels.batch_norm_backward(x.in(), stats.in(), gamma.data(), kEpsilon, x.in(), dx.out(), false,
                                nullptr, false, nullptr, false);
    EXPECT_TRUE(std::isfinite(dx(3, n - 1)));
  });
}

// Two passes: the mean of a large offset must not swallow the variance.
TYPED_TEST(NormalizationTest, MomentsOfShiftedColumns) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const Matrix<T> x(1000, 3, {0, 0},
                      [](Index i, Index) { return T(10000) + static_cast<T>(i % 2); });
    Matrix<T> stats(2, 3);
    kernels.column_moments(x.in(), stats.out());
    EXPECT_EQ(stats(0, 1), T(10000.5));
    EXPECT_EQ(stats(1, 1), T(0.25));
  });
}

}  // namespace
}  // namespace chainrule::test
