// SPDX-License-Identifier: Apache-2.0
#include "chainrule/kernels/accuracy.hpp"

#include <algorithm>

#include "kernel_test_support.hpp"
#include "unary_reference.hpp"

namespace chainrule::test {
namespace {

template <class T>
class AccuracyTest : public ::testing::Test {};
TYPED_TEST_SUITE(AccuracyTest, ElementTypes);

/// Arguments in [low, high]: evenly where the functions bend, and any finite bit pattern.
template <class T>
std::vector<T> arguments(double low, double high) {
  using Word = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
  std::mt19937_64 engine(20240611);
  std::vector<T> values;
  const auto add = [&](T value) {
    if (std::isfinite(value) && value >= low && value <= high) values.push_back(value);
  };
  for (const double range : {1e-5, 0.1, 1.0, 2.0, 10.0, 40.0, 110.0, 760.0}) {
    std::uniform_real_distribution<double> distribution(-range, range);
    for (int i = 0; i < 12000; ++i) add(static_cast<T>(distribution(engine)));
  }
  for (int i = 0; i < 40000; ++i) add(std::bit_cast<T>(static_cast<Word>(engine())));
  return values;
}

template <class T>
struct Worst {
  double error = 0;
  T argument = 0;
};

template <class T>
Worst<T> worst_error(const Kernels<T>& kernels, const AccuracyBound& bound) {
  const UnaryReference& reference = reference_of(bound.kernel);
  const std::vector<T> x = arguments<T>(bound.low, bound.high);
  std::vector<T> y(x.size());
  const auto n = static_cast<Index>(x.size());
  kernels.unary[at(bound.kernel)]({x.data(), 1, n, n}, {y.data(), 1, n, n}, &reference.parameter);
  Worst<T> worst;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const Real expected = reference.value(x[i]);
    double error = ulp_error(y[i], expected);
    if (bound.unit == UlpOf::kResultOrOne && std::fabs(expected) < 1) {
      error = static_cast<double>(std::fabs(static_cast<Real>(y[i]) - expected) /
                                  std::numeric_limits<T>::epsilon());
    }
    if (!(error <= worst.error)) worst = {error, x[i]};
  }
  return worst;
}

TYPED_TEST(AccuracyTest, EveryArchitectureKeepsTheTable) {
  using T = TypeParam;
  for (const AccuracyBound& bound : kUnaryAccuracy) {
    SCOPED_TRACE(reference_of(bound.kernel).name);
    for (const KernelTable* table : available_kernels()) {
      const double factor = table->architecture == "baseline" ? bound.without_fma : 1.0;
      const double allowed = factor * (sizeof(T) == 4 ? bound.float_ulp : bound.double_ulp);
      const Worst<T> worst = worst_error<T>(table->get<T>(), bound);
      EXPECT_LE(worst.error, allowed)
          << table->architecture << ": " << worst.error << " ulp at " << worst.argument;
    }
  }
}

TEST(AccuracyTableTest, NamesEveryFunction) {
  for (std::size_t kernel = 0; kernel < at(UnaryKernel::kCount); ++kernel) {
    EXPECT_TRUE(std::any_of(std::begin(kUnaryAccuracy), std::end(kUnaryAccuracy),
                            [&](const AccuracyBound& b) { return at(b.kernel) == kernel; }))
        << "kernel " << kernel;
    EXPECT_EQ(at(reference_of(static_cast<UnaryKernel>(kernel)).kernel), kernel);
  }
}

TEST(AccuracyTableTest, TheErrorMeasureCountsSpacings) {
  EXPECT_DOUBLE_EQ(ulp_error(1.0F + std::numeric_limits<float>::epsilon(), Real(1)), 1.0);
  EXPECT_DOUBLE_EQ(ulp_error(std::numeric_limits<double>::denorm_min(), Real(0)), 1.0);
  EXPECT_GT(ulp_error(std::numeric_limits<float>::infinity(), Real(1)), 1e20);
}

}  // namespace
}  // namespace chainrule::test
