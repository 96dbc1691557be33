// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/dataset.hpp"

namespace chainrule {

/// A column of a CSV file: numbers when every cell is a finite number, text otherwise.
struct CsvColumn {
  std::vector<double> numbers{};
  std::vector<std::string> texts{};
  /// Of a text column: the line of the first cell that is not a finite number; 0 if unknown.
  Index text_line = 0;

  bool is_numeric() const noexcept { return texts.empty(); }
};

/// A CSV file in memory.
struct CsvTable {
  std::string source = "table";  ///< file name; begins the errors
  bool has_header = true;
  std::vector<std::string> names{};  ///< one a column; "column_0", "column_1", ... without a header
  std::vector<CsvColumn> columns{};
  Index rows = 0;
};

struct CsvOptions {
  enum class Header : std::uint8_t {
    /// There is one if the first row has text above a number (not counting "NA", "?", ...), or is
    /// alone and has nothing but text.
    kAuto,
    kPresent,
    kAbsent,
  };

  char delimiter = '\0';  ///< '\0' detects tab, semicolon or comma from the first two rows
  Header header = Header::kAuto;
};

/// Reads a CSV file, .gz too. Fields may be quoted ("" stands for a quote, line breaks allowed);
/// lines end in LF, CRLF or CR; a UTF-8 byte order mark and blank lines are skipped; numbers use a
/// decimal point whatever the locale is. Throws FormatError with line and column on an empty cell,
/// a row of another length, a broken quote, text that is not UTF-8 and a file without data rows.
CHAINRULE_API CsvTable read_csv(const std::filesystem::path& path, const CsvOptions& options = {});
CHAINRULE_API CsvTable parse_csv(std::string_view text, const CsvOptions& options = {},
                                 std::string_view source = "csv");

/// Writes commas, LF, quotes where needed, the header if the table has one, and numbers with the
/// fewest digits that read back to the same bits. The path is written atomically. ArgumentError
/// when columns and names disagree; FormatError when writing fails.
CHAINRULE_API void write_csv(const CsvTable& table, const std::filesystem::path& path);
CHAINRULE_API void write_csv(const CsvTable& table, std::ostream& stream);

/// Writes the numbers of a matrix with 17 significant digits, which read back to the same bits, and
/// without a header, row by row; to a path atomically. FormatError when writing fails.
CHAINRULE_API void write_matrix_csv(const Tensor& matrix, const std::filesystem::path& path);
CHAINRULE_API void write_matrix_csv(const Tensor& matrix, std::ostream& stream);

/// The column of that name, or else, where `name` is a number, the column with that index from 0;
/// empty means the last. ArgumentError, listing the names, when there is none or more than one.
CHAINRULE_API Index find_column(const CsvTable& table, std::string_view name);

enum class Task : std::uint8_t { kAuto, kClassification, kRegression };

/// What a target column asks for: classification when it holds text, and when it holds whole
/// numbers >= 0 of which at most 100 are distinct and each comes twice on average (or only two are
/// distinct); regression otherwise. Counts look like classes to this rule: force the task for them.
CHAINRULE_API Task infer_task(const CsvColumn& target);

/// How to make a Dataset of a table.
struct DatasetOptions {
  std::string target{};                      ///< for find_column()
  Task task = Task::kAuto;                   ///< kAuto: class_names say so, or else infer_task()
  std::vector<std::string> class_names{};    ///< classes to map the target to; empty takes its own
  std::vector<std::string> feature_names{};  ///< columns to use; empty takes all that are left
  std::string weight{};                      ///< column of sample weights, empty for none
  std::string offset{};                      ///< column of offsets, empty for none
};

/// Features (float64) and target of a table.
///
/// Classification: labels and class_names{}; names are sorted, numerically where the target is
/// numeric. With DatasetOptions::class_names the labels index those, and another value in the
/// target is a FormatError. Regression: y [n, 1]. FormatError naming line and column on a feature,
/// weight, offset or real target that is not numeric, and on two columns of one name unless
/// DatasetOptions::feature_names chooses.
CHAINRULE_API Dataset to_dataset(const CsvTable& table, const DatasetOptions& options = {});

/// The columns that a model was trained on, [n, d] float64, for prediction; further columns (the
/// target) are ignored.
///
/// They are matched by name; where the table or the training data had no header, by position: a
/// table of d columns as they come, a larger one by the index in the name "column_<index>". With no
/// feature names, `features` columns from the left, of which the table has that many or one more.
/// FormatError naming what is missing.
CHAINRULE_API Tensor feature_matrix(const CsvTable& table,
                                    std::span<const std::string> feature_names, Index features);

}  // namespace chainrule
