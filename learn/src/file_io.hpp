// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace chainrule::internal {

/// The whole file. Throws FormatError naming the file and the system's reason.
std::string read_file(const std::filesystem::path& path);
/// The same, decompressed when the contents are gzip's (told by its magic number, not by the name).
std::string read_file_or_gzip(const std::filesystem::path& path);
/// Decompresses every member of a gzip stream; FormatError on truncation or a wrong checksum.
std::string inflate_gzip(std::string_view compressed, std::string_view name);

/// True when `text` is well-formed UTF-8.
bool is_utf8(std::string_view text) noexcept;

inline std::span<const std::byte> as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Writes a file that appears complete or not at all: a temporary file beside the target, synced
/// and renamed by commit(), removed when commit() is never reached. A target that exists and is not
/// a regular file (a pipe, /dev/stdout) is written directly. Throws FormatError.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& target);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(as_bytes(text)); }
  void commit();

 private:
  void flush();
  [[noreturn]] void fail(std::string_view action) const;

  std::filesystem::path target_;
  std::filesystem::path temporary_;  ///< empty when the target is written directly
  std::string buffer_;
  int descriptor_ = -1;
};

}  // namespace chainrule::internal
