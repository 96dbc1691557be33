// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

/// Names one infinite sequence of random numbers.
///
/// Numbers come from Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC11), keyed by the seed with counter (block, stream), low word first: each number is a pure
/// function of (seed, stream, index), whoever asks for it and in whatever order. The functions
/// below read the same blocks: use derive() for numbers that must be independent.
struct RandomKey {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;

  bool operator==(const RandomKey&) const = default;
};

/// 64 random bits at `index`: words 0 and 1 (index even) or 2 and 3 (index odd) of the block with
/// counter index / 2, the first of the two words being the low half.
CHAINRULE_API std::uint64_t random_bits(RandomKey key, std::uint64_t index) noexcept;
/// Uniform on [0, 1), 53 bits, at `index`.
CHAINRULE_API double random_uniform(RandomKey key, std::uint64_t index) noexcept;
/// Standard normal at `index`: Box-Muller on the two halves of the block with counter index / 2,
/// the cosine for an even index, the sine for an odd one.
CHAINRULE_API double random_normal(RandomKey key, std::uint64_t index) noexcept;

/// out[k] = random_uniform(key, first + k), at half the cost.
CHAINRULE_API void fill_random_uniform(RandomKey key, std::uint64_t first,
                                       std::span<double> out) noexcept;
/// out[k] = random_normal(key, first + k), at half the cost.
CHAINRULE_API void fill_random_normal(RandomKey key, std::uint64_t first,
                                      std::span<double> out) noexcept;
/// Fills `out` with 32-bit words first, first + 1, ... of the stream; word w is word w % 4 of the
/// block with counter w / 4.
CHAINRULE_API void fill_random_words(RandomKey key, std::uint64_t first,
                                     std::span<std::uint32_t> out) noexcept;

/// A key that depends on `key` and `salt` alone, independent of `key`'s own sequence for practical
/// purposes (the stream is mixed with the SplitMix64 finalizer).
CHAINRULE_API RandomKey derive(RandomKey key, std::uint64_t salt) noexcept;

/// Writes a uniformly random permutation of 0..n-1 (Fisher-Yates) that depends on `key` and n
/// alone; n <= 2^32.
CHAINRULE_API void random_permutation(RandomKey key, std::span<std::uint32_t> out) noexcept;

}  // namespace chainrule
