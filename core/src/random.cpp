// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/random.hpp"

#include <Random123/philox.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace chainrule {
namespace {

using Block = std::array<std::uint32_t, 4>;

constexpr std::uint32_t low(std::uint64_t bits) noexcept {
  return static_cast<std::uint32_t>(bits);
}
constexpr std::uint32_t high(std::uint64_t bits) noexcept {
  return static_cast<std::uint32_t>(bits >> 32);
}

Block block_at(RandomKey key, std::uint64_t counter) noexcept {
  const r123::Philox4x32::ctr_type position = {
      {low(counter), high(counter), low(key.stream), high(key.stream)}};
  const r123::Philox4x32::key_type philox_key = {{low(key.seed), high(key.seed)}};
  const r123::Philox4x32::ctr_type words = r123::Philox4x32()(position, philox_key);
  return {words[0], words[1], words[2], words[3]};
}

constexpr std::uint64_t half(const Block& block, std::size_t which) noexcept {
  return block[2 * which] | (std::uint64_t{block[2 * which + 1]} << 32);
}

constexpr double to_uniform(std::uint64_t bits) noexcept {
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

/// The two uniforms of a block; its first index is 2 * counter.
std::array<double, 2> uniform_pair(RandomKey key, std::uint64_t counter) noexcept {
  const Block block = block_at(key, counter);
  return {to_uniform(half(block, 0)), to_uniform(half(block, 1))};
}

/// The two normals of a block (Box & Muller 1958).
std::array<double, 2> normal_pair(RandomKey key, std::uint64_t counter) noexcept {
  const auto [u, v] = uniform_pair(key, counter);
  // 1 - u is exact and in (0, 1], so that the logarithm is finite.
  const double radius = std::sqrt(-2 * std::log(1 - u));
  const double angle = 2 * std::numbers::pi * v;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// out[k] = number first + k of a sequence that comes in pairs.
template <class Pair>
void fill_pairs(RandomKey key, std::uint64_t first, std::span<double> out, Pair pair) noexcept {
  std::size_t k = 0;
  if (first % 2 == 1 && !out.empty()) out[k++] = pair(key, first / 2)[1];
  for (; k + 1 < out.size(); k += 2) {
    const std::array<double, 2> numbers = pair(key, (first + k) / 2);
    out[k] = numbers[0];
    out[k + 1] = numbers[1];
  }
  if (k < out.size()) out[k] = pair(key, (first + k) / 2)[0];
}

/// Finalizer of SplitMix64 (Steele, Lea & Flood 2014, variant 13 of Stafford).
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

/// The words of a stream one after the other.
class WordSource {
 public:
  explicit WordSource(RandomKey key) noexcept : key_(key) {}

  std::uint32_t next() noexcept {
    if (used_ == words_.size()) {
      fill_random_words(key_, position_, words_);
      position_ += words_.size();
      used_ = 0;
    }
    return words_[used_++];
  }

  /// Unbiased on [0, bound), bound <= 2^32 (Lemire 2019, "Fast random integer generation in an
  /// interval", algorithm 5).
  std::uint32_t below(std::uint64_t bound) noexcept {
    std::uint64_t product = next() * bound;
    if (low(product) < bound) {
      const std::uint64_t threshold = ((std::uint64_t{1} << 32) - bound) % bound;
      while (low(product) < threshold) product = next() * bound;
    }
    return high(product);
  }

 private:
  RandomKey key_;
  std::array<std::uint32_t, 64> words_{};
  std::size_t used_ = words_.size();
  std::uint64_t position_ = 0;
};

}  // namespace

std::uint64_t random_bits(RandomKey key, std::uint64_t index) noexcept {
  return half(block_at(key, index / 2), index % 2);
}

double random_uniform(RandomKey key, std::uint64_t index) noexcept {
  return to_uniform(random_bits(key, index));
}

double random_normal(RandomKey key, std::uint64_t index) noexcept {
  return normal_pair(key, index / 2)[index % 2];
}

void fill_random_uniform(RandomKey key, std::uint64_t first, std::span<double> out) noexcept {
  fill_pairs(key, first, out, uniform_pair);
}

void fill_random_normal(RandomKey key, std::uint64_t first, std::span<double> out) noexcept {
  fill_pairs(key, first, out, normal_pair);
}

void fill_random_words(RandomKey key, std::uint64_t first, std::span<std::uint32_t> out) noexcept {
  constexpr std::size_t kWords = std::tuple_size_v<Block>;
  if (const std::size_t offset = first % kWords; offset != 0) {
    const Block block = block_at(key, first / kWords);
    const std::size_t count = std::min(kWords - offset, out.size());
    std::copy_n(block.begin() + static_cast<std::ptrdiff_t>(offset), count, out.begin());
    out = out.subspan(count);
    first += count;
  }
  std::uint64_t counter = first / kWords;
  for (; out.size() >= kWords; out = out.subspan(kWords)) {
    const Block block = block_at(key, counter++);
    std::copy_n(block.begin(), kWords, out.begin());
  }
  if (!out.empty()) std::copy_n(block_at(key, counter).begin(), out.size(), out.begin());
}

RandomKey derive(RandomKey key, std::uint64_t salt) noexcept {
  // One to one in the salt for a given stream, and in the stream for a given salt.
  constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15U;
  return {key.seed, mix(mix(key.stream + kGolden) + (salt + 1) * kGolden)};
}

void random_permutation(RandomKey key, std::span<std::uint32_t> out) noexcept {
  std::iota(out.begin(), out.end(), 0U);
  WordSource words(key);
  for (std::size_t left = out.size(); left > 1; --left) {
    std::swap(out[left - 1], out[words.below(left)]);
  }
}

}  // namespace chainrule
