// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/parallel_linear_algebra.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/core/random.hpp"
#include "message_of.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

Tensor random_matrix(Index rows, Index columns, std::uint64_t seed) {
  std::vector<double> values(static_cast<std::size_t>(rows * columns));
  fill_random_normal({.seed = seed}, 0, values);
  return Tensor::from<double>({rows, columns}, values);
}

// A lower triangle with a diagonal that keeps L L^T well conditioned, and NaN above it.
Tensor random_triangle(Index n, std::uint64_t seed) {
  Tensor l = random_matrix(n, n, seed);
  const auto view = l.as<double>();
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) view(i, j) *= 0.5 / std::sqrt(static_cast<double>(n));
    view(i, i) = 1 + std::abs(view(i, i));
    for (Index j = i + 1; j < n; ++j) view(i, j) = kNaN;
  }
  return l;
}

// sum_k a(i, k) b(j, k) over k < count in long double.
double dot(const Tensor& a, Index i, const Tensor& b, Index j, Index count) {
  const double* const left = a.as<double>().row(i);
  const double* const right = b.as<double>().row(j);
  long double sum = 0;
  for (Index k = 0; k < count; ++k) sum += static_cast<long double>(left[k]) * right[k];
  return static_cast<double>(sum);
}

// The lower triangle of L L^T, and NaN above.
Tensor squared(const Tensor& l) {
  Tensor a = l;
  for (Index i = 0; i < l.rows(); ++i) {
    for (Index j = 0; j <= i; ++j) a.as<double>()(i, j) = dot(l, i, l, j, j + 1);
  }
  return a;
}

Tensor transposed(const Tensor& a) {
  Tensor result({a.columns(), a.rows()}, DType::kFloat64);
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.columns(); ++j) result.as<double>()(j, i) = element(a, i, j);
  }
  return result;
}

MatrixView<const double> float64_view(const Tensor& a) { return a.as<double>(); }

void expect_all_near(const Tensor& got, const Tensor& expected, double tolerance) {
  for (Index i = 0; i < got.rows(); ++i) {
    for (Index j = 0; j < got.columns(); ++j) {
      ASSERT_NEAR(element(got, i, j), element(expected, i, j), tolerance) << i << ", " << j;
    }
  }
}

// Sizes below, at and above one tile and several.
const std::vector<Index> kSizes{1, 65, 128, 260};

TEST(ParallelLinearAlgebra, Multiplies) {
  const Executor executor(2);
  for (const Index m : kSizes) {
    const Tensor a = random_matrix(m, 30, 1), b = random_matrix(150, 30, 2);
    const Tensor a_t = transposed(a), b_t = transposed(b), before = random_matrix(m, 150, 3);
    Tensor expected = before;
    for (Index i = 0; i < m; ++i) {
      for (Index j = 0; j < 150; ++j) {
        expected.as<double>()(i, j) = 0.5 * dot(a, i, b, j, 30) - 2 * element(before, i, j);
      }
    }
    using Side = Operand<double>;
    for (const Side& left : {Side(float64_view(a)), transpose(float64_view(a_t))}) {
      for (const Side& right : {transpose(float64_view(b)), Side(float64_view(b_t))}) {
        Tensor c = before;
        gemm(0.5, left, right, -2, c.as<double>(), executor);
        expect_all_near(c, expected, 1e-13);
      }
    }
  }
}

TEST(ParallelLinearAlgebra, OverwritesWithBetaZero) {
  const Tensor a = random_matrix(3, 2, 1);
  Tensor c({3, 3}, DType::kFloat64);
  c.as<double>()(1, 1) = kNaN;
  gemm(1, float64_view(a), transpose(float64_view(a)), 0, c.as<double>(), Executor());
  EXPECT_NEAR(element(c, 1, 1), dot(a, 1, a, 1, 2), 1e-15);
}

TEST(ParallelLinearAlgebra, UpdatesSymmetricMatrices) {
  const Executor executor(2);
  for (const Index n : kSizes) {
    const Tensor a = random_matrix(n, 20, 1), a_t = transposed(a), before = random_matrix(n, n, 2);
    Tensor both = before, lower = before;
    syrk(2, float64_view(a), 0.5, lower.as<double>(), Triangle::kLower, executor);
    syrk(2, transpose(float64_view(a_t)), 0.5, both.as<double>(), Triangle::kBoth, executor);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        const double expected =
            2 * dot(a, i, a, j, 20) + 0.5 * element(before, std::max(i, j), std::min(i, j));
        ASSERT_NEAR(element(both, i, j), expected, 1e-13);
        ASSERT_NEAR(element(lower, i, j), j <= i ? expected : element(before, i, j), 1e-13);
      }
    }
  }
}

TEST(ParallelLinearAlgebra, Factors) {
  const Executor executor(2);
  for (const Index n : kSizes) {
    const Tensor l = random_triangle(n, 4);
    Tensor a = squared(l);
    const CholeskyResult result = cholesky(a.as<double>(), {}, executor);
    long double log_determinant = 0;
    for (Index i = 0; i < n; ++i) {
      log_determinant += 2 * std::log(static_cast<long double>(element(l, i, i)));
      for (Index j = 0; j < n; ++j) {
        if (j <= i) {
          ASSERT_NEAR(element(a, i, j), element(l, i, j), 1e-13) << n;
        } else {
          ASSERT_TRUE(std::isnan(element(a, i, j)));  // not touched
        }
      }
    }
    EXPECT_NEAR(result.log_determinant, static_cast<double>(log_determinant), 1e-11);
    EXPECT_EQ(result.jitter, 0);
  }
}

TEST(ParallelLinearAlgebra, SolvesAndInverts) {
  const Executor executor(2);
  for (const Index n : kSizes) {
    const Tensor l = random_triangle(n, 5), x = random_matrix(n, 130, 6), x_t = transposed(x);
    Tensor b({n, 130}, DType::kFloat64), l_x = b, lt_x = b, inverse({n, n}, DType::kFloat64);
    const Tensor a = squared(l);
    Tensor full = a, upper({n, n}, DType::kFloat64), zeroed = l;
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        if (j > i) full.as<double>()(i, j) = element(a, j, i);
        if (j > i) zeroed.as<double>()(i, j) = 0;
        upper.as<double>()(i, j) = j >= i ? element(l, j, i) : 0;
      }
    }
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < 130; ++j) {
        l_x.as<double>()(i, j) = dot(zeroed, i, x_t, j, n);
        lt_x.as<double>()(i, j) = dot(upper, i, x_t, j, n);
        b.as<double>()(i, j) = dot(full, i, x_t, j, n);
      }
    }
    solve_lower(float64_view(l), l_x.as<double>(), executor);
    solve_lower(transpose(float64_view(l)), lt_x.as<double>(), executor);
    solve_cholesky(float64_view(l), b.as<double>(), executor);
    expect_all_near(l_x, x, 1e-13);
    expect_all_near(lt_x, x, 1e-13);
    expect_all_near(b, x, 1e-12);
    invert_cholesky(float64_view(l), inverse.as<double>(), executor);
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < n; ++j) {
        ASSERT_EQ(element(inverse, i, j), element(inverse, j, i));
        ASSERT_NEAR(dot(full, i, inverse, j, n), i == j ? 1 : 0, 1e-12);
      }
    }
  }
}

// 700 is more than one tile and above what is left to the calling thread.
TEST(ParallelLinearAlgebra, HasTheSameBitsOnAnyNumberOfThreads) {
  const ScopedThreadLimit limit(8);
  const Index n = 700;
  Tensor a = random_matrix(n, n, 7);
  const Tensor right = random_matrix(n, 300, 8);
  std::string first;
  for (const int threads : {1, 2, 3, 8}) {
    const Executor executor(threads);
    Tensor c({n, n}, DType::kFloat64), product = c, inverse = c, x = right;
    gemm(1, float64_view(a), float64_view(a), 0, product.as<double>(), executor);
    syrk(1, float64_view(a), 0, c.as<double>(), Triangle::kBoth, executor);
    for (Index i = 0; i < n; ++i) c.as<double>()(i, i) += 1;
    cholesky(c.as<double>(), {}, executor);
    solve_cholesky(float64_view(c), x.as<double>(), executor);
    invert_cholesky(float64_view(c), inverse.as<double>(), executor);
    const std::string all =
        testing::bytes(product) + testing::bytes(c) + testing::bytes(x) + testing::bytes(inverse);
    if (threads == 1) first = all;
    EXPECT_TRUE(all == first) << threads << " threads";
  }
}

TEST(ParallelLinearAlgebra, WorksInFloat32) {
  const Index n = 200;
  const Tensor l = random_triangle(n, 9), a = squared(l);
  Tensor factor = a.to(DType::kFloat32), inverse({n, n}, DType::kFloat32), column = inverse;
  for (Index i = 0; i < n; ++i) column.as<float>()(i, 0) = static_cast<float>(element(a, i, 0));
  cholesky(factor.as<float>(), {}, Executor(2));
  solve_cholesky(std::as_const(factor).as<float>(), column.as<float>(), Executor(2));
  invert_cholesky(std::as_const(factor).as<float>(), inverse.as<float>(), Executor(2));
  for (Index i = 0; i < n; ++i) {
    EXPECT_NEAR(element(factor, i, 0), element(l, i, 0), 1e-5);
    EXPECT_NEAR(element(column, i, 0), i == 0 ? 1 : 0, 1e-5);
    double sum = 0;
    for (Index j = 0; j < n; ++j) sum += element(inverse, i, j) * element(a, j, 0);
    EXPECT_NEAR(sum, i == 0 ? 1 : 0, 1e-5);
  }
}

// A triangle's square with the pivot of row `row` made -0.75.
Tensor indefinite(Index n, Index row) {
  Tensor l = random_triangle(n, 10), a = squared(l);
  const double pivot = element(l, row, row) * element(l, row, row);
  a.as<double>()(row, row) -= pivot + 0.75;
  return a;
}

TEST(ParallelLinearAlgebra, NamesThePivotThatIsNotPositive) {
  for (const Index row : {0, 100, 150, 299}) {
    for (const int threads : {1, 2}) {
      Tensor a = indefinite(300, row);
      const std::string message =
          message_of<Error>([&] { cholesky(a.as<double>(), {}, Executor(threads)); });
      EXPECT_THAT(message, HasSubstr("a [300, 300] matrix is not positive definite: the pivot of "
                                     "row " +
                                     std::to_string(row) + " (from 0) is -0.7"));
    }
  }
}

TEST(ParallelLinearAlgebra, NamesAPivotThatIsNotANumber) {
  Tensor a = squared(random_triangle(300, 11));
  a.as<double>()(200, 150) = kNaN;
  EXPECT_THAT(message_of<Error>([&] { cholesky(a.as<double>(), {}, Executor(2)); }),
              HasSubstr("the pivot of row 200 (from 0) is nan"));
}

TEST(ParallelLinearAlgebra, AddsTheLeastJitterOfTen) {
  // Mean diagonal 2; eigenvalues 4 and -4e-7: a jitter of 1e-7 * 2 is too little, 1e-6 * 2 enough.
  Tensor a({2, 2}, DType::kFloat64);
  const auto set = [&] {
    a.as<double>()(0, 0) = a.as<double>()(1, 1) = 2;
    a.as<double>()(1, 0) = 2 + 4e-7;
  };
  set();
  EXPECT_THROW(cholesky(a.as<double>(), {}, Executor()), Error);
  set();
  EXPECT_THAT(
      message_of<Error>([&] { cholesky(a.as<double>(), {.max_jitter = 1e-7}, Executor()); }),
      HasSubstr("with 2e-07 added to its diagonal is not positive definite"));
  set();
  const CholeskyResult result = cholesky(a.as<double>(), {.max_jitter = 1e-4}, Executor());
  EXPECT_NEAR(result.jitter, 2e-6, 1e-18);
  EXPECT_NEAR(element(a, 0, 0), std::sqrt(2 + 2e-6), 1e-15);
  EXPECT_NEAR(result.log_determinant, std::log(1.6e-6 * (4 + 2e-6 + 4e-7)), 1e-6);
}

TEST(ParallelLinearAlgebra, RefusesWhatDoesNotFit) {
  const Executor executor;
  Tensor a({3, 2}, DType::kFloat64), b({3, 3}, DType::kFloat64), c({2, 1}, DType::kFloat64);
  EXPECT_THROW(cholesky(a.as<double>(), {}, executor), ShapeError);
  EXPECT_THROW(cholesky(b.as<double>(), {.max_jitter = -1}, executor), ArgumentError);
  EXPECT_THROW(cholesky(b.as<double>(), {.max_jitter = kNaN}, executor), ArgumentError);
  EXPECT_THROW(gemm(1, float64_view(a), float64_view(b), 0, b.as<double>(), executor), ShapeError);
  EXPECT_THROW(syrk(1, float64_view(c), 0, b.as<double>(), Triangle::kLower, executor), ShapeError);
  EXPECT_THROW(solve_lower(float64_view(b), c.as<double>(), executor), ShapeError);
  EXPECT_THROW(solve_cholesky(float64_view(b), c.as<double>(), executor), ShapeError);
  EXPECT_THROW(invert_cholesky(float64_view(b), a.as<double>(), executor), ShapeError);
}

TEST(ParallelLinearAlgebra, TakesEmptyMatrices) {
  const Executor executor;
  Tensor empty({0, 0}, DType::kFloat64), none({3, 0}, DType::kFloat64), c = random_matrix(3, 3, 12);
  EXPECT_EQ(cholesky(empty.as<double>(), {}, executor).log_determinant, 0);
  invert_cholesky(float64_view(empty), empty.as<double>(), executor);
  solve_cholesky(float64_view(c), none.as<double>(), executor);
  gemm(1, float64_view(none), transpose(float64_view(none)), 0, c.as<double>(), executor);
  EXPECT_EQ(element(c, 2, 1), 0);
}

TEST(ExecutorForEach, RunsEachItemOnce) {
  const ScopedThreadLimit limit(4);
  const Executor executor(4);
  for (const double flops : {0.0, 1e12}) {
    std::vector<std::atomic<int>> seen(1000);
    executor.for_each(1000, flops, [&](Index item, int worker) {
      EXPECT_GE(worker, 0);
      EXPECT_LT(worker, 4);
      ++seen[static_cast<std::size_t>(item)];
    });
    for (const auto& count : seen) EXPECT_EQ(count, 1);
  }
  EXPECT_THROW(executor.for_each(-1, 0, [](Index, int) {}), ArgumentError);
}

TEST(ExecutorForEach, PassesOnTheExceptionOfTheLowestItem) {
  const Executor executor(2);
  EXPECT_THAT(message_of<Error>([&] {
                executor.for_each(100, 1e12, [](Index item, int) {
                  if (item % 10 == 7) throw Error("item " + std::to_string(item));
                });
              }),
              HasSubstr("item 7"));
}

}  // namespace
}  // namespace chainrule
