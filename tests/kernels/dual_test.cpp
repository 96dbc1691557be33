// SPDX-License-Identifier: Apache-2.0
//
// One layer of the kernel recursions on every architecture, against long double.

#include <numbers>

#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

constexpr Real kPi = std::numbers::pi_v<Real>;
constexpr double kTolerance = 2e-15;

struct Moments {
  Real value = 0;
  Real slope = 0;
};

/// E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for the variances a and b and the covariance k.
using Formula = Moments (*)(Real a, Real b, Real k);

// Leaky relu of slope 0.2 (Cho & Saul 2009): u+ v+ has the mean J1, u+ v- and so on follow by
// signs.
constexpr Real kSlope = 0.2L;
Moments leaky_relu(Real a, Real b, Real k) {
  const Real root = std::sqrt(a * b);
  const Real angle = root > 0 ? std::acos(std::clamp(k / root, Real(-1), Real(1))) : kPi / 2;
  const auto both = [&](Real t) {
    return root / (2 * kPi) * (std::sin(t) + (kPi - t) * std::cos(t));
  };
  const Real same = both(angle);            // E[u+ v+] = E[u- v-]
  const Real opposite = both(kPi - angle);  // E[u+ v-] = E[u- v+], magnitudes
  const Real agree = (kPi - angle) / (2 * kPi);
  return {(1 + kSlope * kSlope) * same - 2 * kSlope * opposite,
          (1 + kSlope * kSlope) * agree + 2 * kSlope * (Real(0.5) - agree)};
}

Moments erf(Real a, Real b, Real k) {
  const Real product = (1 + 2 * a) * (1 + 2 * b);
  return {2 / kPi * std::asin(2 * k / std::sqrt(product)),
          4 / kPi / std::sqrt(product - 4 * k * k)};
}

Moments sin(Real a, Real b, Real k) {
  const Real plus = std::exp(k - (a + b) / 2);
  const Real minus = std::exp(-k - (a + b) / 2);
  return {(plus - minus) / 2, (plus + minus) / 2};
}

// By Stein's lemma from E[Phi Phi], E[pdf pdf] and E[t pdf(u) Phi(v)]; see DualActivation.
Moments gelu(Real a, Real b, Real k) {
  const Real determinant = (1 + a) * (1 + b) - k * k;
  const Real density = 1 / (2 * kPi * std::sqrt(determinant));
  const Real both = Real(0.25) + std::asin(k / std::sqrt((1 + a) * (1 + b))) / (2 * kPi);
  const Real v_pdf_u = density * (b - k * k / (1 + a));
  const Real u_pdf_v = density * (k / (1 + b));
  return {a * v_pdf_u + k * both + k * u_pdf_v,
          both + density * k / (1 + a) + u_pdf_v + density * k / determinant};
}

struct Family {
  const char* name;
  DualKernel kernel;
  Formula formula;
  std::array<double, 2> (*factors)(double variance);
};

const Family kFamilies[] = {{"rectifier", DualKernel::kRectifier, leaky_relu,
                             [](double v) {
                               return std::array{std::sqrt(v), v > 0 ? 1 / std::sqrt(v) : 0};
                             }},
                            {"erf", DualKernel::kErf, erf,
                             [](double v) {
                               return std::array{0.0, std::sqrt(2 / (1 + 2 * v))};
                             }},
                            {"sin", DualKernel::kSin, sin,
                             [](double v) {
                               return std::array{v / 2, 0.0};
                             }},
                            {"gelu", DualKernel::kGelu, gelu, [](double v) {
                               return std::array{v, 1 / std::sqrt(1 + v)};
                             }}};

constexpr double kVariances[] = {0, 1e-3, 0.4, 1, 2.7, 9};
constexpr double kWeight = 1.7;
constexpr double kBias = 0.3;
constexpr double kTheta = 1.3;

// Correlations from -0.999 to 0.999.
double correlation(Index j, Index count) {
  return count == 1 ? 0.3
                    : -0.999 + 1.998 * static_cast<double>(j) / static_cast<double>(count - 1);
}

void check_layer(const KernelTable& table, const Family& family, double a, double b, Index count) {
  std::vector<double> k;
  std::vector<double> first;
  std::vector<double> second;
  for (Index j = 0; j < count; ++j) {
    k.push_back(correlation(j, count) * std::sqrt(a * b));
    first.push_back(family.factors(b)[0]);
    second.push_back(family.factors(b)[1]);
  }
  const std::vector<double> before = k;
  std::vector<double> theta(k.size(), kTheta);
  const bool rectifier = family.kernel == DualKernel::kRectifier;
  const double odd = (1 + static_cast<double>(kSlope)) / 2;
  const double even = (1 - static_cast<double>(kSlope)) / 2;
  const DualLayer layer{.bias = kBias,
                        .odd = kWeight * (rectifier ? odd * odd : 1),
                        .even = kWeight * (rectifier ? even * even : 0)};
  const DualFactors factors{.first = family.factors(a)[0],
                            .second = family.factors(a)[1],
                            .column_first = first.data(),
                            .column_second = second.data()};
  const auto kernel = table.dual.layer[static_cast<std::size_t>(family.kernel)];
  const double largest = kernel(layer, factors, count, k.data(), theta.data());
  std::vector<double> alone = before;
  kernel(layer, factors, count, alone.data(), nullptr);
  double expected_largest = 0;
  for (Index j = 0; j < count; ++j) {
    const auto at = static_cast<std::size_t>(j);
    const Moments m = family.formula(a, b, before[at]);
    const Real value = kBias + kWeight * m.value;
    const Real scale = kBias + kWeight * std::sqrt(family.formula(a, a, a * Real(1 - 1e-12)).value *
                                                   family.formula(b, b, b * Real(1 - 1e-12)).value);
    EXPECT_NEAR(k[at], static_cast<double>(value), kTolerance * static_cast<double>(scale))
        << family.name << " " << a << " " << b << " " << j;
    // The slope has a kink or pole at c = 1 to which these come as near as 0.999.
    const Real tangent = value + kWeight * m.slope * kTheta;
    EXPECT_NEAR(theta[at], static_cast<double>(tangent),
                1e-13 * static_cast<double>(std::abs(tangent)) + kTolerance)
        << family.name << " " << a << " " << b << " " << j;
    EXPECT_EQ(k[at], alone[at]);
    expected_largest =
        std::max(expected_largest, std::abs(before[at] * (factors.second * second[at])));
  }
  EXPECT_EQ(largest, expected_largest) << family.name;
}

TEST(Dual, LayersAgreeWithFormulas) {
  for (const KernelTable* table : available_kernels()) {
    SCOPED_TRACE(std::string(table->architecture));
    for (const Family& family : kFamilies) {
      for (const double a : kVariances) {
        for (const double b : kVariances) check_layer(*table, family, a, b, 33);
      }
      for (const Index count : kColumnCounts) check_layer(*table, family, 1, 2.7, count);
    }
  }
}

// Of phi(t) = t^3 + 1 the coefficients are known: t^3 = sqrt(6) h3 + 3 h1.
TEST(Dual, SeriesOfAPolynomial) {
  for (const KernelTable* table : available_kernels()) {
    for (const Index count : kColumnCounts) {
      const double root_6 = std::sqrt(6.0);
      const double row[] = {1, 3, 0, root_6};
      const Matrix<double> columns(4, count, {3, 1}, [&](Index term, Index) { return row[term]; });
      const double slope_row[] = {3, 0, 3 * std::sqrt(2.0)};
      const Matrix<double> slopes(3, count, {5, 7},
                                  [&](Index term, Index) { return slope_row[term]; });
      const std::vector<double> ones(static_cast<std::size_t>(count), 1.0);
      std::vector<double> k;
      for (Index j = 0; j < count; ++j) k.push_back(correlation(j, count));
      const std::vector<double> before = k;
      std::vector<double> theta(k.size(), kTheta);
      table->dual.series(
          {.bias = kBias, .odd = kWeight},
          {.first = 1, .second = 1, .column_first = ones.data(), .column_second = ones.data()},
          {.row = row, .columns = columns.in()}, {.row = slope_row, .columns = slopes.in()}, count,
          k.data(), theta.data());
      for (std::size_t j = 0; j < k.size(); ++j) {
        const double c = before[j];
        const double value = kBias + kWeight * (1 + 9 * c + 6 * c * c * c);
        EXPECT_NEAR(k[j], value, 1e-14);
        EXPECT_NEAR(theta[j], value + kWeight * (9 + 18 * c * c) * kTheta, 1e-13);
      }
    }
  }
}

}  // namespace
}  // namespace chainrule::test
