// SPDX-License-Identifier: Apache-2.0
#include "progress_line.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "chainrule/learn/progress.hpp"

namespace chainrule::tools {
namespace {

constexpr std::size_t kBarWidth = 24;
constexpr auto kRedrawInterval = std::chrono::milliseconds(100);

}  // namespace

ProgressLine::ProgressLine()
    : terminal_(::isatty(STDOUT_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0) {}

void ProgressLine::show(std::size_t done, std::size_t total, const std::string& what) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || total == 0 || now - drawn_ < kRedrawInterval) return;
  drawn_ = now;
  const std::size_t filled = std::min(kBarWidth, kBarWidth * done / total);
  std::string line = fmt::format("[{}{}] {}/{} {}", std::string(filled, '#'),
                                 std::string(kBarWidth - filled, '.'), done, total, what);
  // A line that wraps cannot be taken back.
  const auto limit = static_cast<std::size_t>(std::max(terminal_columns(STDERR_FILENO) - 1, 1));
  const std::size_t width = std::min(line.size(), limit);
  line.resize(width);
  line.resize(std::max(width, std::min(width_, limit)), ' ');  // over what the last line left
  std::cerr << '\r' << line << std::flush;
  width_ = width;
}

void ProgressLine::clear() {
  if (width_ == 0) return;
  std::cerr << '\r' << std::string(width_, ' ') << '\r' << std::flush;
  width_ = 0;
}

}  // namespace chainrule::tools
