// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>

#include "chainrule/core/error.hpp"
#include "temporary_directory.hpp"

namespace chainrule::testing {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// "00ff" -> two characters.
inline std::string from_hex(std::string_view hex) {
  std::string text;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    text += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return text;
}

inline void write_gzip(const std::filesystem::path& path, std::string_view text) {
  const gzFile file = gzopen(path.c_str(), "wb");
  const auto count = static_cast<unsigned>(text.size());
  if (gzwrite(file, text.data(), count) != static_cast<int>(count) || gzclose(file) != Z_OK) {
    throw std::runtime_error("cannot write " + path.string());
  }
}

/// The message of the FormatError (or E) that `action` throws; "" and a failure when it does not.
template <class E = FormatError>
std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const E& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

struct MutationCount {
  int accepted = 0;
  int refused = 0;
};

/// Feeds `count` damaged copies of `valid` to `read`: bits flipped, bytes replaced, ranges cut,
/// doubled or overwritten with numbers of interest, the end cut off. Only success and FormatError
/// are allowed.
inline MutationCount mutate(const std::string& valid, int count,
                            const std::function<void(const std::string&)>& read) {
  std::mt19937 random(20240501);
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : random() % n; };
  constexpr std::string_view kSpice = "{}[]\",:0123456789-+.eE()'<>fnull\xFF\x80";
  MutationCount result;
  for (int i = 0; i < count; ++i) {
    std::string text = valid;
    for (std::size_t edits = 1 + below(3); edits > 0; --edits) {
      const std::size_t at = below(text.size());
      if (text.empty()) break;
      switch (below(6)) {
        case 0:
          text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
          break;
        case 1:
          text[at] = kSpice[below(kSpice.size())];
          break;
        case 2:
          text.erase(at, 1 + below(8));
          break;
        case 3:
          text.insert(at, text.substr(below(text.size()), 1 + below(8)));
          break;
        case 4:
          text.resize(at);
          break;
        default:
          text.replace(at, 8, std::string(8, below(2) != 0 ? '\xFF' : '9'));
      }
    }
    try {
      read(text);
      ++result.accepted;
    } catch (const FormatError& error) {
      EXPECT_FALSE(std::string(error.what()).empty());
      ++result.refused;
    } catch (const std::exception& error) {
      ADD_FAILURE() << "variant " << i << ": " << error.what();
    }
  }
  return result;
}

}  // namespace chainrule::testing
