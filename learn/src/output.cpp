// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/output.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "chainrule/core/error.hpp"
#include "file_io.hpp"

namespace chainrule {
namespace {

namespace fs = std::filesystem;

std::optional<int> descriptor_named(const fs::path& path) {
  const std::string text = path.lexically_normal().string();
  if (text == "/dev/stdout") return STDOUT_FILENO;
  if (text == "/dev/stderr") return STDERR_FILENO;
  for (const std::string& directory :
       {std::string("/dev/fd/"), std::string("/proc/self/fd/"),
        std::string("/proc/thread-self/fd/"), fmt::format("/proc/{}/fd/", ::getpid())}) {
    if (!text.starts_with(directory)) continue;
    const std::string_view number = std::string_view(text).substr(directory.size());
    const char* const end = number.data() + number.size();
    int descriptor = -1;
    const auto [stop, error] = std::from_chars(number.data(), end, descriptor);
    if (error == std::errc{} && stop == end && descriptor >= 0) return descriptor;
  }
  return std::nullopt;
}

[[noreturn]] void fail_to_write(const fs::path& path, int error) {
  throw FormatError(
      fmt::format("cannot write '{}': {}", path.string(), std::generic_category().message(error)));
}

}  // namespace

Destination destination_of(const fs::path& path) {
  constexpr int kMaxLinks = 40;  // as Linux
  Destination result{.path = path};
  std::error_code error;
  for (int links = 0; links < kMaxLinks; ++links) {
    if (const auto descriptor = descriptor_named(result.path)) {
      result.descriptor = *descriptor;
      result.direct = true;
      return result;
    }
    if (!fs::is_symlink(result.path, error)) break;
    const fs::path target = fs::read_symlink(result.path, error);
    if (error) break;
    result.path = result.path.parent_path() / target;  // an absolute target stands alone
  }
  const fs::file_status status = fs::status(result.path, error);
  result.direct = fs::exists(status) && !fs::is_regular_file(status);
  return result;
}

void write_file(std::string_view contents, const fs::path& path) {
  internal::AtomicFile file(path);
  file.write(contents);
  file.commit();
}

void expect_writable(const fs::path& path) {
  const Destination destination = destination_of(path);
  if (destination.descriptor >= 0) {
    const int flags = ::fcntl(destination.descriptor, F_GETFL);
    if (flags < 0) fail_to_write(path, errno);
    if ((flags & O_ACCMODE) == O_RDONLY) fail_to_write(path, EBADF);
    return;
  }
  std::error_code ignored;
  const fs::file_status status = fs::status(destination.path, ignored);
  if (fs::is_directory(status)) fail_to_write(path, EISDIR);
  if (destination.direct) {
    if (::access(path.c_str(), W_OK) != 0) fail_to_write(path, errno);
    return;
  }
  // Files appear by renaming one beside them, so what counts is whether that one can be made.
  std::string probe = destination.path.string() + ".XXXXXX";
  const int descriptor = ::mkstemp(probe.data());
  if (descriptor < 0) fail_to_write(path, errno);
  ::close(descriptor);
  ::unlink(probe.c_str());
}

}  // namespace chainrule
