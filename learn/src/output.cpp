// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/output.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

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

}  // namespace chainrule
