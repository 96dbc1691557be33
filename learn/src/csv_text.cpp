// SPDX-License-Identifier: Apache-2.0
#include "csv_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <memory>
#include <utility>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

bool is_line_end(char c) { return c == '\n' || c == '\r'; }

/// Occurrences of `c` outside quotes in one line; leaves `text` behind that line.
std::size_t count_in_line(std::string_view& text, char c) {
  std::size_t count = 0;
  bool quoted = false;
  std::size_t i = 0;
  for (; i < text.size() && (quoted || !is_line_end(text[i])); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (!quoted && text[i] == c) ++count;
  }
  while (i < text.size() && is_line_end(text[i])) ++i;
  text.remove_prefix(i);
  return count;
}

}  // namespace

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<double> parse_number(std::string_view cell) {
  cell = trim(cell);
  if (cell.size() > 1 && cell[0] == '+' && cell[1] != '-') cell.remove_prefix(1);
  double value = 0;
  const char* const end = cell.data() + cell.size();
  const auto [stop, error] = std::from_chars(cell.data(), end, value);
  if (error != std::errc{} || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::string number_text(double value) {
  std::array<char, 32> buffer;
  const auto result = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), result.ptr);
}

bool is_missing_marker(std::string_view cell) {
  constexpr std::array<std::string_view, 8> kMarkers{"",    "?",   "-",    "na",
                                                     "n/a", "nan", "null", "none"};
  std::string lower(trim(cell));
  std::transform(lower.begin(), lower.end(), lower.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::find(kMarkers.begin(), kMarkers.end(), lower) != kMarkers.end();
}

void CsvReader::end_line() {
  if (at_ >= text_.size()) return;
  if (text_[at_] == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') ++at_;
  ++at_;
  ++line_;
}

bool CsvReader::next(CsvRow& row) {
  row.cells.clear();
  row.unquoted.clear();
  while (at_ < text_.size() && is_line_end(text_[at_])) end_line();
  if (at_ >= text_.size()) return false;
  row.line = line_;
  while (true) {
    std::size_t start = at_;
    while (start < text_.size() && text_[start] == ' ') ++start;
    const bool quoted = start < text_.size() && text_[start] == '"';
    if (quoted) at_ = start;
    row.cells.push_back(quoted ? quoted_cell(row) : plain_cell());
    if (at_ >= text_.size()) return true;
    if (text_[at_] != delimiter_) {
      end_line();
      return true;
    }
    ++at_;
  }
}

std::string_view CsvReader::plain_cell() {
  const std::size_t start = at_;
  while (at_ < text_.size() && text_[at_] != delimiter_ && !is_line_end(text_[at_])) ++at_;
  return text_.substr(start, at_ - start);
}

std::string_view CsvReader::quoted_cell(CsvRow& row) {
  const Index start_line = line_;
  const std::size_t start = ++at_;
  bool doubled = false;
  for (;; ++at_) {
    if (at_ >= text_.size()) {
      throw FormatError(fmt::format("{}: line {}, column {}: the quote is never closed", source_,
                                    start_line, row.cells.size() + 1));
    }
    const char c = text_[at_];
    if (c == '\n' || (c == '\r' && (at_ + 1 >= text_.size() || text_[at_ + 1] != '\n'))) ++line_;
    if (c != '"') continue;
    if (at_ + 1 >= text_.size() || text_[at_ + 1] != '"') break;
    doubled = true;
    ++at_;
  }
  const std::string_view inside = text_.substr(start, at_ - start);
  ++at_;
  while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  if (at_ < text_.size() && text_[at_] != delimiter_ && !is_line_end(text_[at_])) {
    throw FormatError(fmt::format("{}: line {}, column {}: text behind the closing quote", source_,
                                  line_, row.cells.size() + 1));
  }
  if (!doubled) return inside;
  auto plain = std::make_unique<std::string>();
  for (std::size_t i = 0; i < inside.size(); ++i) {
    *plain += inside[i];
    if (inside[i] == '"') ++i;
  }
  return *row.unquoted.emplace_back(std::move(plain));
}

char detect_delimiter(std::string_view text) {
  for (const char candidate : {'\t', ';', ','}) {
    std::string_view rest = text;
    const std::size_t first = count_in_line(rest, candidate);
    if (first > 0 && (rest.empty() || count_in_line(rest, candidate) == first)) return candidate;
  }
  return ',';
}

}  // namespace chainrule::internal
