// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/csv.hpp"
#include "csv_text.hpp"
#include "file_io.hpp"

namespace chainrule {
namespace {

using internal::CsvReader;
using internal::CsvRow;

/// Text above a number; a marker of a missing value is not taken for a name.
bool is_header(const CsvRow& first, const CsvRow& second) {
  const std::size_t common = std::min(first.cells.size(), second.cells.size());
  for (std::size_t j = 0; j < common; ++j) {
    if (!internal::parse_number(first.cells[j]) && !internal::is_missing_marker(first.cells[j]) &&
        internal::parse_number(second.cells[j])) {
      return true;
    }
  }
  return false;
}

/// Names and nothing else.
bool is_header(const CsvRow& only) {
  return std::all_of(only.cells.begin(), only.cells.end(), [](std::string_view cell) {
    return !internal::parse_number(cell) && !internal::is_missing_marker(cell);
  });
}

/// Parses a text twice: once for numbers, and again for the columns that turned out to hold text.
class TableBuilder {
 public:
  TableBuilder(std::string_view text, const CsvOptions& options, std::string_view source)
      : text_(text),
        source_(source),
        delimiter_(options.delimiter != '\0' ? options.delimiter
                                             : internal::detect_delimiter(text)) {
    table_.source = source;
    table_.has_header = find_header(options.header);
  }

  CsvTable build() && {
    read_numbers();
    const auto has_text = [](const CsvColumn& column) { return column.text_line > 0; };
    if (std::any_of(table_.columns.begin(), table_.columns.end(), has_text)) read_texts();
    return std::move(table_);
  }

 private:
  bool find_header(CsvOptions::Header header) {
    CsvReader reader(text_, delimiter_, source_);
    CsvRow first;
    CsvRow second;
    if (!reader.next(first)) throw FormatError(fmt::format("{}: the file is empty", source_));
    if (header == CsvOptions::Header::kAuto) {
      table_.has_header = reader.next(second) ? is_header(first, second) : is_header(first);
    } else {
      table_.has_header = header == CsvOptions::Header::kPresent;
    }
    for (std::size_t j = 0; j < first.cells.size(); ++j) {
      table_.names.push_back(table_.has_header
                                 ? checked_text(internal::trim(first.cells[j]), first.line, j)
                                 : fmt::format("column_{}", j));
    }
    table_.columns.resize(first.cells.size());
    return table_.has_header;
  }

  template <class Visit>
  void for_each_row(Visit&& visit) {
    CsvReader reader(text_, delimiter_, source_);
    CsvRow row;
    if (table_.has_header) reader.next(row);
    while (reader.next(row)) visit(row);
  }

  void read_numbers() {
    for_each_row([this](const CsvRow& row) {
      if (row.cells.size() != table_.columns.size()) {
        throw FormatError(fmt::format("{}: line {} has {} cells, expected {}", source_, row.line,
                                      row.cells.size(), table_.columns.size()));
      }
      ++table_.rows;
      for (std::size_t j = 0; j < row.cells.size(); ++j) read_number(row, j);
    });
    if (table_.rows == 0) {
      throw FormatError(fmt::format("{}: no data rows, only a header", source_));
    }
  }

  void read_number(const CsvRow& row, std::size_t j) {
    CsvColumn& column = table_.columns[j];
    if (internal::trim(row.cells[j]).empty()) {
      throw FormatError(fmt::format("{}: line {}, column {} ('{}'): the cell is empty", source_,
                                    row.line, j + 1, table_.names[j]));
    }
    if (column.text_line > 0) return;
    if (const auto number = internal::parse_number(row.cells[j])) {
      column.numbers.push_back(*number);
    } else {
      column.text_line = row.line;
      column.numbers = {};
    }
  }

  void read_texts() {
    for_each_row([this](const CsvRow& row) {
      for (std::size_t j = 0; j < row.cells.size(); ++j) {
        CsvColumn& column = table_.columns[j];
        if (column.text_line > 0) {
          column.texts.push_back(checked_text(internal::trim(row.cells[j]), row.line, j));
        }
      }
    });
  }

  std::string checked_text(std::string_view text, Index line, std::size_t j) const {
    if (internal::is_utf8(text)) return std::string(text);
    throw FormatError(
        fmt::format("{}: line {}, column {}: the text is not UTF-8", source_, line, j + 1));
  }

  std::string_view text_;
  std::string_view source_;
  char delimiter_;
  CsvTable table_;
};

}  // namespace

CsvTable parse_csv(std::string_view text, const CsvOptions& options, std::string_view source) {
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    throw FormatError(fmt::format("{}: the text is UTF-16, expected UTF-8", source));
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return TableBuilder(text, options, source).build();
}

CsvTable read_csv(const std::filesystem::path& path, const CsvOptions& options) {
  return parse_csv(internal::read_file_or_gzip(path), options, path.string());
}

}  // namespace chainrule
