// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"
#include "unary_reference.hpp"

namespace chainrule::test {
namespace {

template <class T>
class UnaryTest : public ::testing::Test {};
TYPED_TEST_SUITE(UnaryTest, ElementTypes);

std::pair<double, double> domain(UnaryKernel kernel) {
  return kernel == UnaryKernel::kLog ? std::pair(0.05, 4.0) : std::pair(-4.0, 4.0);
}

template <class T>
void check_forward(const Kernels<T>& kernels, const UnaryReference& f, Index columns,
                   Placement placement) {
  const auto [low, high] = domain(f.kernel);
  const Matrix<T> x(3, columns, placement, uniform<T>(low, high, 1));
  Matrix<T> y(3, columns, {placement.extra + 1, 2});
  kernels.unary[at(f.kernel)](x.in(), y.out(), &f.parameter);
  Matrix<T> in_place(3, columns, placement, [&](Index i, Index j) { return x(i, j); });
  kernels.unary[at(f.kernel)](in_place.in(), in_place.out(), &f.parameter);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < columns; ++j) EXPECT_TRUE(close(y(i, j), f.value(x(i, j)), 3));
  }
  EXPECT_TRUE(in_place.same_bits(y));
  EXPECT_TRUE(y.padding_intact());
  EXPECT_TRUE(in_place.padding_intact());
}

template <class T>
void check_backward(const Kernels<T>& kernels, const UnaryReference& f, Index columns,
                    Placement placement) {
  const auto [low, high] = domain(f.kernel);
  const Matrix<T> x(3, columns, placement, uniform<T>(low, high, 2));
  const Matrix<T> dy(3, columns, {1, 3}, uniform<T>(-2, 2, 3));
  const Matrix<T> source(3, columns, placement, [&](Index i, Index j) {
    return unary_reads_output(f.kernel) ? static_cast<T>(f.value(x(i, j))) : x(i, j);
  });
  Matrix<T> dx(3, columns, placement);
  Matrix<T> sum(3, columns, placement, uniform<T>(-1, 1, 4));
  const Matrix<T> before(3, columns, placement, uniform<T>(-1, 1, 4));
  const auto backward = kernels.unary_backward[at(f.kernel)];
  backward(source.in(), dy.in(), dx.out(), &f.parameter, false);
  backward(source.in(), dy.in(), sum.out(), &f.parameter, true);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < columns; ++j) {
      const Real expected = f.slope(x(i, j)) * dy(i, j);
      EXPECT_TRUE(close(dx(i, j), expected, 8)) << "x = " << x(i, j);
      EXPECT_TRUE(close(sum(i, j), before(i, j) + expected, 8));
    }
  }
  EXPECT_TRUE(dx.padding_intact());
  EXPECT_TRUE(sum.padding_intact());
}

/// The kernels of forward mode: f' from x, and f'' with the source of backward, which for the
/// functions that read y is what the forward kernel made of x.
template <class T>
void check_tangents(const Kernels<T>& kernels, const UnaryReference& f, Index columns,
                    Placement placement) {
  const auto [low, high] = domain(f.kernel);
  const Matrix<T> x(3, columns, placement, uniform<T>(low, high, 6));
  const Matrix<T> tx(3, columns, {2, 1}, uniform<T>(-2, 2, 7));
  const Matrix<T> dy(3, columns, {1, 3}, uniform<T>(-2, 2, 8));
  Matrix<T> y(3, columns, placement);
  Matrix<T> ty(3, columns, placement);
  Matrix<T> dx(3, columns, placement);
  Matrix<T> sum(3, columns, placement, [](Index, Index) { return T(0.5); });
  kernels.unary[at(f.kernel)](x.in(), y.out(), &f.parameter);
  const auto source = unary_reads_output(f.kernel) ? y.in() : x.in();
  kernels.unary_tangent[at(f.kernel)](x.in(), tx.in(), ty.out(), &f.parameter);
  const auto curvature = kernels.unary_curvature[at(f.kernel)];
  curvature(source, dy.in(), tx.in(), dx.out(), &f.parameter, false);
  curvature(source, dy.in(), tx.in(), sum.out(), &f.parameter, true);
  for (Index i = 0; i < 3; ++i) {
    for (Index j = 0; j < columns; ++j) {
      const Real along = tx(i, j), both = along * dy(i, j);
      EXPECT_TRUE(close(ty(i, j), f.slope(x(i, j)) * along, 8)) << "x = " << x(i, j);
      // To 8 units of max(|f''|, 1), each factor at most 2 in size.
      const Real expected = f.curvature(x(i, j)) * both;
      EXPECT_TRUE(close(dx(i, j), expected, 8, 4)) << "x = " << x(i, j);
      EXPECT_TRUE(close(sum(i, j), Real(0.5) + expected, 8, 4));
    }
  }
  EXPECT_TRUE(ty.padding_intact());
  EXPECT_TRUE(dx.padding_intact());
  EXPECT_TRUE(sum.padding_intact());
}

TEST(UnaryReferences, AreDerivativesOfEachOther) {
  constexpr Real kStep = 1e-5L;
  const auto difference = [](auto g, Real x) {  // of order 4
    return (8 * (g(x + kStep) - g(x - kStep)) - (g(x + 2 * kStep) - g(x - 2 * kStep))) /
           (12 * kStep);
  };
  for (const UnaryReference& f : kUnaryReferences) {
    const auto [low, high] = domain(f.kernel);
    for (Real x = low + 0.01L; x < high; x += 0.37L) {
      EXPECT_LT(std::fabs(difference(f.value, x) - f.slope(x)), 1e-12) << f.name << " at " << x;
      EXPECT_LT(std::fabs(difference(f.slope, x) - f.curvature(x)), 1e-10) << f.name << " at " << x;
    }
  }
}

TYPED_TEST(UnaryTest, AgreesWithTheTextbookAtEveryWidthAndPlacement) {
  for_each_architecture<TypeParam>([](const Kernels<TypeParam>& kernels) {
    for (const UnaryReference& f : kUnaryReferences) {
      SCOPED_TRACE(f.name);
      for (const Index columns : kColumnCounts) {
        for (const Placement placement : kPlacements) {
          check_forward(kernels, f, columns, placement);
          check_backward(kernels, f, columns, placement);
          check_tangents(kernels, f, columns, placement);
        }
      }
    }
  });
}

TYPED_TEST(UnaryTest, BitsDoNotDependOnThePositionInARow) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const UnaryReference& f : kUnaryReferences) {
      SCOPED_TRACE(f.name);
      const auto [low, high] = domain(f.kernel);
      const Matrix<T> x(1, 70, {0, 0}, uniform<T>(low, high, 5));
      Matrix<T> whole(1, 70);
      kernels.unary[at(f.kernel)](x.in(), whole.out(), &f.parameter);
      for (Index j = 0; j < 70; ++j) {
        T alone = 0;
        kernels.unary[at(f.kernel)]({&x.data()[j], 1, 1, 1}, {&alone, 1, 1, 1}, &f.parameter);
        EXPECT_EQ(alone, whole(0, j));
      }
    }
  });
}

TYPED_TEST(UnaryTest, NanStaysNanForwardAndBackward) {
  using T = TypeParam;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for_each_architecture<T>([nan](const Kernels<T>& kernels) {
    for (const UnaryReference& f : kUnaryReferences) {
      SCOPED_TRACE(f.name);
      T y = 0;
      kernels.unary[at(f.kernel)]({&nan, 1, 1, 1}, {&y, 1, 1, 1}, &f.parameter);
      EXPECT_TRUE(std::isnan(y));
      const T one = 1;
      T dx = 0;
      kernels.unary_backward[at(f.kernel)]({&nan, 1, 1, 1}, {&one, 1, 1, 1}, {&dx, 1, 1, 1},
                                           &f.parameter, false);
      EXPECT_TRUE(std::isnan(dx));
      T ty = 0;
      kernels.unary_tangent[at(f.kernel)]({&nan, 1, 1, 1}, {&one, 1, 1, 1}, {&ty, 1, 1, 1},
                                          &f.parameter);
      EXPECT_TRUE(std::isnan(ty));
    }
  });
}

template <class T>
T apply(const Kernels<T>& kernels, UnaryKernel kernel, T x) {
  T y = 0;
  kernels.unary[at(kernel)]({&x, 1, 1, 1}, {&y, 1, 1, 1}, &reference_of(kernel).parameter);
  return y;
}

template <class T>
T apply_backward(const Kernels<T>& kernels, UnaryKernel kernel, T source) {
  const T one = 1;
  T dx = 0;
  kernels.unary_backward[at(kernel)]({&source, 1, 1, 1}, {&one, 1, 1, 1}, {&dx, 1, 1, 1},
                                     &reference_of(kernel).parameter, false);
  return dx;
}

template <class T>
T apply_tangent(const Kernels<T>& kernels, UnaryKernel kernel, T x) {
  const T one = 1;
  T ty = 0;
  kernels.unary_tangent[at(kernel)]({&x, 1, 1, 1}, {&one, 1, 1, 1}, {&ty, 1, 1, 1},
                                    &reference_of(kernel).parameter);
  return ty;
}

template <class T>
T apply_curvature(const Kernels<T>& kernels, UnaryKernel kernel, T source) {
  const T one = 1;
  T dx = 0;
  kernels.unary_curvature[at(kernel)]({&source, 1, 1, 1}, {&one, 1, 1, 1}, {&one, 1, 1, 1},
                                      {&dx, 1, 1, 1}, &reference_of(kernel).parameter, false);
  return dx;
}

TYPED_TEST(UnaryTest, DerivativesOfLargeArgumentsAreTheLimit) {
  using T = TypeParam;
  using K = UnaryKernel;
  const T inf = std::numeric_limits<T>::infinity();
  for_each_architecture<T>([inf](const Kernels<T>& kernels) {
    for (const T x : {inf, std::numeric_limits<T>::max(), T(1e6)}) {
      for (const K kernel :
           {K::kRelu, K::kLeakyRelu, K::kElu, K::kSoftplus, K::kSilu, K::kGelu, K::kGeluTanh}) {
        EXPECT_EQ(apply_tangent(kernels, kernel, x), T(1)) << reference_of(kernel).name << x;
      }
      for (const K kernel : {K::kRelu, K::kElu, K::kSigmoid, K::kTanh, K::kSoftplus, K::kSilu,
                             K::kGelu, K::kGeluTanh, K::kExp}) {
        EXPECT_EQ(apply_tangent(kernels, kernel, -x), T(0)) << reference_of(kernel).name << x;
      }
      for (const K kernel : {K::kSigmoid, K::kTanh}) {
        EXPECT_EQ(apply_tangent(kernels, kernel, x), T(0)) << reference_of(kernel).name << x;
      }
      for (const K kernel :
           {K::kRelu, K::kLeakyRelu, K::kSoftplus, K::kSilu, K::kGelu, K::kGeluTanh}) {
        EXPECT_EQ(apply_curvature(kernels, kernel, x), T(0)) << reference_of(kernel).name << x;
        EXPECT_EQ(apply_curvature(kernels, kernel, -x), T(0)) << reference_of(kernel).name << x;
      }
    }
    for (const K kernel : {K::kSigmoid, K::kTanh}) {
      EXPECT_EQ(apply_curvature(kernels, kernel, T(1)), T(0)) << reference_of(kernel).name;
    }
  });
}

TYPED_TEST(UnaryTest, InfinitiesGiveTheLimit) {
  using T = TypeParam;
  using K = UnaryKernel;
  const T inf = std::numeric_limits<T>::infinity();
  for_each_architecture<T>([inf](const Kernels<T>& kernels) {
    for (const K kernel : {K::kRelu, K::kLeakyRelu, K::kElu, K::kSoftplus, K::kSilu, K::kGelu,
                           K::kGeluTanh, K::kExp, K::kLog}) {
      EXPECT_EQ(apply(kernels, kernel, inf), inf) << reference_of(kernel).name;
    }
    for (const K kernel :
         {K::kRelu, K::kSigmoid, K::kSoftplus, K::kSilu, K::kGelu, K::kGeluTanh, K::kExp}) {
      EXPECT_EQ(apply(kernels, kernel, -inf), T(0)) << reference_of(kernel).name;
    }
    EXPECT_EQ(apply(kernels, K::kSigmoid, inf), T(1));
    EXPECT_EQ(apply(kernels, K::kTanh, inf), T(1));
    EXPECT_EQ(apply(kernels, K::kTanh, -inf), T(-1));
    EXPECT_EQ(apply(kernels, K::kElu, -inf), T(-reference::kEluAlpha));
    EXPECT_EQ(apply(kernels, K::kLog, T(0)), -inf);
    EXPECT_TRUE(std::isnan(apply(kernels, K::kLog, T(-1))));
    for (const T x : {inf, std::numeric_limits<T>::max(), T(1e6)}) {
      for (const K kernel : {K::kSoftplus, K::kSilu, K::kGelu, K::kGeluTanh}) {
        EXPECT_EQ(apply_backward(kernels, kernel, x), T(1)) << reference_of(kernel).name << x;
        EXPECT_EQ(apply_backward(kernels, kernel, -x), T(0)) << reference_of(kernel).name << x;
      }
    }
  });
}

TYPED_TEST(UnaryTest, KinksHaveTheDocumentedSlope) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    EXPECT_EQ(apply_backward(kernels, UnaryKernel::kRelu, T(0)), T(0));
    EXPECT_EQ(apply_backward(kernels, UnaryKernel::kLeakyRelu, T(0)), T(reference::kLeakySlope));
    EXPECT_EQ(apply_backward(kernels, UnaryKernel::kElu, T(0)), T(reference::kEluAlpha));
    EXPECT_EQ(apply_tangent(kernels, UnaryKernel::kRelu, T(0)), T(0));
    EXPECT_EQ(apply_tangent(kernels, UnaryKernel::kLeakyRelu, T(0)), T(reference::kLeakySlope));
    EXPECT_EQ(apply_tangent(kernels, UnaryKernel::kElu, T(0)), T(reference::kEluAlpha));
    EXPECT_EQ(apply_curvature(kernels, UnaryKernel::kElu, T(0)), T(reference::kEluAlpha));
    EXPECT_FALSE(std::signbit(apply(kernels, UnaryKernel::kRelu, T(0))));
    EXPECT_TRUE(std::signbit(apply(kernels, UnaryKernel::kTanh, T(-0.0))));
  });
}

TYPED_TEST(UnaryTest, ExpReachesTheLimitsOfTheType) {
  using T = TypeParam;
  const T overflow = static_cast<T>(std::log(static_cast<Real>(std::numeric_limits<T>::max())));
  const T below = std::nextafter(overflow, T(0));
  const T tiny = static_cast<T>(std::log(static_cast<Real>(std::numeric_limits<T>::denorm_min())));
  for_each_architecture<T>([=](const Kernels<T>& kernels) {
    EXPECT_TRUE(std::isfinite(apply(kernels, UnaryKernel::kExp, below)));
    EXPECT_EQ(apply(kernels, UnaryKernel::kExp, std::nextafter(overflow, T(1000)) + T(1)),
              std::numeric_limits<T>::infinity());
    EXPECT_GT(apply(kernels, UnaryKernel::kExp, tiny), T(0));
    EXPECT_EQ(apply(kernels, UnaryKernel::kExp, T(tiny - T(2))), T(0));
  });
}

}  // namespace
}  // namespace chainrule::test
