// SPDX-License-Identifier: Apache-2.0
//
// The accuracy table over all float32 arguments, for the functions that read tables.

#include "chainrule/kernels/accuracy.hpp"
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

/// A function in double, to 0.01 units of float32: by its series where |x| < 2^-14.
struct Exact {
  const char* name;
  UnaryKernel kernel;
  double (*value)(double x);
  double (*near_zero)(double x);
};

constexpr Exact kFunctions[] = {
    {"exp", UnaryKernel::kExp, [](double x) { return std::exp(x); },
     [](double x) { return 1 + x * (1 + x / 2); }},
    {"sigmoid", UnaryKernel::kSigmoid,
     [](double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); },
     [](double x) { return 0.5 + x / 4; }},
    {"tanh", UnaryKernel::kTanh, [](double x) { return std::tanh(x); }, [](double x) { return x; }},
    {"gelu", UnaryKernel::kGelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); },
     [](double x) { return x * (0.5 + x * 0.3989422804014327); }},
};

class ExhaustiveTest : public ::testing::TestWithParam<Exact> {};

/// The error of y, unless a cheap test shows that it is within the bound.
double error_above(const AccuracyBound& bound, float y, double expected) {
  const double difference = std::fabs(static_cast<double>(y) - expected);
  const double scale =
      bound.unit == UlpOf::kResult ? std::fabs(expected) : std::max(1.0, std::fabs(expected));
  if (std::isfinite(difference) && difference <= bound.float_ulp * scale * 0x1p-24) return 0;
  if (bound.unit == UlpOf::kResult || std::fabs(expected) >= 1) return ulp_error(y, expected);
  return difference / static_cast<double>(std::numeric_limits<float>::epsilon());
}

struct Worst {
  double error = 0;
  float argument = 0;
};

TEST_P(ExhaustiveTest, EveryArgumentKeepsTheTable) {
  const Exact& exact = GetParam();
  constexpr std::uint32_t kCount = 1U << 16;
  std::vector<float> x(kCount), y(kCount);
  std::vector<double> expected(kCount);
  const auto n = static_cast<Index>(kCount);
  for (std::uint32_t block = 0; block < 1U << 16; ++block) {
    for (std::uint32_t i = 0; i < kCount; ++i) {
      x[i] = std::bit_cast<float>(block << 16 | i);
      expected[i] = std::fabs(x[i]) < 0x1p-14F ? exact.near_zero(x[i]) : exact.value(x[i]);
    }
    for (const KernelTable* table : available_kernels()) {
      const auto function = table->f32.unary[at(exact.kernel)];
      function({x.data(), 1, n, n}, {y.data(), 1, n, n}, nullptr);
      for (const AccuracyBound& bound : kUnaryAccuracy) {
        if (bound.kernel != exact.kernel) continue;
        const double factor = table->architecture == "baseline" ? bound.without_fma : 1.0;
        Worst worst;
        for (std::uint32_t i = 0; i < kCount; ++i) {
          const bool inside = x[i] >= bound.low && x[i] <= bound.high;
          if (!inside && std::isnan(x[i]) == std::isnan(y[i])) continue;
          const double error = inside ? error_above(bound, y[i], expected[i]) : kAnything;
          if (!(error <= worst.error)) worst = {error, x[i]};
        }
        ASSERT_LE(worst.error, factor * bound.float_ulp)
            << table->architecture << " at " << worst.argument;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Functions, ExhaustiveTest, ::testing::ValuesIn(kFunctions),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace chainrule::test
