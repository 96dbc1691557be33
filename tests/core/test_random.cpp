// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/random.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <set>
#include <vector>

namespace chainrule {
namespace {

using Words = std::array<std::uint32_t, 4>;

/// Philox4x32-10 straight from the paper (Salmon et al. 2011, section 3.3), to compare with.
Words philox(Words counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key = {key[0] + 0x9E3779B9U, key[1] + 0xBB67AE85U};
  }
  return counter;
}

Words expected_block(RandomKey key, std::uint64_t block) {
  const auto low = [](std::uint64_t x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); };
  return philox({low(block), high(block), low(key.stream), high(key.stream)},
                {low(key.seed), high(key.seed)});
}

constexpr RandomKey kSomeKey{.seed = 0x0123456789abcdef, .stream = 0xfedcba9876543210};

TEST(Philox, ReferenceMeetsTheKnownAnswersOfRandom123) {
  EXPECT_EQ(philox({}, {}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomWords, AreThePhiloxBlocksInOrder) {
  Words words{};
  fill_random_words({}, 0, words);
  EXPECT_EQ(words, (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint64_t blocks[] = {0, 1, 0x7fffffff, 0x100000000, 0x3fffffffffffffff};
  for (const RandomKey key :
       {kSomeKey, RandomKey{~0ULL, ~0ULL}, RandomKey{1, 0}, RandomKey{0, 1}}) {
    for (const std::uint64_t block : blocks) {
      fill_random_words(key, 4 * block, words);
      EXPECT_EQ(words, expected_block(key, block)) << block;
    }
  }
}

TEST(RandomWords, AreTheSameFromAnyStart) {
  std::array<std::uint32_t, 40> all{};
  fill_random_words(kSomeKey, 100, all);
  for (std::size_t first = 0; first < 9; ++first) {
    for (std::size_t count = 0; count < 14; ++count) {
      std::vector<std::uint32_t> part(count);
      fill_random_words(kSomeKey, 100 + first, part);
      EXPECT_TRUE(std::ranges::equal(part, std::span(all).subspan(first, count)))
          << first << " " << count;
    }
  }
}

TEST(RandomBits, AreTheHalvesOfABlock) {
  for (const std::uint64_t index : {0ULL, 1ULL, 2ULL, 12345ULL, ~0ULL}) {
    const Words block = expected_block(kSomeKey, index / 2);
    const std::size_t first = 2 * (index % 2);
    const std::uint64_t expected = block[first] + (std::uint64_t{block[first + 1]} << 32);
    EXPECT_EQ(random_bits(kSomeKey, index), expected) << index;
  }
}

TEST(RandomUniform, IsTheTop53Bits) {
  for (std::uint64_t index = 0; index < 1000; ++index) {
    const long double exact =
        std::floor(std::ldexp(static_cast<long double>(random_bits(kSomeKey, index)), -11));
    ASSERT_EQ(random_uniform(kSomeKey, index), static_cast<double>(std::ldexp(exact, -53)));
  }
}

TEST(RandomNormal, IsBoxMullerOfAPairOfUniforms) {
  for (std::uint64_t index = 0; index < 1000; ++index) {
    const std::uint64_t even = index - index % 2;
    const long double u = random_uniform(kSomeKey, even);
    const long double angle =
        2 * std::numbers::pi_v<long double> * random_uniform(kSomeKey, even + 1);
    const long double radius = std::sqrt(-2 * std::log1p(-u));
    const long double expected = radius * (index % 2 == 0 ? std::cos(angle) : std::sin(angle));
    ASSERT_NEAR(random_normal(kSomeKey, index), static_cast<double>(expected), 1e-14);
  }
}

TEST(RandomFills, EqualTheSingleNumbersFromAnyStart) {
  for (const std::uint64_t first : {0ULL, 1ULL, 6ULL, 7ULL, 0x1ffffffffULL}) {
    for (std::size_t count = 0; count < 7; ++count) {
      std::vector<double> uniforms(count);
      std::vector<double> normals(count);
      fill_random_uniform(kSomeKey, first, uniforms);
      fill_random_normal(kSomeKey, first, normals);
      for (std::size_t k = 0; k < count; ++k) {
        EXPECT_EQ(uniforms[k], random_uniform(kSomeKey, first + k)) << first << " + " << k;
        EXPECT_EQ(normals[k], random_normal(kSomeKey, first + k)) << first << " + " << k;
      }
    }
  }
}

double moment(std::span<const double> values, double center, int power) {
  return std::accumulate(values.begin(), values.end(), 0.0,
                         [=](double sum, double x) { return sum + std::pow(x - center, power); }) /
         static_cast<double>(values.size());
}

/// Pearson's statistic of `counts` against equal probabilities.
double chi_square(std::span<const int> counts) {
  const double expected =
      std::accumulate(counts.begin(), counts.end(), 0.0) / static_cast<double>(counts.size());
  return std::accumulate(counts.begin(), counts.end(), 0.0, [=](double sum, int count) {
    return sum + (count - expected) * (count - expected) / expected;
  });
}

/// Quantiles .0001 and .9999 of chi square with 99 and 23 degrees of freedom; too even is wrong
/// too.
constexpr double kChiSquare99Low = 54.987;
constexpr double kChiSquare99High = 160.056;
constexpr double kChiSquare23Low = 5.749;
constexpr double kChiSquare23High = 57.075;
constexpr std::size_t kSamples = 200'000;

TEST(RandomUniform, IsUniform) {
  for (const std::uint64_t seed : {0ULL, 1ULL, 42ULL}) {
    std::vector<double> values(kSamples);
    fill_random_uniform({seed, 3}, 0, values);
    std::array<int, 100> counts{};
    for (const double x : values) {
      ASSERT_GE(x, 0);
      ASSERT_LT(x, 1);
      ++counts[static_cast<std::size_t>(x * 100)];
    }
    // Four standard errors of the sample mean and variance: 1/sqrt(12 n) and 1/sqrt(180 n).
    EXPECT_NEAR(moment(values, 0, 1), 0.5, 4 * std::sqrt(1.0 / 12 / kSamples));
    EXPECT_NEAR(moment(values, 0.5, 2), 1.0 / 12, 4 * std::sqrt(1.0 / 180 / kSamples));
    EXPECT_LT(chi_square(counts), kChiSquare99High);
    EXPECT_GT(chi_square(counts), kChiSquare99Low);
  }
}

TEST(RandomNormal, IsStandardNormal) {
  for (const std::uint64_t seed : {0ULL, 1ULL, 42ULL}) {
    std::vector<double> values(kSamples);
    fill_random_normal({seed, 3}, 0, values);
    std::array<int, 100> counts{};
    for (const double x : values) {
      ASSERT_TRUE(std::isfinite(x));
      const double probability = 0.5 * std::erfc(-x / std::numbers::sqrt2);
      ++counts[std::min<std::size_t>(99, static_cast<std::size_t>(probability * 100))];
    }
    // Four standard errors; the variances of x, x^2, x^3 and x^4 are 1, 2, 15 and 96.
    EXPECT_NEAR(moment(values, 0, 1), 0, 4 * std::sqrt(1.0 / kSamples));
    EXPECT_NEAR(moment(values, 0, 2), 1, 4 * std::sqrt(2.0 / kSamples));
    EXPECT_NEAR(moment(values, 0, 3), 0, 4 * std::sqrt(15.0 / kSamples));
    EXPECT_NEAR(moment(values, 0, 4), 3, 4 * std::sqrt(96.0 / kSamples));
    EXPECT_LT(chi_square(counts), kChiSquare99High);
    EXPECT_GT(chi_square(counts), kChiSquare99Low);
  }
}

/// Sample correlation of the first numbers of two sequences, in standard errors.
double correlation_score(RandomKey a, RandomKey b) {
  std::vector<double> x(kSamples);
  std::vector<double> y(kSamples);
  fill_random_uniform(a, 0, x);
  fill_random_uniform(b, 0, y);
  double sum = 0;
  for (std::size_t k = 0; k < kSamples; ++k) sum += (x[k] - 0.5) * (y[k] - 0.5);
  return 12 * sum / std::sqrt(static_cast<double>(kSamples));
}

TEST(RandomKey, NamesIndependentSequences) {
  EXPECT_LT(std::abs(correlation_score({1, 2}, {1, 3})), 4);
  EXPECT_LT(std::abs(correlation_score({1, 2}, {2, 2})), 4);
  EXPECT_LT(std::abs(correlation_score({1, 2}, derive({1, 2}, 0))), 4);
  EXPECT_LT(std::abs(correlation_score(derive({1, 2}, 0), derive({1, 2}, 1))), 4);
}

TEST(Derive, GivesEverySaltAndStreamItsOwnKey) {
  std::set<std::uint64_t> streams;
  for (std::uint64_t stream = 0; stream < 100; ++stream) {
    streams.insert(stream);
    for (std::uint64_t salt = 0; salt < 100; ++salt) {
      const RandomKey key = derive({7, stream}, salt);
      EXPECT_EQ(key.seed, 7U);
      streams.insert(key.stream);
      streams.insert(derive(key, salt).stream);
    }
  }
  EXPECT_EQ(streams.size(), 100U + 2 * 100U * 100U);
  EXPECT_NE(derive(derive(kSomeKey, 1), 2).stream, derive(derive(kSomeKey, 2), 1).stream);
}

TEST(RandomPermutation, IsAPermutationThatTheKeyDecides) {
  for (const std::size_t n : {0U, 1U, 2U, 65U, 1000U}) {
    std::vector<std::uint32_t> out(n, 77);
    random_permutation(kSomeKey, out);
    std::vector<std::uint32_t> again(n);
    random_permutation(kSomeKey, again);
    EXPECT_EQ(out, again);
    std::ranges::sort(again);
    for (std::size_t k = 0; k < n; ++k) ASSERT_EQ(again[k], k);
  }
  std::vector<std::uint32_t> a(1000);
  std::vector<std::uint32_t> b(1000);
  random_permutation({1, 2}, a);
  random_permutation({1, 3}, b);
  EXPECT_NE(a, b);
}

TEST(RandomPermutation, TakesEveryOrderEquallyOften) {
  std::map<std::array<std::uint32_t, 4>, int> seen;
  for (std::uint64_t stream = 0; stream < 24'000; ++stream) {
    std::array<std::uint32_t, 4> order{};
    random_permutation({5, stream}, order);
    ++seen[order];
  }
  ASSERT_EQ(seen.size(), 24U);
  std::vector<int> counts;
  for (const auto& [order, count] : seen) counts.push_back(count);
  EXPECT_LT(chi_square(counts), kChiSquare23High);
  EXPECT_GT(chi_square(counts), kChiSquare23Low);
}

TEST(RandomPermutation, PutsEveryNumberAnywhere) {
  constexpr std::size_t kSize = 100;
  std::array<int, kSize> where_zero_goes{};
  std::array<int, kSize> what_comes_last{};
  for (std::uint64_t stream = 0; stream < 20'000; ++stream) {
    std::array<std::uint32_t, kSize> order{};
    random_permutation({6, stream}, order);
    ++where_zero_goes[static_cast<std::size_t>(std::ranges::find(order, 0U) - order.begin())];
    ++what_comes_last[order.back()];
  }
  EXPECT_LT(chi_square(where_zero_goes), kChiSquare99High);
  EXPECT_GT(chi_square(where_zero_goes), kChiSquare99Low);
  EXPECT_LT(chi_square(what_comes_last), kChiSquare99High);
  EXPECT_GT(chi_square(what_comes_last), kChiSquare99Low);
}

}  // namespace
}  // namespace chainrule
