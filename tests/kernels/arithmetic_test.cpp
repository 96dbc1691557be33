// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

template <class T>
class ArithmeticTest : public ::testing::Test {};
TYPED_TEST_SUITE(ArithmeticTest, ElementTypes);

/// body(kernels, columns, placement) over everything that could change a kernel's path.
template <class T, class Body>
void for_each_shape(Body body) {
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    for (const Index columns : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        SCOPED_TRACE(::testing::Message() << columns << " columns, extra " << placement.extra);
        body(kernels, columns, placement);
      }
    }
  });
}

TYPED_TEST(ArithmeticTest, SumsDifferencesAndProducts) {
  using T = TypeParam;
  for_each_shape<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> a(3, n, placement, uniform<T>(-2, 2, 1));
    const Matrix<T> b(3, n, {2, 1}, uniform<T>(-2, 2, 2));
    Matrix<T> sum(3, n, placement);
    Matrix<T> difference(3, n, {0, 3});
    Matrix<T> product(3, n, {7, 0});
    kernels.add(a.in(), b.in(), sum.out());
    kernels.sub(a.in(), b.in(), difference.out());
    kernels.mul(a.in(), b.in(), product.out());
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < n; ++j) {
        EXPECT_EQ(sum(i, j), a(i, j) + b(i, j));
        EXPECT_EQ(difference(i, j), a(i, j) - b(i, j));
        EXPECT_EQ(product(i, j), a(i, j) * b(i, j));
      }
    }
    EXPECT_TRUE(sum.padding_intact() && difference.padding_intact() && product.padding_intact());
    Matrix<T> in_place(3, n, placement, [&](Index i, Index j) { return a(i, j); });
    kernels.add(in_place.in(), b.in(), in_place.out());
    EXPECT_TRUE(in_place.same_bits(sum));
  });
}

TYPED_TEST(ArithmeticTest, ProductsIntoASum) {
  using T = TypeParam;
  for_each_shape<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> a(3, n, placement, uniform<T>(-2, 2, 1));
    const Matrix<T> b(3, n, {2, 1}, uniform<T>(-2, 2, 2));
    const T alpha = T(-1.75);
    for (const bool accumulate : {false, true}) {
      Matrix<T> product(3, n, placement, [](Index, Index) { return T(0.5); });
      Matrix<T> scaled(3, n, placement, [](Index, Index) { return T(0.5); });
      kernels.mul_into(a.in(), b.in(), product.out(), accumulate);
      kernels.scale_into(alpha, a.in(), scaled.out(), accumulate);
      const Real start = accumulate ? Real(0.5) : Real(0);
      for (Index i = 0; i < 3; ++i) {
        for (Index j = 0; j < n; ++j) {
          EXPECT_TRUE(close(product(i, j), start + Real(a(i, j)) * b(i, j), 1.5));
          EXPECT_TRUE(close(scaled(i, j), start + Real(alpha) * a(i, j), 1.5));
        }
      }
      EXPECT_TRUE(product.padding_intact() && scaled.padding_intact());
    }
  });
}

// Without `accumulate` the old content must not be read: it may be NaN.
TYPED_TEST(ArithmeticTest, OverwritingIgnoresWhatWasThere) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const Matrix<T> a(2, 5, {0, 0}, uniform<T>(1, 2, 1));
    const auto nan = [](Index, Index) { return std::numeric_limits<T>::quiet_NaN(); };
    Matrix<T> y(2, 5, {1, 0}, nan);
    kernels.mul_into(a.in(), a.in(), y.out(), false);
    EXPECT_EQ(y(1, 4), a(1, 4) * a(1, 4));
    Matrix<T> sums(1, 5, {0, 0}, nan);
    kernels.column_sum(a.in(), sums.data(), false);
    EXPECT_EQ(sums(0, 2), a(0, 2) + a(1, 2));
    Matrix<T> row_sums(2, 1, {0, 0}, nan);
    kernels.row_sum(a.in(), row_sums.out(), false);
    EXPECT_GT(row_sums(1, 0), T(5));
    Matrix<T> c(2, 2, {0, 0}, nan);
    kernels.gemm({a.data(), 5, 1}, {a.data(), 2, 2, 5}, c.out(), false, {});
    EXPECT_TRUE(std::isfinite(c(1, 1)));
  });
}

TYPED_TEST(ArithmeticTest, BiasAndColumnBroadcast) {
  using T = TypeParam;
  for_each_shape<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> x(4, n, placement, uniform<T>(-2, 2, 1));
    const Matrix<T> bias(1, n, {0, 1}, uniform<T>(-2, 2, 2));
    const Matrix<T> column(4, 1, {placement.extra, 0}, uniform<T>(-2, 2, 3));
    Matrix<T> y(4, n, {3, 1});
    Matrix<T> spread(4, n, placement);
    Matrix<T> sum(4, n, placement, [&](Index i, Index j) { return x(i, j); });
    kernels.add_bias(x.in(), bias.data(), y.out());
    kernels.broadcast_column(column.in(), spread.out(), false);
    kernels.broadcast_column(column.in(), sum.out(), true);
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < n; ++j) {
        EXPECT_EQ(y(i, j), x(i, j) + bias(0, j));
        EXPECT_EQ(spread(i, j), column(i, 0));
        EXPECT_EQ(sum(i, j), x(i, j) + column(i, 0));
      }
    }
    EXPECT_TRUE(y.padding_intact() && spread.padding_intact() && sum.padding_intact());
    Matrix<T> in_place(4, n, placement, [&](Index i, Index j) { return x(i, j); });
    kernels.add_bias(in_place.in(), bias.data(), in_place.out());
    EXPECT_TRUE(in_place.same_bits(y));
  });
}

TYPED_TEST(ArithmeticTest, ColumnSumsRunDownTheRowsInOrder) {
  using T = TypeParam;
  for_each_shape<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Index rows = n == 1 ? 15 : 37;  // see the next test
    const Matrix<T> x(rows, n, placement, uniform<T>(-2, 2, 1));
    Matrix<T> sum(1, n, {0, 1});
    Matrix<T> more(1, n, {0, 1}, [](Index, Index j) { return static_cast<T>(j); });
    Matrix<double> wide(1, n, {0, 1}, [](Index, Index j) { return static_cast<double>(j); });
    kernels.column_sum(x.in(), sum.data(), false);
    kernels.column_sum(x.in(), more.data(), true);
    kernels.column_sum_double(x.in(), wide.data());
    for (Index j = 0; j < n; ++j) {
      T expected = 0;
      T expected_more = static_cast<T>(j);
      double expected_wide = static_cast<double>(j);
      for (Index i = 0; i < rows; ++i) {
        expected += x(i, j);
        expected_more += x(i, j);
        expected_wide += static_cast<double>(x(i, j));
      }
      EXPECT_EQ(sum(0, j), expected);
      EXPECT_EQ(more(0, j), expected_more);
      EXPECT_EQ(wide(0, j), expected_wide);
    }
    EXPECT_TRUE(sum.padding_intact() && more.padding_intact() && wide.padding_intact());
  });
}

// A column alone is some shorter sums, which its rows decide upon: what they may err by is less
// than for one sum of all rows.
TYPED_TEST(ArithmeticTest, SumsOfASingleLongColumn) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const Index rows : {16, 17, 33, 100, 1000}) {
      const Matrix<T> dense(rows, 1, {0, 1}, uniform<T>(-2, 2, 1));
      Real exact = 0, magnitude = 0;
      for (Index i = 0; i < rows; ++i) {
        exact += static_cast<Real>(dense(i, 0));
        magnitude += std::fabs(static_cast<Real>(dense(i, 0)));
      }
      T sum = T(7);
      double wide = 0;
      kernels.column_sum(dense.in(), &sum, false);
      kernels.column_sum_double(dense.in(), &wide);
      const double additions = static_cast<double>(rows) / 2 + 1;  // at least two lanes
      EXPECT_TRUE(close(sum, exact, additions / 2, magnitude)) << rows;
      EXPECT_TRUE(close(wide, exact, additions / 2, magnitude)) << rows;
      T more = T(3);
      double wider = 3;
      kernels.column_sum(dense.in(), &more, true);
      kernels.column_sum_double(dense.in(), &wider);
      EXPECT_EQ(more, T(3) + sum) << rows;
      EXPECT_EQ(wider, 3 + wide) << rows;
      for (const Placement placement : kPlacements) {
        const Matrix<T> x(rows, 1, placement, [&](Index i, Index j) { return dense(i, j); });
        T again = 0;
        double wide_again = 0;
        kernels.column_sum(x.in(), &again, false);
        kernels.column_sum_double(x.in(), &wide_again);
        EXPECT_EQ(again, sum) << rows << " rows, extra " << placement.extra;
        EXPECT_EQ(wide_again, wide) << rows << " rows, extra " << placement.extra;
      }
    }
  });
}

TYPED_TEST(ArithmeticTest, BiasOfASingleLongColumn) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const T bias = T(0.3);
    for (const Placement placement : kPlacements) {
      const Matrix<T> x(37, 1, placement, uniform<T>(-2, 2, 1));
      Matrix<T> y(37, 1, {0, 1});
      kernels.add_bias(x.in(), &bias, y.out());
      for (Index i = 0; i < 37; ++i) EXPECT_EQ(y(i, 0), x(i, 0) + bias);
      EXPECT_TRUE(y.padding_intact());
    }
  });
}

TYPED_TEST(ArithmeticTest, RowSums) {
  using T = TypeParam;
  for_each_shape<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    const Matrix<T> x(3, n, placement, uniform<T>(-2, 2, 1));
    Matrix<T> sum(3, 1, placement);
    Matrix<T> more(3, 1, {0, 0}, [](Index i, Index) { return static_cast<T>(i); });
    kernels.row_sum(x.in(), sum.out(), false);
    kernels.row_sum(x.in(), more.out(), true);
    for (Index i = 0; i < 3; ++i) {
      Real expected = 0;
      for (Index j = 0; j < n; ++j) expected += x(i, j);
      EXPECT_TRUE(close(sum(i, 0), expected, static_cast<double>(n)));
      EXPECT_TRUE(close(more(i, 0), expected + i, static_cast<double>(n)));
    }
    EXPECT_TRUE(sum.padding_intact() && more.padding_intact());
  });
}

TYPED_TEST(ArithmeticTest, Transpose) {
  using T = TypeParam;
  for_each_shape<T>([](const Kernels<T>& kernels, Index n, Placement placement) {
    for (const Index rows : {1, 4, 7, 16, 35}) {
      const Matrix<T> x(rows, n, placement, uniform<T>(-2, 2, 1));
      Matrix<T> y(n, rows, {placement.extra, 3});
      kernels.transpose(x.in(), y.out());
      for (Index i = 0; i < rows; ++i) {
        for (Index j = 0; j < n; ++j) EXPECT_EQ(y(j, i), x(i, j));
      }
      EXPECT_TRUE(y.padding_intact());
    }
  });
}

TYPED_TEST(ArithmeticTest, NoRowsIsNothing) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    kernels.add({nullptr, 0, 5, 5}, {nullptr, 0, 5, 5}, {nullptr, 0, 5, 5});
    kernels.add_bias({nullptr, 0, 5, 5}, nullptr, {nullptr, 0, 5, 5});
    Matrix<T> sum(1, 5, {0, 0}, [](Index, Index) { return T(3); });
    kernels.column_sum({nullptr, 0, 5, 5}, sum.data(), true);
    EXPECT_EQ(sum(0, 4), T(3));
    kernels.column_sum({nullptr, 0, 5, 5}, sum.data(), false);
    EXPECT_EQ(sum(0, 4), T(0));
  });
}

TYPED_TEST(ArithmeticTest, FmaBurstCountsWhatItDoes) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    T sink = -1;
    const double once = kernels.fma_burst(100, &sink);
    const double flops = kernels.fma_burst(300, &sink);
    EXPECT_GT(once, 0.0);
    EXPECT_DOUBLE_EQ(flops, 3 * once);
    // Each lane converges to 2, the fixed point of x / 2 + 1.
    EXPECT_TRUE(close(sink, static_cast<Real>(flops / 300), 4));
  });
}

}  // namespace
}  // namespace chainrule::test
