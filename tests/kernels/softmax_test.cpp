// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

template <class T>
class SoftmaxTest : public ::testing::Test {};
TYPED_TEST_SUITE(SoftmaxTest, ElementTypes);

/// More than a vector has lanes, and not a multiple of that.
constexpr Index kRows = 21;

template <class T>
std::vector<Real> log_softmax_of(const Matrix<T>& x, Index i) {
  Real most = -std::numeric_limits<Real>::infinity();
  for (Index j = 0; j < x.columns(); ++j) most = std::max(most, Real(x(i, j)));
  Real sum = 0;
  for (Index j = 0; j < x.columns(); ++j) sum += std::exp(x(i, j) - most);
  std::vector<Real> result;
  for (Index j = 0; j < x.columns(); ++j) result.push_back(x(i, j) - most - std::log(sum));
  return result;
}

template <class T, class Body>
void for_each_width(Body body) {
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    for (const Index columns : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        SCOPED_TRACE(::testing::Message() << columns << " columns, extra " << placement.extra);
        body(kernels, columns, placement);
      }
    }
  });
}

TYPED_TEST(SoftmaxTest, AgreesWithTheFormula) {
  using T = TypeParam;
  for_each_width<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> x(kRows, n, placement, uniform<T>(-5, 5, 1));
    Matrix<T> p(kRows, n, {3, 1});
    Matrix<T> log_p(kRows, n, placement);
    kernels.softmax(x.in(), p.out());
    kernels.log_softmax(x.in(), log_p.out());
    for (Index i = 0; i < kRows; ++i) {
      const std::vector<Real> expected = log_softmax_of(x, i);
      for (Index j = 0; j < n; ++j) {
        const Real e = expected[static_cast<std::size_t>(j)];
        EXPECT_TRUE(close(p(i, j), std::exp(e), 12, std::exp(e)));
        EXPECT_TRUE(close(log_p(i, j), e, 8, 4));
      }
    }
    EXPECT_TRUE(p.padding_intact() && log_p.padding_intact());
    Matrix<T> in_place(kRows, n, placement, [&](Index i, Index j) { return x(i, j); });
    kernels.softmax(in_place.in(), in_place.out());
    EXPECT_TRUE(in_place.same_bits(p));
  });
}

// J^T dy with the Jacobians written out: dp_j/dx_k = p_j (delta_jk - p_k).
TYPED_TEST(SoftmaxTest, BackwardMultipliesByTheJacobian) {
  using T = TypeParam;
  for_each_width<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> x(kRows, n, {0, 0}, uniform<T>(-3, 3, 1));
    const Matrix<T> dy(kRows, n, placement, uniform<T>(-1, 1, 2));
    const Matrix<T> p(kRows, n, placement, [&](Index i, Index j) {
      return static_cast<T>(std::exp(log_softmax_of(x, i)[static_cast<std::size_t>(j)]));
    });
    const Matrix<T> log_p(kRows, n, placement, [&](Index i, Index j) {
      return static_cast<T>(log_softmax_of(x, i)[static_cast<std::size_t>(j)]);
    });
    for (const bool accumulate : {false, true}) {
      Matrix<T> dx(kRows, n, placement, [](Index, Index) { return T(1); });
      Matrix<T> log_dx(kRows, n, {1, 0}, [](Index, Index) { return T(1); });
      kernels.softmax_backward(p.in(), dy.in(), dx.out(), accumulate);
      kernels.log_softmax_backward(log_p.in(), dy.in(), log_dx.out(), accumulate);
      for (Index i = 0; i < kRows; ++i) {
        for (Index k = 0; k < n; ++k) {
          Real expected = accumulate ? 1 : 0;
          Real log_expected = expected;
          const Real p_k = p(i, k);
          for (Index j = 0; j < n; ++j) {
            const Real delta = j == k ? 1 : 0;
            expected += dy(i, j) * p(i, j) * (delta - p_k);
            log_expected += dy(i, j) * (delta - p_k);
          }
          EXPECT_TRUE(close(dx(i, k), expected, 10));
          EXPECT_TRUE(close(log_dx(i, k), log_expected, 10 + static_cast<double>(n)));
        }
      }
      EXPECT_TRUE(dx.padding_intact() && log_dx.padding_intact());
    }
  });
}

TYPED_TEST(SoftmaxTest, LargeLogitsAndMaskedOnesAreFine) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  for_each_architecture<T>([inf](const Kernels<T>& kernels) {
    const T row[4] = {T(1e4), T(1e4), T(-1e4), -inf};
    T p[4];
    T log_p[4];
    kernels.softmax({row, 1, 4, 4}, {p, 1, 4, 4});
    kernels.log_softmax({row, 1, 4, 4}, {log_p, 1, 4, 4});
    EXPECT_EQ(p[0], T(0.5));
    EXPECT_EQ(p[2], T(0));
    EXPECT_EQ(p[3], T(0));
    EXPECT_TRUE(close(log_p[1], -std::log(Real(2)), 1));
    EXPECT_TRUE(close(log_p[2], Real(-2e4) - std::log(Real(2)), 1));
    EXPECT_EQ(log_p[3], -inf);
    const T broken[3] = {T(1), std::numeric_limits<T>::quiet_NaN(), T(2)};
    kernels.softmax({broken, 1, 3, 3}, {p, 1, 3, 3});
    EXPECT_TRUE(std::isnan(p[0]) && std::isnan(p[1]) && std::isnan(p[2]));
  });
}

/// Targets after smoothing, loss and gradient of one row, all in long double.
template <class T>
void expect_cross_entropy_row(const Matrix<T>& x, Index i, const std::vector<Real>& target, T loss,
                              const Matrix<T>& probabilities, Real dloss, const Matrix<T>& dx,
                              Real start) {
  const std::vector<Real> log_p = log_softmax_of(x, i);
  Real expected = 0;
  Real mass = 0;
  for (std::size_t j = 0; j < target.size(); ++j) {
    expected -= target[j] * log_p[j];
    mass += target[j];
  }
  EXPECT_TRUE(close(loss, expected, 8 + static_cast<double>(x.columns()) / 2, 4));
  for (Index j = 0; j < x.columns(); ++j) {
    const Real p = std::exp(log_p[static_cast<std::size_t>(j)]);
    EXPECT_TRUE(close(probabilities(i, j), p, 12, p));
    const Real slope = dloss * (p * mass - target[static_cast<std::size_t>(j)]);
    EXPECT_TRUE(close(dx(i, j), start + slope, 10));
  }
}

TYPED_TEST(SoftmaxTest, CrossEntropyAgainstLabels) {
  using T = TypeParam;
  for_each_width<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> x(kRows, n, placement, uniform<T>(-4, 4, 1));
    const Matrix<std::int32_t> labels(kRows, 1, placement, [n](Index i, Index) {
      return static_cast<std::int32_t>((3 * i + 1) % n);
    });
    const Matrix<T> dloss(kRows, 1, placement, uniform<T>(0.5, 1, 2));
    for (const double smoothing : {0.0, 0.1}) {
      for (const bool accumulate : {false, true}) {
        Matrix<T> loss(kRows, 1, placement);
        Matrix<T> p(kRows, n, placement);
        Matrix<T> dx(kRows, n, {2, 0}, [](Index, Index) { return T(1); });
        kernels.cross_entropy(x.in(), labels.in(), smoothing, loss.out(), p.out());
        kernels.cross_entropy_backward(p.in(), labels.in(), smoothing, dloss.in(), dx.out(),
                                       accumulate);
        for (Index i = 0; i < kRows; ++i) {
          std::vector<Real> target(static_cast<std::size_t>(n), Real(smoothing) / n);
          target[static_cast<std::size_t>(labels(i, 0))] += 1 - Real(smoothing);
          expect_cross_entropy_row(x, i, target, loss(i, 0), p, dloss(i, 0), dx,
                                   accumulate ? 1 : 0);
        }
        EXPECT_TRUE(loss.padding_intact() && p.padding_intact() && dx.padding_intact());
      }
    }
  });
}

TYPED_TEST(SoftmaxTest, CrossEntropyAgainstProbabilities) {
  using T = TypeParam;
  for_each_width<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> x(kRows, n, placement, uniform<T>(-4, 4, 1));
    // Rows that do not sum to 1 still have the loss -sum(t log p).
    const Matrix<T> soft(kRows, n, placement, uniform<T>(0, 2.0 / static_cast<double>(n), 2));
    const Matrix<T> dloss(kRows, 1, placement, uniform<T>(0.5, 1, 3));
    for (const double smoothing : {0.0, 0.25}) {
      for (const bool accumulate : {false, true}) {
        Matrix<T> loss(kRows, 1, placement);
        Matrix<T> p(kRows, n, placement);
        Matrix<T> dx(kRows, n, {2, 0}, [](Index, Index) { return T(1); });
        kernels.soft_cross_entropy(x.in(), soft.in(), smoothing, loss.out(), p.out());
        kernels.soft_cross_entropy_backward(p.in(), soft.in(), smoothing, dloss.in(), dx.out(),
                                            accumulate);
        for (Index i = 0; i < kRows; ++i) {
          std::vector<Real> target;
          for (Index j = 0; j < n; ++j) {
            target.push_back((1 - Real(smoothing)) * soft(i, j) + Real(smoothing) / n);
          }
          expect_cross_entropy_row(x, i, target, loss(i, 0), p, dloss(i, 0), dx,
                                   accumulate ? 1 : 0);
        }
        EXPECT_TRUE(loss.padding_intact() && p.padding_intact() && dx.padding_intact());
      }
    }
  });
}

TYPED_TEST(SoftmaxTest, CrossEntropyOfHugeLogitsIsFinite) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  for_each_architecture<T>([inf](const Kernels<T>& kernels) {
    const T row[3] = {T(1e4), T(-1e4), T(0)};
    const std::int32_t label = 1;
    T loss = 0;
    T p[3];
    for (const double smoothing : {0.0, 0.1}) {
      kernels.cross_entropy({row, 1, 3, 3}, {&label, 1, 1, 1}, smoothing, {&loss, 1, 1, 1},
                            {p, 1, 3, 3});
      EXPECT_TRUE(std::isfinite(loss));
      EXPECT_EQ(p[0], T(1));
    }
    const T masked[3] = {T(1), -inf, T(2)};
    const T target[3] = {T(0.5), T(0), T(0.5)};
    kernels.soft_cross_entropy({masked, 1, 3, 3}, {target, 1, 3, 3}, 0.0, {&loss, 1, 1, 1},
                               {p, 1, 3, 3});
    EXPECT_TRUE(close(loss, std::log(1 + std::exp(Real(1))) - Real(0.5), 4));
  });
}

TYPED_TEST(SoftmaxTest, ZeroGradientOfTheCrossEntropyContributesExactlyZero) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const T nan = std::numeric_limits<T>::quiet_NaN();
    const T p[3] = {nan, nan, nan};
    const T zero = 0;
    const std::int32_t label = 2;
    for (const bool accumulate : {false, true}) {
      T dx[3] = {4, 4, 4};
      T soft_dx[3] = {4, 4, 4};
      kernels.cross_entropy_backward({p, 1, 3, 3}, {&label, 1, 1, 1}, 0.1, {&zero, 1, 1, 1},
                                     {dx, 1, 3, 3}, accumulate);
      kernels.soft_cross_entropy_backward({p, 1, 3, 3}, {p, 1, 3, 3}, 0.1, {&zero, 1, 1, 1},
                                          {soft_dx, 1, 3, 3}, accumulate);
      for (int j = 0; j < 3; ++j) {
        EXPECT_EQ(dx[j], accumulate ? T(4) : T(0));
        EXPECT_EQ(soft_dx[j], accumulate ? T(4) : T(0));
      }
    }
  });
}

}  // namespace
}  // namespace chainrule::test
