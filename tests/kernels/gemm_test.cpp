// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

template <class T>
class GemmTest : public ::testing::Test {};
TYPED_TEST_SUITE(GemmTest, ElementTypes);

/// a as the kernel sees it, stored by rows (X of X W) or by columns (X of X^T dY).
template <class T>
struct LeftFactor {
  Matrix<T> storage;
  bool transposed;

  LeftFactor(Index rows, Index inner, Placement placement, bool transposed_, unsigned seed)
      : storage(transposed_ ? inner : rows, transposed_ ? rows : inner, placement,
                uniform<T>(-1, 1, seed)),
        transposed(transposed_) {}
  T operator()(Index i, Index k) const { return transposed ? storage(k, i) : storage(i, k); }
  StridedView<T> view(Index first_row = 0) const {
    if (transposed) return {storage.data() + first_row, 1, storage.ld()};
    return {storage.data() + first_row * storage.ld(), storage.ld(), 1};
  }
};

template <class T>
void expect_product(const LeftFactor<T>& a, const Matrix<T>& b, const Matrix<T>& c,
                    const Matrix<T>* before) {
  for (Index i = 0; i < c.rows(); ++i) {
    for (Index j = 0; j < c.columns(); ++j) {
      Real sum = before != nullptr ? Real((*before)(i, j)) : Real(0);
      Real magnitude = std::fabs(sum);
      for (Index k = 0; k < b.rows(); ++k) {
        const Real term = static_cast<Real>(a(i, k)) * b(k, j);
        sum += term;
        magnitude += std::fabs(term);
      }
      const double epsilons = 2.0 + 0.5 * static_cast<double>(b.rows());
      ASSERT_TRUE(close(c(i, j), sum, epsilons, std::max(magnitude / 4, Real(1e-3))))
          << "element " << i << ", " << j;
    }
  }
}

template <class T>
void check_product(const Kernels<T>& kernels, Index m, Index n, Index k, bool transposed,
                   Placement placement) {
  SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k << " transposed " << transposed
                                    << " extra " << placement.extra);
  const LeftFactor<T> a(m, k, placement, transposed, 1);
  const Matrix<T> b(k, n, placement, uniform<T>(-1, 1, 2));
  Matrix<T> c(m, n, {placement.extra, 3});
  const Matrix<T> before(m, n, {placement.extra, 3}, uniform<T>(-1, 1, 3));
  Matrix<T> sum(m, n, {placement.extra, 3}, uniform<T>(-1, 1, 3));
  kernels.gemm(a.view(), b.in(), c.out(), false, {});
  kernels.gemm(a.view(), b.in(), sum.out(), true, {});
  expect_product<T>(a, b, c, nullptr);
  expect_product<T>(a, b, sum, &before);
  EXPECT_TRUE(c.padding_intact());
  EXPECT_TRUE(sum.padding_intact());
}

TYPED_TEST(GemmTest, EveryTileShape) {
  for_each_architecture<TypeParam>([](const Kernels<TypeParam>& kernels) {
    for (Index m = 1; m <= 30; ++m) {
      for (const Index n : kColumnCounts) check_product(kernels, m, n, 5, m % 2 == 0, {3, 1});
    }
  });
}

TYPED_TEST(GemmTest, InnerBlocksAndRowBlocks) {
  for_each_architecture<TypeParam>([](const Kernels<TypeParam>& kernels) {
    for (const bool transposed : {false, true}) {
      for (const Index k : {1, 511, 512, 513, 1100}) {
        check_product(kernels, 5, 17, k, transposed, {0, 0});
        check_product(kernels, 16, 3, k, transposed, {16, 0});
      }
      check_product(kernels, 300, 9, 20, transposed, {0, 0});
      check_product(kernels, 257, 33, 3, transposed, {7, 5});
    }
  });
}

TYPED_TEST(GemmTest, EmptyInnerDimensionStoresZerosOrKeepsTheSum) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    Matrix<T> c(3, 17, {2, 0}, uniform<T>(1, 2, 1));
    const Matrix<T> before(3, 17, {2, 0}, uniform<T>(1, 2, 1));
    kernels.gemm({nullptr, 0, 0}, {nullptr, 0, 17, 17}, c.out(), true, {});
    EXPECT_TRUE(c.same_bits(before));
    kernels.gemm({nullptr, 0, 0}, {nullptr, 0, 17, 17}, c.out(), false, {});
    for (Index i = 0; i < 3; ++i) {
      for (Index j = 0; j < 17; ++j) EXPECT_EQ(c(i, j), T(0));
    }
    EXPECT_TRUE(c.padding_intact());
    kernels.gemm({nullptr, 0, 0}, {nullptr, 4, 0, 0}, {nullptr, 3, 0, 0}, false, {});
    kernels.gemm({nullptr, 0, 0}, {nullptr, 4, 17, 17}, {nullptr, 0, 17, 17}, false, {});
  });
}

// Batch invariance: a range of rows or columns alone has the bits it has in the whole.
TYPED_TEST(GemmTest, BitsDependOnTheInnerDimensionAlone) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const bool transposed : {false, true}) {
      const Index m = 43;
      const Index n = 75;
      const Index k = 700;
      const LeftFactor<T> a(m, k, {0, 0}, transposed, 1);
      const Matrix<T> b(k, n, {5, 1}, uniform<T>(-1, 1, 2));
      const Matrix<T> dense_b(k, n, {0, 0}, [&](Index i, Index j) { return b(i, j); });
      Matrix<T> whole(m, n);
      kernels.gemm(a.view(), b.in(), whole.out(), false, {});
      for (const Index step : {1, 2, 5, 13, 14, 15, 42}) {
        Matrix<T> parts(m, n, {9, 2});
        for (Index i = 0; i < m; i += step) {
          const Index rows = std::min(step, m - i);
          kernels.gemm(a.view(i), dense_b.in(), {&parts(i, 0), rows, n, parts.ld()}, false, {});
        }
        EXPECT_TRUE(parts.same_bits(whole)) << "rows by " << step;
      }
      for (const Index step : {2, 3, 16, 40}) {
        if (!transposed && n % step == 1) continue;  // one column has an order of its own
        Matrix<T> parts(m, n, {1, 0});
        for (Index j = 0; j < n; j += step) {
          const Index columns = std::min(step, n - j);
          kernels.gemm(a.view(), {b.data() + j, k, columns, b.ld()},
                       {&parts(0, j), m, columns, parts.ld()}, false, {});
        }
        EXPECT_TRUE(parts.same_bits(whole)) << "columns by " << step;
      }
    }
  });
}

TYPED_TEST(GemmTest, BitsOfOneColumnDependOnTheInnerDimensionAlone) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const Index k : {1, 5, 12, 16, 24, 40, 64, 77, 100, 128, 700}) {
      const Index m = 43;
      const LeftFactor<T> a(m, k, {3, 0}, false, 1);
      const Matrix<T> b(k, 1, {5, 1}, uniform<T>(-1, 1, 2));
      const Matrix<T> dense_b(k, 1, {0, 0}, [&](Index i, Index j) { return b(i, j); });
      Matrix<T> whole(m, 1);
      kernels.gemm(a.view(), b.in(), whole.out(), false, {});
      for (const Index step : {1, 2, 7, 8, 9, 42}) {
        Matrix<T> parts(m, 1, {9, 2});
        for (Index i = 0; i < m; i += step) {
          const Index rows = std::min(step, m - i);
          kernels.gemm(a.view(i), dense_b.in(), {&parts(i, 0), rows, 1, parts.ld()}, false, {});
        }
        EXPECT_TRUE(parts.same_bits(whole)) << "rows by " << step << " of inner " << k;
      }
    }
  });
}

TYPED_TEST(GemmTest, OneChainOfFusedMultiplyAddsAscending) {
  using T = TypeParam;
  const Index k = 600;
  const LeftFactor<T> a(2, k, {0, 0}, false, 1);
  const Matrix<T> b(k, 3, {0, 0}, uniform<T>(-1, 1, 2));
  for (const KernelTable* table : available_kernels()) {
    SCOPED_TRACE(std::string(table->architecture));
    Matrix<T> c(2, 3);
    table->get<T>().gemm(a.view(), b.in(), c.out(), false, {});
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 3; ++j) {
        T sum = 0;
        for (Index l = 0; l < k; ++l) {
          if (table->architecture == "baseline") {
            sum = sum + a(i, l) * b(l, j);
          } else {
            sum = std::fma(a(i, l), b(l, j), sum);
          }
        }
        EXPECT_EQ(c(i, j), sum);
      }
    }
  }
}

TYPED_TEST(GemmTest, NanStaysInItsRowAndColumn) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    LeftFactor<T> a(5, 4, {0, 0}, false, 1);
    const Matrix<T> b(4, 17, {0, 0}, uniform<T>(-1, 1, 2));
    a.storage(2, 1) = std::numeric_limits<T>::quiet_NaN();
    Matrix<T> c(5, 17);
    kernels.gemm(a.view(), b.in(), c.out(), false, {});
    for (Index i = 0; i < 5; ++i) {
      for (Index j = 0; j < 17; ++j) EXPECT_EQ(std::isnan(c(i, j)), i == 2);
    }
  });
}

struct FinishCase {
  UnaryKernel function = UnaryKernel::kCount;
  bool bias = false;
  bool source = false;
  bool sgd = false;
  bool transposed = false;  ///< the left factor
};

/// A finish, and the kernels it stands for.
template <class T>
void check_finish(const Kernels<T>& kernels, const FinishCase& which, Index m, Index n, Index k) {
  const auto [function, with_bias, with_source, with_sgd, transposed] = which;
  SCOPED_TRACE(::testing::Message()
               << "function " << at(function) << " bias " << with_bias << " source " << with_source
               << " sgd " << with_sgd << " transposed " << transposed << " of " << m << " x " << n
               << " x " << k);
  const double parameter = 0.3;
  const double sgd[] = {0.7, 0.01};
  const LeftFactor<T> a(m, k, {0, 0}, transposed, 1);
  const Matrix<T> b(k, n, {3, 1}, uniform<T>(0, 0.01, 2));
  const Matrix<T> bias(1, n, {0, 1}, uniform<T>(0.1, 1, 3));
  const Matrix<T> source(m, n, {5, 2}, uniform<T>(-1, 1, 4));
  GemmFinish<T> finish{.function = function, .parameters = &parameter};
  if (with_bias) finish.bias = bias.data();
  if (with_source) finish.source = source.in();
  Matrix<T> fused(m, n, {2, 3});
  Matrix<T> weights(m, n, {2, 3}, uniform<T>(-1, 1, 5));
  Matrix<T> expected_weights(m, n, {0, 0}, uniform<T>(-1, 1, 5));
  if (with_sgd) {
    finish.descending = weights.out();
    finish.sgd = sgd;
  }
  kernels.gemm(a.view(), b.in(), fused.out(), false, finish);

  Matrix<T> separate(m, n);
  kernels.gemm(a.view(), b.in(), separate.out(), false, {});
  if (with_bias) kernels.add_bias(separate.in(), bias.data(), separate.out());
  if (function != UnaryKernel::kCount) {
    const auto f = static_cast<std::size_t>(function);
    if (with_source) {
      kernels.unary_backward[f](source.in(), separate.in(), separate.out(), &parameter, false);
    } else {
      kernels.unary[f](separate.in(), separate.out(), &parameter);
    }
  }
  if (with_sgd) {
    const auto update = kernels.update[static_cast<std::size_t>(UpdateKernel::kSgd)];
    update(expected_weights.out(), separate.in(), {}, {}, sgd);
  } else {
    EXPECT_TRUE(fused.same_bits(separate));
  }
  EXPECT_TRUE(weights.same_bits(expected_weights));
  EXPECT_TRUE(fused.padding_intact() && weights.padding_intact());
}

TYPED_TEST(GemmTest, AFinishHasTheBitsOfTheKernelsItStandsFor) {
  for_each_architecture<TypeParam>([](const Kernels<TypeParam>& kernels) {
    for (int f = 0; f <= static_cast<int>(UnaryKernel::kCount); ++f) {
      for (int flags = 0; flags < 16; ++flags) {
        const FinishCase which{.function = static_cast<UnaryKernel>(f),
                               .bias = (flags & 1) != 0,
                               .source = (flags & 2) != 0,
                               .sgd = (flags & 4) != 0,
                               .transposed = (flags & 8) != 0};
        constexpr Index kTwoBlocks = 600;  // of the inner dimension: only the last one is finished
        for (const Index n : {1, 10, 33}) {
          check_finish(kernels, which, 1, n, kTwoBlocks);
          check_finish(kernels, which, 17, n, kTwoBlocks);
          check_finish(kernels, which, 3, 7 * n, kTwoBlocks);
        }
        check_finish(kernels, which, 45, 4, 16);  // one column of tiles of two heights
        check_finish(kernels, which, 45, 16, 16);
      }
    }
  });
}

// Where c has one column and its elements lie one after the other, the product takes it for a row.
TYPED_TEST(GemmTest, AColumnWithoutGapsIsOneChainAnElementAsWell) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const auto update = kernels.update[static_cast<std::size_t>(UpdateKernel::kSgd)];
    const double sgd[] = {0.7, 0.01};
    for (const Index k : {0, 1, 32, 600}) {
      for (const Index m : {1, 8, 15, 64, 300}) {
        SCOPED_TRACE(::testing::Message() << m << " x 1 x " << k);
        const LeftFactor<T> a(m, k, {3, 0}, true, 1);
        const Matrix<T> b(k, 1, {5, 1}, uniform<T>(-1, 1, 2));
        Matrix<T> dense(m, 1, {0, 0}, uniform<T>(-1, 1, 3));
        Matrix<T> apart(m, 1, {2, 0}, uniform<T>(-1, 1, 3));
        ASSERT_EQ(dense.ld(), 1);
        kernels.gemm(a.view(), b.in(), dense.out(), true, {});
        kernels.gemm(a.view(), b.in(), apart.out(), true, {});
        EXPECT_TRUE(dense.same_bits(apart));

        Matrix<T> scratch(m, 1, {0, 0});
        Matrix<T> weights(m, 1, {0, 0}, uniform<T>(-1, 1, 4));
        Matrix<T> expected(m, 1, {0, 0}, uniform<T>(-1, 1, 4));
        kernels.gemm(a.view(), b.in(), scratch.out(), false,
                     {.descending = weights.out(), .sgd = sgd});
        kernels.gemm(a.view(), b.in(), apart.out(), false, {});
        update(expected.out(), apart.in(), {}, {}, sgd);
        EXPECT_TRUE(weights.same_bits(expected));
      }
    }
  });
}

// ---- dots of several columns

/// a, b^T of b, and c (+)= a b.
template <class T>
struct DotsCase {
  LeftFactor<T> a;
  Matrix<T> b, b_transposed;

  DotsCase(Index m, Index n, Index k)
      : a(m, k, {3, 1}, false, 1),
        b(k, n, {0, 0}, uniform<T>(-1, 1, 2)),
        b_transposed(n, k, {5, 1}, [&](Index j, Index l) { return b(l, j); }) {}
  void run(const Kernels<T>& kernels, Matrix<T>& c, bool accumulate, Index first = 0,
           const GemmFinish<T>& finish = {}) const {
    MatrixView<const T> rows = a.storage.in();
    rows.data += first * rows.ld;
    rows.rows = c.rows();
    kernels.prepare_dots(rows, b_transposed.in(), c.out(), accumulate, finish)();
  }
};

TYPED_TEST(GemmTest, DotsOfSeveralColumns) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (Index n = 1; n <= kernels.most_dot_columns; ++n) {
      for (const Index k : {0, 1, 5, 33, 64, 513, 1100}) {
        for (const Index m : {1, 7, 17}) {
          SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k);
          const DotsCase<T> one(m, n, k);
          Matrix<T> c(m, n, {2, 1});
          const Matrix<T> before(m, n, {2, 1}, uniform<T>(-1, 1, 3));
          Matrix<T> sum(m, n, {2, 1}, uniform<T>(-1, 1, 3));
          one.run(kernels, c, false);
          one.run(kernels, sum, true);
          expect_product<T>(one.a, one.b, c, nullptr);
          expect_product<T>(one.a, one.b, sum, &before);
          EXPECT_TRUE(c.padding_intact() && sum.padding_intact());
        }
      }
    }
  });
}

TYPED_TEST(GemmTest, BitsOfDotsDependOnTheInnerDimensionAlone) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const Index m = 29;
    for (Index n = 1; n <= kernels.most_dot_columns; ++n) {
      for (const Index k : {5, 64, 700}) {
        const DotsCase<T> one(m, n, k);
        Matrix<T> whole(m, n);
        one.run(kernels, whole, false);
        for (const Index step : {1, 2, 3, 8, 28}) {
          for (Index i = 0; i < m; i += step) {
            Matrix<T> part(std::min(step, m - i), n, {9, 2});
            one.run(kernels, part, false, i);
            for (Index r = 0; r < part.rows(); ++r) {
              ASSERT_EQ(std::memcmp(&part(r, 0), &whole(i + r, 0), sizeof(T) * std::size_t(n)), 0)
                  << "row " << i + r << " by " << step << " of " << n << " x " << k;
            }
          }
        }
      }
    }
  });
}

// One column by prepare_gemm is the same sum.
TYPED_TEST(GemmTest, DotsOfOneColumnAreTheProductByAColumn) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const Index k : {1, 64, 1100}) {
      const DotsCase<T> one(17, 1, k);
      Matrix<T> dots(17, 1), product(17, 1);
      one.run(kernels, dots, false);
      kernels.gemm(one.a.view(), one.b.in(), product.out(), false, {});
      EXPECT_TRUE(dots.same_bits(product)) << k;
      EXPECT_FALSE(kernels.prefers_dots(1, k));
    }
  });
}

TYPED_TEST(GemmTest, AFinishOfDotsHasTheBitsOfTheKernelsItStandsFor) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    const double parameter = 0.3;
    const double sgd[] = {0.7, 0.01};
    const auto update = kernels.update[at(UpdateKernel::kSgd)];
    for (const Index n : {1, 2, 3, 5, 10}) {
      if (n > kernels.most_dot_columns) continue;
      for (const UnaryKernel function :
           {UnaryKernel::kRelu, UnaryKernel::kTanh, UnaryKernel::kCount}) {
        for (const bool accumulate : {false, true}) {
          SCOPED_TRACE(::testing::Message() << n << " function " << at(function));
          const DotsCase<T> one(19, n, 600);
          const Matrix<T> bias(1, n, {0, 1}, uniform<T>(-1, 1, 3));
          const Matrix<T> source(19, n, {5, 2}, uniform<T>(-1, 1, 4));
          Matrix<T> sum(19, n, {0, 0}, uniform<T>(-1, 1, 5));
          Matrix<T> fused(19, n, {2, 1}, uniform<T>(-1, 1, 5));
          Matrix<T> derivative(19, n, {2, 1}, uniform<T>(-1, 1, 5));
          one.run(kernels, sum, accumulate);
          one.run(kernels, fused, accumulate, 0,
                  {.bias = bias.data(), .function = function, .parameters = &parameter});
          Matrix<T> expected(19, n);
          kernels.add_bias(sum.in(), bias.data(), expected.out());
          if (function != UnaryKernel::kCount) {
            kernels.unary[at(function)](expected.in(), expected.out(), &parameter);
          }
          EXPECT_TRUE(fused.same_bits(expected) && fused.padding_intact());
          if (function == UnaryKernel::kCount) continue;

          Matrix<T> weights(19, n, {1, 1}, uniform<T>(-1, 1, 6));
          Matrix<T> expected_weights(19, n, {0, 0}, uniform<T>(-1, 1, 6));
          one.run(kernels, derivative, accumulate, 0,
                  {.function = function,
                   .source = source.in(),
                   .parameters = &parameter,
                   .descending = weights.out(),
                   .sgd = sgd});
          kernels.unary_backward[at(function)](source.in(), sum.in(), expected.out(), &parameter,
                                               false);
          update(expected_weights.out(), expected.in(), {}, {}, sgd);
          EXPECT_TRUE(weights.same_bits(expected_weights) && weights.padding_intact());
        }
      }
    }
  });
}

TYPED_TEST(GemmTest, DotsArePreferredOnlyForFewColumnsOfManyTerms) {
  for_each_architecture<TypeParam>([](const Kernels<TypeParam>& kernels) {
    bool any = false;
    for (Index columns = 1; columns < 40; ++columns) {
      bool before = false;
      for (Index inner = 0; inner < 2000; ++inner) {
        const bool now = kernels.prefers_dots(columns, inner);
        EXPECT_TRUE(now || !before) << columns << " x " << inner;  // once worth it, always
        EXPECT_TRUE(!now || (columns > 1 && columns <= kernels.most_dot_columns && inner >= 32));
        any |= now;
        before = now;
      }
    }
    EXPECT_TRUE(any);
  });
}

// A prepared product reads its operands when it is called, and as often as it is.
TYPED_TEST(GemmTest, APreparedProductIsThatOfTheDay) {
  using T = TypeParam;
  for_each_architecture<T>([](const Kernels<T>& kernels) {
    for (const bool transposed : {false, true}) {
      for (const auto& [m, n, k] : {std::array<Index, 3>{1, 8, 4},
                                    {5, 1, 8},
                                    {5, 1, 700},
                                    {64, 3, 32},
                                    {300, 16, 16},
                                    {43, 75, 700}}) {
        SCOPED_TRACE(::testing::Message() << m << " x " << n << " x " << k);
        LeftFactor<T> a(m, k, {1, 0}, transposed, 1);
        const Matrix<T> b(k, n, {1, 0}, uniform<T>(-1, 1, 2));
        const Matrix<T> bias(1, n, {0, 0}, uniform<T>(-1, 1, 3));
        const GemmFinish<T> finish{.bias = bias.data(), .function = UnaryKernel::kTanh};
        Matrix<T> c(m, n);
        const PreparedCall call = kernels.prepare_gemm(a.view(), b.in(), c.out(), false, finish);
        for (const T first : {T(0.5), T(-0.25)}) {
          a.storage(0, 0) = first;
          Matrix<T> expected(m, n);
          kernels.gemm(a.view(), b.in(), expected.out(), false, finish);
          call();
          EXPECT_TRUE(c.same_bits(expected));
        }
      }
    }
  });
}

}  // namespace
}  // namespace chainrule::test
