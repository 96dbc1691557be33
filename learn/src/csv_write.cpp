// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iterator>
#include <ostream>
#include <string_view>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/csv.hpp"
#include "csv_text.hpp"
#include "file_io.hpp"

namespace chainrule {
namespace {

std::string cell_text(const std::string& text) {
  const bool plain = !text.empty() && text.find_first_of(",;\t\"\r\n") == std::string::npos &&
                     internal::trim(text).size() == text.size();
  if (plain) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

void check(const CsvTable& table) {
  if (table.has_header && table.names.size() != table.columns.size()) {
    throw ArgumentError(fmt::format("write_csv: {} names for {} columns", table.names.size(),
                                    table.columns.size()));
  }
  for (const CsvColumn& column : table.columns) {
    const std::size_t cells = column.is_numeric() ? column.numbers.size() : column.texts.size();
    if (static_cast<Index>(cells) == table.rows) continue;
    throw ArgumentError(
        fmt::format("write_csv: a column of {} cells in a table of {} rows", cells, table.rows));
  }
}

template <class Sink>
void write_to(const CsvTable& table, Sink&& sink) {
  check(table);
  std::string line;
  const auto end_line = [&] {
    line.back() = '\n';  // in place of the last comma
    sink(line);
    line.clear();
  };
  if (table.columns.empty()) return;
  if (table.has_header) {
    for (const std::string& name : table.names) line += cell_text(name) + ',';
    end_line();
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(table.rows); ++i) {
    for (const CsvColumn& column : table.columns) {
      line += column.is_numeric() ? internal::number_text(column.numbers[i])
                                  : cell_text(column.texts[i]);
      line += ',';
    }
    end_line();
  }
}

template <class Sink>
void write_rows(const Tensor& matrix, Sink&& sink) {
  std::string line;
  for (Index i = 0; i < matrix.rows(); ++i) {
    line.clear();
    for (Index j = 0; j < matrix.columns(); ++j) {
      fmt::format_to(std::back_inserter(line), "{}{:.17g}", j == 0 ? "" : ",",
                     element(matrix.view(), i, j));
    }
    line += '\n';
    sink(line);
  }
}

void expect_good(std::ostream& stream, std::string_view who) {
  if (!stream.flush()) throw FormatError(fmt::format("{}: the stream does not take the data", who));
}

}  // namespace

void write_csv(const CsvTable& table, const std::filesystem::path& path) {
  internal::AtomicFile out(path);
  write_to(table, [&](const std::string& line) { out.write(line); });
  out.commit();
}

void write_csv(const CsvTable& table, std::ostream& stream) {
  write_to(table, [&](const std::string& line) {
    stream.write(line.data(), static_cast<std::streamsize>(line.size()));
  });
  expect_good(stream, "write_csv");
}

void write_matrix_csv(const Tensor& matrix, const std::filesystem::path& path) {
  internal::AtomicFile out(path);
  write_rows(matrix, [&](const std::string& line) { out.write(line); });
  out.commit();
}

void write_matrix_csv(const Tensor& matrix, std::ostream& stream) {
  write_rows(matrix, [&](const std::string& line) {
    stream.write(line.data(), static_cast<std::streamsize>(line.size()));
  });
  expect_good(stream, "write_matrix_csv");
}

}  // namespace chainrule
