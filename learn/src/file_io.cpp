// SPDX-License-Identifier: Apache-2.0
#include "file_io.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <system_error>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/output.hpp"

namespace chainrule::internal {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunk = std::size_t{1} << 20;
/// More than any data set this library is meant for; stops a decompression bomb.
constexpr std::size_t kMaxInflated = std::size_t{8} << 30;

std::string system_reason() { return std::generic_category().message(errno); }

/// Closes a descriptor at the end of the scope.
class Descriptor {
 public:
  explicit Descriptor(int value) noexcept : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int get() const noexcept { return value_; }

 private:
  int value_;
};

struct EndInflate {
  void operator()(z_stream* stream) const noexcept { inflateEnd(stream); }
};

}  // namespace

std::string read_file(const fs::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) {
    throw FormatError(fmt::format("cannot open '{}': {}", path.string(), system_reason()));
  }
  if (S_ISDIR(status.st_mode)) {
    throw FormatError(fmt::format("cannot read '{}': it is a directory", path.string()));
  }
  std::string contents;
  if (S_ISREG(status.st_mode)) contents.reserve(static_cast<std::size_t>(status.st_size) + 1);
  const auto chunk = std::make_unique<char[]>(kChunk);
  for (;;) {
    const ssize_t got = ::read(file.get(), chunk.get(), kChunk);
    if (got == 0) return contents;
    if (got > 0) {
      contents.append(chunk.get(), static_cast<std::size_t>(got));
    } else if (errno != EINTR) {
      throw FormatError(fmt::format("cannot read '{}': {}", path.string(), system_reason()));
    }
  }
}

std::string read_file_or_gzip(const fs::path& path) {
  std::string contents = read_file(path);
  if (!contents.starts_with("\x1f\x8b")) return contents;
  return inflate_gzip(contents, path.string());
}

namespace {

// What the last member says it inflates to, as far as that is credible.
std::size_t inflated_size_hint(std::string_view compressed) {
  constexpr std::size_t kCredibleRatio = 16;
  std::array<unsigned char, 4> tail{};
  if (compressed.size() < tail.size()) return 0;
  compressed.copy(reinterpret_cast<char*>(tail.data()), tail.size(),
                  compressed.size() - tail.size());
  std::size_t size = 0;
  for (std::size_t i = tail.size(); i-- > 0;) size = size << 8 | tail[i];
  return std::min(size, kCredibleRatio * compressed.size());
}

}  // namespace

std::string inflate_gzip(std::string_view compressed, std::string_view name) {
  constexpr int kGzip = 16 + MAX_WBITS;
  z_stream stream{};
  if (inflateInit2(&stream, kGzip) != Z_OK) throw Error("zlib cannot start: out of memory");
  const std::unique_ptr<z_stream, EndInflate> guard(&stream);
  std::string out;
  out.reserve(inflated_size_hint(compressed));
  const auto chunk = std::make_unique<char[]>(kChunk);
  while (true) {
    if (stream.avail_in == 0) {
      // zlib counts in 32 bits and does not write to its input.
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
      stream.avail_in = static_cast<uInt>(std::min(compressed.size(), kChunk));
      compressed.remove_prefix(stream.avail_in);
    }
    stream.next_out = reinterpret_cast<Bytef*>(chunk.get());
    stream.avail_out = static_cast<uInt>(kChunk);
    const int status = ::inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.get(), kChunk - stream.avail_out);
    if (out.size() > kMaxInflated) {
      throw FormatError(fmt::format("{}: decompresses to more than {} bytes", name, kMaxInflated));
    }
    const bool at_end = stream.avail_in == 0 && compressed.empty();
    if (status == Z_STREAM_END) {
      if (at_end) return out;
      inflateReset(&stream);
    } else if (status == Z_BUF_ERROR || (status == Z_OK && at_end && stream.avail_out > 0)) {
      throw FormatError(fmt::format("{}: the gzip data is truncated", name));
    } else if (status != Z_OK) {
      throw FormatError(fmt::format("{}: broken gzip data: {}", name,
                                    stream.msg != nullptr ? stream.msg : zError(status)));
    }
  }
}

bool is_utf8(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xC2 ? 0
                               : lead < 0xE0 ? 2
                               : lead < 0xF0 ? 3
                               : lead < 0xF5 ? 4
                                             : 0;
    if (length == 0 || i + length > text.size()) return false;
    char32_t point = length == 1 ? lead : lead & (0x7Fu >> length);
    for (std::size_t k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xC0u) != 0x80u) return false;
      point = point << 6 | (next & 0x3Fu);
    }
    constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    if (point < kSmallest[length] || point > 0x10FFFF || surrogate) return false;
    i += length;
  }
  return true;
}

AtomicFile::AtomicFile(const fs::path& target) {
  const Destination destination = destination_of(target);
  // Behind symbolic links, so that rename() replaces the file and not the link.
  target_ = destination.path;
  if (destination.descriptor >= 0) {
    descriptor_ = ::fcntl(destination.descriptor, F_DUPFD_CLOEXEC, 0);
  } else if (destination.direct) {
    descriptor_ = ::open(target_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    static std::atomic<unsigned> counter{0};
    temporary_ = target_;
    temporary_ += fmt::format(".{}-{}.tmp", ::getpid(), counter.fetch_add(1));
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  }
  if (descriptor_ < 0) {
    temporary_.clear();
    fail("create");
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(std::string_view action) const {
  throw FormatError(fmt::format("cannot {} '{}': {}", action, target_.string(), system_reason()));
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (buffer_.size() >= kChunk) flush();
}

void AtomicFile::flush() {
  for (std::string_view rest = buffer_; !rest.empty();) {
    const ssize_t put = ::write(descriptor_, rest.data(), rest.size());
    if (put >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(put));
    } else if (errno != EINTR) {
      fail("write");
    }
  }
  buffer_.clear();
}

void AtomicFile::commit() {
  flush();
  if (!temporary_.empty() && ::fsync(descriptor_) != 0) fail("write");
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail("write");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail("replace");
  temporary_.clear();
  // The rename itself survives a crash once the directory is synced; not every file system can.
  const fs::path directory = target_.has_parent_path() ? target_.parent_path() : fs::path(".");
  const Descriptor folder(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.get() >= 0) static_cast<void>(::fsync(folder.get()));
}

}  // namespace chainrule::internal
