// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/linear_algebra.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "chainrule/core/error.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

// a^T a + ridge I in long double.
Tensor gram(const Tensor& a, double ridge) {
  Tensor result({a.columns(), a.columns()}, DType::kFloat64);
  for (Index i = 0; i < a.columns(); ++i) {
    for (Index j = 0; j < a.columns(); ++j) {
      long double sum = i == j ? ridge : 0;
      for (Index k = 0; k < a.rows(); ++k) {
        sum += static_cast<long double>(element(a, k, i)) * element(a, k, j);
      }
      result.as<double>()(i, j) = static_cast<double>(sum);
    }
  }
  return result;
}

TEST(LinearAlgebra, MultipliesTransposed) {
  const Tensor a = noise(9, 4, 1);
  for (const Index columns : {1, 3}) {
    const Tensor b = noise(9, columns, 2);
    Tensor c({4, columns}, DType::kFloat64);
    multiply_transposed(a.as<double>(), b.as<double>(), c.as<double>());
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < columns; ++j) {
        long double sum = 0;
        for (Index k = 0; k < 9; ++k) {
          sum += static_cast<long double>(element(a, k, i)) * element(b, k, j);
        }
        EXPECT_NEAR(element(c, i, j), static_cast<double>(sum), 1e-14);
      }
    }
  }
}

TEST(LinearAlgebra, MultipliesASingleColumnTransposed) {
  const Tensor a = noise(6, 1, 3);
  Tensor c({1, 1}, DType::kFloat64);
  multiply_transposed(a.as<double>(), a.as<double>(), c.as<double>());
  EXPECT_NEAR(element(c, 0, 0), element(gram(a, 0), 0, 0), 1e-14);
}

TEST(LinearAlgebra, SolvesPositiveDefiniteSystems) {
  for (const Index n : {1, 2, 7, 40, 150}) {
    const Tensor a = gram(noise(n, n, 4), 0.5);
    const Tensor b = noise(n, 3, 5);
    Tensor factor = a;
    for (Index i = 0; i < n; ++i) {  // only the lower triangle counts
      for (Index j = i + 1; j < n; ++j) {
        factor.as<double>()(i, j) = std::numeric_limits<double>::quiet_NaN();
      }
    }
    Tensor x = b;
    solve_positive_definite(factor.as<double>(), x.as<double>());
    for (Index i = 0; i < n; ++i) {
      for (Index k = 0; k < 3; ++k) {
        long double sum = 0;
        for (Index j = 0; j < n; ++j) {
          sum += static_cast<long double>(element(a, i, j)) * element(x, j, k);
        }
        EXPECT_NEAR(static_cast<double>(sum), element(b, i, k), 1e-11) << n;
      }
    }
  }
}

TEST(LinearAlgebra, NamesTheLeadingMinor) {
  const std::vector<double> values{4, 2, 0, 2, 5, 0, 0, 0, -1};
  Tensor a = testing::matrix(3, 3, values);
  Tensor b = noise(3, 1, 6);
  const std::string before = testing::bits(b.view());
  EXPECT_THAT(
      message_of<Error>([&] { solve_positive_definite(a.as<double>(), b.as<double>()); }),
      HasSubstr("the leading minor of order 3 of a [3, 3] matrix is not positive definite"));
  EXPECT_EQ(testing::bits(b.view()), before);
}

TEST(LinearAlgebra, RefusesShapesThatDoNotFit) {
  Tensor a({3, 3}, DType::kFloat64);
  Tensor b({2, 3}, DType::kFloat64);
  EXPECT_THROW(solve_positive_definite(a.as<double>(), b.as<double>()), ShapeError);
  EXPECT_THROW(solve_positive_definite(b.as<double>(), b.as<double>()), ShapeError);
  Tensor c({3, 3}, DType::kFloat64);
  EXPECT_THROW(multiply_transposed(a.as<double>(), b.as<double>(), c.as<double>()), ShapeError);
}

// Columns 1, t, ..., t^(m - 1) as rows.
Tensor powers(Index m, Index n) {
  Tensor result({m, n}, DType::kFloat64);
  for (Index i = 0; i < n; ++i) {
    const double t = static_cast<double>(2 * i + 1 - n) / static_cast<double>(n);
    for (Index j = 0; j < m; ++j) result.as<double>()(j, i) = std::pow(t, static_cast<double>(j));
  }
  return result;
}

TEST(LinearAlgebra, SolvesLeastSquares) {
  // What is left is orthogonal to every column, in long double.
  for (const Index m : {1, 3, 8}) {
    const Index n = 40;
    const Tensor columns = powers(m, n), b = noise(2, n, 17);
    Tensor work = columns, x = b;
    EXPECT_EQ(solve_least_squares(work.as<double>(), x.as<double>(), 1e-14), m);
    for (Index k = 0; k < 2; ++k) {
      for (Index l = 0; l < m; ++l) {
        long double product = 0;
        for (Index i = 0; i < n; ++i) {
          long double residual = -element(b, k, i);
          for (Index j = 0; j < m; ++j) {
            residual += static_cast<long double>(element(x, k, j)) * element(columns, j, i);
          }
          product += residual * element(columns, l, i);
        }
        EXPECT_NEAR(static_cast<double>(product), 0, 1e-12) << m << " columns";
      }
    }
  }
}

TEST(LinearAlgebra, LeastSquaresLoseNoDigitsToTheSquareOfTheCondition) {
  // Condition 1e8: the normal equations would keep no digit.
  const Index n = 30;
  Tensor columns({2, n}, DType::kFloat64), b({1, n}, DType::kFloat64);
  for (Index i = 0; i < n; ++i) {
    const double t = static_cast<double>(i) / 32;
    columns.as<double>()(0, i) = 1;
    columns.as<double>()(1, i) = 1 + std::ldexp(t, -26);
    b.as<double>()(0, i) = 3 - 2 * columns.as<double>()(1, i);
  }
  EXPECT_EQ(solve_least_squares(columns.as<double>(), b.as<double>(), 1e-14), 2);
  EXPECT_NEAR(element(b, 0, 0), 3, 1e-6);
  EXPECT_NEAR(element(b, 0, 1), -2, 1e-6);
}

TEST(LinearAlgebra, LeastSquaresTellTheRank) {
  const Index n = 12;
  Tensor columns({4, n}, DType::kFloat64), b({1, n}, DType::kFloat64);
  const Tensor base = powers(2, n);
  for (Index i = 0; i < n; ++i) {
    columns.as<double>()(0, i) = element(base, 0, i);
    columns.as<double>()(1, i) = 1e9 * element(base, 1, i);  // scaling counts for nothing
    columns.as<double>()(2, i) = element(base, 0, i) + element(base, 1, i);
    columns.as<double>()(3, i) = 0;
    b.as<double>()(0, i) = 1 + 5 * element(base, 1, i);
  }
  const Tensor before = columns, right = b;
  EXPECT_EQ(solve_least_squares(columns.as<double>(), b.as<double>(), 1e-12), 2);
  EXPECT_EQ(element(b, 0, 3), 0);
  for (Index i = 0; i < n; ++i) {
    double sum = 0;
    for (Index j = 0; j < 4; ++j) sum += element(b, 0, j) * element(before, j, i);
    EXPECT_NEAR(sum, element(right, 0, i), 1e-13);
  }
}

TEST(LinearAlgebra, LeastSquaresSayWhatDoesNotFit) {
  Tensor columns({5, 4}, DType::kFloat64), b({1, 4}, DType::kFloat64);
  const auto call = [&](double tolerance) {
    solve_least_squares(columns.as<double>(), b.as<double>(), tolerance);
  };
  EXPECT_THAT(message_of<ShapeError>([&] { call(0); }), HasSubstr("columns [5, 4] and b [1, 4]"));
  columns = Tensor({2, 4}, DType::kFloat64);
  EXPECT_THAT(message_of<ArgumentError>([&] { call(1); }), HasSubstr("tolerance 1"));
  EXPECT_THAT(message_of<ArgumentError>([&] { call(std::nan("")); }), HasSubstr("tolerance nan"));
}

}  // namespace
}  // namespace chainrule
