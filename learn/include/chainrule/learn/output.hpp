// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include "chainrule/core/export.hpp"

namespace chainrule {

/// Where output to a path goes.
struct Destination {
  std::filesystem::path path{};  ///< behind symbolic links
  /// The descriptor of this process that /dev/stdout, /dev/stderr, /dev/fd/N or /proc/self/fd/N
  /// name; -1 for other paths. Opening such a path anew would begin at the start of a file that the
  /// descriptor may be in the middle of.
  int descriptor = -1;
  /// Written straight through: a descriptor, or what exists and is no regular file (a pipe, a
  /// device). Other files appear complete, by renaming one beside them.
  bool direct = false;
};

CHAINRULE_API Destination destination_of(const std::filesystem::path& path);

/// Writes `contents` to where destination_of() says. FormatError, with the system's reason, when
/// that fails.
CHAINRULE_API void write_file(std::string_view contents, const std::filesystem::path& path);

/// FormatError, with the system's reason, when write_file() could not write there: to be asked
/// before work is spent on what goes there. Changes nothing.
CHAINRULE_API void expect_writable(const std::filesystem::path& path);

}  // namespace chainrule
