// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

using R = long double;

inline constexpr double kDelta = 0.75;
inline constexpr double kShape = 2.5;
inline constexpr double kDispersion = 0.4;

R sign(R d) { return d > 0 ? 1 : (d < 0 ? -1 : 0); }

struct LossReference {
  LossKernel kernel;
  const char* name;
  double parameter;
  double target_low;
  double target_high;
  R (*value)(R x, R t);
  R (*slope)(R x, R t);
  R (*curvature)(R x, R t);
};

constexpr LossReference kLosses[] = {
    {LossKernel::kSquaredError, "squared error", 0, -2, 2,
     [](R x, R t) { return (x - t) * (x - t); }, [](R x, R t) { return 2 * (x - t); },
     [](R, R) { return R(2); }},
    {LossKernel::kAbsoluteError, "absolute error", 0, -2, 2,
     [](R x, R t) { return std::fabs(x - t); }, [](R x, R t) { return sign(x - t); },
     [](R, R) { return R(0); }},
    {LossKernel::kHuber, "Huber", kDelta, -2, 2,
     [](R x, R t) {
       const R d = std::fabs(x - t);
       return d <= kDelta ? d * d / 2 : kDelta * (d - R(kDelta) / 2);
     },
     [](R x, R t) { return std::fabs(x - t) <= kDelta ? x - t : R(kDelta) * sign(x - t); },
     [](R x, R t) { return std::fabs(x - t) <= kDelta ? R(1) : R(0); }},
    {LossKernel::kBinaryCrossEntropy, "binary cross-entropy", 0, 0, 1,
     [](R x, R t) {
       return -t * std::log(1 / (1 + std::exp(-x))) - (1 - t) * std::log(1 / (1 + std::exp(x)));
     },
     [](R x, R t) { return 1 / (1 + std::exp(-x)) - t; },
     [](R x, R) { return 1 / ((1 + std::exp(-x)) * (1 + std::exp(x))); }},
    {LossKernel::kHinge, "hinge", 0, -1, 1, [](R x, R t) { return std::max(R(0), 1 - t * x); },
     [](R x, R t) { return 1 - t * x > 0 ? -t : R(0); }, [](R, R) { return R(0); }},
    {LossKernel::kPoisson, "Poisson", 0, 0, 5, [](R x, R t) { return std::exp(x) - t * x; },
     [](R x, R t) { return std::exp(x) - t; }, [](R x, R) { return std::exp(x); }},
    {LossKernel::kGamma, "Gamma", kShape, 0, 5,
     [](R x, R t) { return kShape * (t * std::exp(-x) + x); },
     [](R x, R t) { return kShape * (1 - t * std::exp(-x)); },
     [](R x, R t) { return kShape * t * std::exp(-x); }},
    {LossKernel::kNegativeBinomial, "negative binomial", kDispersion, 0, 5,
     [](R x, R t) {
       return (t + 1 / R(kDispersion)) * std::log(1 + kDispersion * std::exp(x)) - t * x;
     },
     [](R x, R t) {
       const R mu = std::exp(x);
       return (t + 1 / R(kDispersion)) * kDispersion * mu / (1 + kDispersion * mu) - t;
     },
     [](R x, R t) {
       const R mu = std::exp(x), grown = 1 + kDispersion * mu;
       return mu * (1 + kDispersion * t) / (grown * grown);
     }},
};

template <class T>
class LossTest : public ::testing::Test {};
TYPED_TEST_SUITE(LossTest, ElementTypes);

template <class T>
std::function<T(Index, Index)> targets(const LossReference& loss, unsigned seed) {
  if (loss.kernel != LossKernel::kHinge) {
    return uniform<T>(loss.target_low, loss.target_high, seed);
  }
  return [](Index i, Index j) { return (i + j) % 2 == 0 ? T(1) : T(-1); };
}

template <class T>
void check_loss(const Kernels<T>& kernels, const LossReference& loss, Index columns,
                Placement placement) {
  const Index rows = 5;
  const Matrix<T> x(rows, columns, placement, uniform<T>(-3, 3, 1));
  const Matrix<T> target(rows, columns, {placement.extra, 0}, targets<T>(loss, 2));
  const Matrix<T> dloss(rows, 1, {placement.extra, 1}, uniform<T>(-1, 1, 3));
  Matrix<T> value(rows, 1, placement);
  Matrix<T> dx(rows, columns, placement);
  Matrix<T> sum(rows, columns, placement, [](Index, Index) { return T(1); });
  kernels.loss[at(loss.kernel)](x.in(), target.in(), &loss.parameter, value.out());
  const auto backward = kernels.loss_backward[at(loss.kernel)];
  backward(x.in(), target.in(), &loss.parameter, dloss.in(), dx.out(), false);
  backward(x.in(), target.in(), &loss.parameter, dloss.in(), sum.out(), true);
  for (Index i = 0; i < rows; ++i) {
    R expected = 0;
    for (Index j = 0; j < columns; ++j) {
      expected += loss.value(x(i, j), target(i, j)) / columns;
      const R slope = dloss(i, 0) * loss.slope(x(i, j), target(i, j)) / columns;
      EXPECT_TRUE(close(dx(i, j), slope, 8, 4)) << x(i, j) << " against " << target(i, j);
      EXPECT_TRUE(close(sum(i, j), 1 + slope, 8, 4));
    }
    EXPECT_TRUE(close(value(i, 0), expected, 4 + static_cast<double>(columns) / 4, 4));
  }
  EXPECT_TRUE(value.padding_intact() && dx.padding_intact() && sum.padding_intact());
}

template <class T>
void check_tangents(const Kernels<T>& kernels, const LossReference& loss, Index columns,
                    Placement placement) {
  const Index rows = 5;
  const Matrix<T> x(rows, columns, placement, uniform<T>(-3, 3, 4));
  const Matrix<T> target(rows, columns, {placement.extra, 0}, targets<T>(loss, 5));
  const Matrix<T> tx(rows, columns, {1, 2}, uniform<T>(-1, 1, 6));
  const Matrix<T> dloss(rows, 1, {placement.extra, 1}, uniform<T>(-1, 1, 7));
  Matrix<T> tangent(rows, 1, placement);
  Matrix<T> dx(rows, columns, placement);
  Matrix<T> sum(rows, columns, placement, [](Index, Index) { return T(1); });
  kernels.loss_tangent[at(loss.kernel)](x.in(), target.in(), &loss.parameter, tx.in(),
                                        tangent.out());
  const auto curvature = kernels.loss_curvature[at(loss.kernel)];
  curvature(x.in(), target.in(), &loss.parameter, dloss.in(), tx.in(), dx.out(), false);
  curvature(x.in(), target.in(), &loss.parameter, dloss.in(), tx.in(), sum.out(), true);
  for (Index i = 0; i < rows; ++i) {
    R expected = 0, size = 4;
    for (Index j = 0; j < columns; ++j) {
      const R term = loss.slope(x(i, j), target(i, j)) * tx(i, j) / columns;
      expected += term;
      size += std::fabs(term);
      const R second = dloss(i, 0) * loss.curvature(x(i, j), target(i, j)) * tx(i, j) / columns;
      EXPECT_TRUE(close(dx(i, j), second, 8)) << x(i, j) << " against " << target(i, j);
      EXPECT_TRUE(close(sum(i, j), 1 + second, 8));
    }
    EXPECT_TRUE(close(tangent(i, 0), expected, 4 + static_cast<double>(columns) / 4, size));
  }
  EXPECT_TRUE(tangent.padding_intact() && dx.padding_intact() && sum.padding_intact());
}

TYPED_TEST(LossTest, AgreesWithTheFormula) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const LossReference& loss : kLosses) {
      SCOPED_TRACE(loss.name);
      for (const Index columns : kColumnCounts) {
        for (const Placement placement : kPlacements) {
          check_loss(kernels, loss, columns, placement);
          check_tangents(kernels, loss, columns, placement);
        }
      }
    }
  });
}

TYPED_TEST(LossTest, FiniteArgumentsNeverGiveNan) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const LossReference& loss : kLosses) {
      for (const T x : {T(-1e4), T(-100), T(0), T(100), T(1e4)}) {
        for (const T t : {T(loss.target_low), T(0), T(loss.target_high), T(1)}) {
          T value = 0;
          T dx = 0;
          const T one = 1;
          kernels.loss[at(loss.kernel)]({&x, 1, 1, 1}, {&t, 1, 1, 1}, &loss.parameter,
                                        {&value, 1, 1, 1});
          kernels.loss_backward[at(loss.kernel)]({&x, 1, 1, 1}, {&t, 1, 1, 1}, &loss.parameter,
                                                 {&one, 1, 1, 1}, {&dx, 1, 1, 1}, false);
          const bool overflows = (loss.kernel == LossKernel::kPoisson && x > 80) ||
                                 (loss.kernel == LossKernel::kGamma && x < -80 && t != 0);
          EXPECT_FALSE(std::isnan(value)) << loss.name << " of " << x << ", " << t;
          EXPECT_FALSE(std::isnan(dx)) << loss.name << " of " << x << ", " << t;
          EXPECT_TRUE(overflows || (std::isfinite(value) && std::isfinite(dx)))
              << loss.name << " of " << x << ", " << t;
        }
      }
    }
  });
}

TYPED_TEST(LossTest, NanPropagates) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const T t = 1;
  const T one = 1;
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    for (const LossReference& loss : kLosses) {
      T value = 0;
      T dx = 0;
      kernels.loss[at(loss.kernel)]({&nan, 1, 1, 1}, {&t, 1, 1, 1}, &loss.parameter,
                                    {&value, 1, 1, 1});
      kernels.loss_backward[at(loss.kernel)]({&nan, 1, 1, 1}, {&t, 1, 1, 1}, &loss.parameter,
                                             {&one, 1, 1, 1}, {&dx, 1, 1, 1}, false);
      EXPECT_TRUE(std::isnan(value)) << loss.name;
      EXPECT_TRUE(std::isnan(dx)) << loss.name;
      T tangent = 0;
      kernels.loss_tangent[at(loss.kernel)]({&nan, 1, 1, 1}, {&t, 1, 1, 1}, &loss.parameter,
                                            {&one, 1, 1, 1}, {&tangent, 1, 1, 1});
      EXPECT_TRUE(std::isnan(tangent)) << loss.name;
    }
  });
}

// A sample of weight 0 is deselected: not even an overflow or a NaN in it may contribute.
TYPED_TEST(LossTest, ZeroGradientOfTheLossContributesExactlyZero) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const LossReference& loss : kLosses) {
      for (const Index columns : {1, 5}) {
        const Matrix<T> x(2, columns, {0, 0}, [](Index i, Index) {
          return i == 0 ? std::numeric_limits<T>::quiet_NaN() : T(1e30);
        });
        const Matrix<T> target(2, columns, {0, 0}, [](Index, Index) { return T(1); });
        const Matrix<T> dloss(2, 1);
        Matrix<T> dx(2, columns, {0, 0}, [](Index, Index) { return T(7); });
        const auto backward = kernels.loss_backward[at(loss.kernel)];
        backward(x.in(), target.in(), &loss.parameter, dloss.in(), dx.out(), true);
        EXPECT_EQ(dx(0, columns - 1), T(7)) << loss.name;
        EXPECT_EQ(dx(1, 0), T(7)) << loss.name;
        backward(x.in(), target.in(), &loss.parameter, dloss.in(), dx.out(), false);
        EXPECT_EQ(dx(0, columns - 1), T(0)) << loss.name;
        EXPECT_EQ(dx(1, 0), T(0)) << loss.name;
        kernels.loss_curvature[at(loss.kernel)](x.in(), target.in(), &loss.parameter, dloss.in(),
                                                x.in(), dx.out(), false);
        EXPECT_EQ(dx(0, columns - 1), T(0)) << loss.name;
        EXPECT_EQ(dx(1, 0), T(0)) << loss.name;
      }
    }
  });
}

TYPED_TEST(LossTest, AColumnHasTheSameBitsDenseAndStrided) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const LossReference& loss : kLosses) {
      const Matrix<T> x(35, 1, {0, 0}, uniform<T>(-3, 3, 1));
      const Matrix<T> target(35, 1, {0, 0}, targets<T>(loss, 2));
      const Matrix<T> wide(35, 1, {4, 0}, [&](Index i, Index) { return x(i, 0); });
      Matrix<T> dense(35, 1);
      Matrix<T> strided(35, 1);
      kernels.loss[at(loss.kernel)](x.in(), target.in(), &loss.parameter, dense.out());
      kernels.loss[at(loss.kernel)](wide.in(), target.in(), &loss.parameter, strided.out());
      EXPECT_TRUE(strided.same_bits(dense)) << loss.name;
    }
  });
}

TYPED_TEST(LossTest, KinksHaveTheDocumentedSlope) {
  using T = TypeParam;
  const T zero = 0;
  const T one = 1;
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    T dx = 9;
    kernels.loss_backward[at(LossKernel::kAbsoluteError)]({&one, 1, 1, 1}, {&one, 1, 1, 1}, nullptr,
                                                          {&one, 1, 1, 1}, {&dx, 1, 1, 1}, false);
    EXPECT_EQ(dx, zero);
    dx = 9;
    kernels.loss_backward[at(LossKernel::kHinge)]({&one, 1, 1, 1}, {&one, 1, 1, 1}, nullptr,
                                                  {&one, 1, 1, 1}, {&dx, 1, 1, 1}, false);
    EXPECT_EQ(dx, zero);
    for (const LossKernel kernel : {LossKernel::kAbsoluteError, LossKernel::kHinge}) {
      T tangent = 9;
      kernels.loss_tangent[at(kernel)]({&one, 1, 1, 1}, {&one, 1, 1, 1}, nullptr, {&one, 1, 1, 1},
                                       {&tangent, 1, 1, 1});
      EXPECT_EQ(tangent, zero);
    }
    // Huber's gradient has its kinks at |x - t| = delta, which counts as inside.
    const double delta = 1;
    T second = 9;
    kernels.loss_curvature[at(LossKernel::kHuber)]({&one, 1, 1, 1}, {&zero, 1, 1, 1}, &delta,
                                                   {&one, 1, 1, 1}, {&one, 1, 1, 1},
                                                   {&second, 1, 1, 1}, false);
    EXPECT_EQ(second, one);
  });
}

}  // namespace
}  // namespace chainrule::test
