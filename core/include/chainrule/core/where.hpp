// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace chainrule {

/// Where the user's code added a node; errors name it. A default argument `Where where =
/// Where::current()` is the place of the call. (std::source_location needs Clang 16 or later.)
class Where {
 public:
  static constexpr Where current(const char* file_name = __builtin_FILE(),
                                 std::uint_least32_t line = __builtin_LINE()) noexcept {
    return {file_name, line};
  }

  /// No line to name: errors then name none.
  static constexpr Where unknown() noexcept { return {"", 0}; }

  constexpr bool is_known() const noexcept { return line_ != 0; }
  constexpr const char* file_name() const noexcept { return file_name_; }
  constexpr std::uint_least32_t line() const noexcept { return line_; }

 private:
  constexpr Where(const char* file_name, std::uint_least32_t line) noexcept
      : file_name_(file_name), line_(line) {}

  const char* file_name_;
  std::uint_least32_t line_;
};

}  // namespace chainrule
