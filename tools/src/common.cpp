// SPDX-License-Identifier: Apache-2.0
#include "common.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "chainrule/learn/output.hpp"

namespace chainrule::tools {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxThreads = 1024;

[[noreturn]] void fail_to_write(const fs::path& path, int error) {
  throw FormatError(
      fmt::format("cannot write '{}': {}", path.string(), std::generic_category().message(error)));
}

}  // namespace

void ComputeOptions::add_to(CLI::App& app) {
  app.add_option("--threads", threads_,
                 "Threads, also more than there are cores; the results have the same bits for any "
                 "number (default: the cores this process may use)")
      ->check(CLI::Range(1, kMaxThreads));
  app.add_option("--gemm", gemm_, "Matrix products: auto, fused or blas")->capture_default_str();
}

GemmPath ComputeOptions::gemm() const {
  return parse_option("--gemm", [&] { return parse_gemm_path(gemm_); });
}

std::unique_ptr<ScopedThreadLimit> ComputeOptions::allow_threads() const {
  return threads_ > default_threads() ? std::make_unique<ScopedThreadLimit>(threads_) : nullptr;
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

void expect_finite(const Tensor& x, std::string_view what) {
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      const double value = element(x.view(), i, j);
      if (std::isfinite(value)) continue;
      throw FormatError(fmt::format("{}: row {}, column {} is {}, expected a finite number", what,
                                    i + 1, j + 1, value));
    }
  }
}

std::string to_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

void write_text(const std::string& text, const fs::path& path) {
  std::ofstream file(path, std::ios::binary);
  if (!file) fail_to_write(path, errno);
  if (!(file << text).flush()) fail_to_write(path, errno);
}

}  // namespace chainrule::tools
