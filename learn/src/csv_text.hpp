// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/dtype.hpp"

namespace chainrule::internal {

/// A finite decimal number, spaces around it and a leading '+' allowed; independent of the locale.
std::optional<double> parse_number(std::string_view cell);
/// The fewest digits that read back to the same bits.
std::string number_text(double value);
/// "NA", "?", "null", ...: what stands for a missing number. Empty cells count.
bool is_missing_marker(std::string_view cell);
std::string_view trim(std::string_view text);

/// The cells of one row. Views point into the text or into the row's own storage.
struct CsvRow {
  std::vector<std::string_view> cells;
  Index line = 0;  ///< where it starts, from 1

  /// Storage of the cells that had doubled quotes; pointers, so that growing moves no text.
  std::vector<std::unique_ptr<std::string>> unquoted;
};

/// Cuts CSV text into rows, skipping blank lines.
class CsvReader {
 public:
  CsvReader(std::string_view text, char delimiter, std::string_view source)
      : text_(text), delimiter_(delimiter), source_(source) {}

  /// False at the end of the text; FormatError on a broken quote.
  bool next(CsvRow& row);

 private:
  std::string_view quoted_cell(CsvRow& row);
  std::string_view plain_cell();
  void end_line();

  std::string_view text_;
  char delimiter_;
  std::string_view source_;
  std::size_t at_ = 0;
  Index line_ = 1;
};

/// Tab, semicolon or comma, the first of them that the first two rows have equally often (outside
/// quotes, at least once); a comma otherwise.
char detect_delimiter(std::string_view text);

}  // namespace chainrule::internal
