// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/csv.hpp"
#include "csv_text.hpp"

namespace chainrule {
namespace {

constexpr Index kNoColumn = -1;
constexpr std::string_view kPositionPrefix = "column_";

std::optional<Index> parse_index(std::string_view text) {
  Index value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || value < 0) return std::nullopt;
  return value;
}

/// The j of "column_j", the name of a column without a header.
std::optional<Index> position_of(std::string_view name) {
  if (!name.starts_with(kPositionPrefix)) return std::nullopt;
  return parse_index(name.substr(kPositionPrefix.size()));
}

std::string list(std::span<const std::string> names) {
  constexpr std::size_t kShown = 20;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i) {
    text += fmt::format("{}'{}'", i > 0 ? ", " : "", names[i]);
  }
  if (names.size() > kShown) text += fmt::format(", ... ({} in all)", names.size());
  return text;
}

Index width(const CsvTable& table) { return static_cast<Index>(table.columns.size()); }

const CsvColumn& column_at(const CsvTable& table, Index j) {
  return table.columns[static_cast<std::size_t>(j)];
}

const std::string& name_of(const CsvTable& table, Index j) {
  return table.names[static_cast<std::size_t>(j)];
}

/// Its numbers; FormatError for a column of text.
const std::vector<double>& numbers_of(const CsvTable& table, Index j, std::string_view role) {
  const CsvColumn& column = column_at(table, j);
  if (column.is_numeric()) return column.numbers;
  std::size_t row = 0;
  while (row + 1 < column.texts.size() && internal::parse_number(column.texts[row])) ++row;
  throw FormatError(
      fmt::format("{}: line {}, column {} ('{}'): '{}' is not a finite number, but "
                  "the column is {}",
                  table.source, column.text_line, j + 1, table.names[static_cast<std::size_t>(j)],
                  column.texts[row], role));
}

Tensor matrix_of(const CsvTable& table, std::span<const Index> columns, std::string_view role) {
  Tensor result({table.rows, static_cast<Index>(columns.size())}, DType::kFloat64);
  const MatrixView<double> out = result.as<double>();
  for (std::size_t k = 0; k < columns.size(); ++k) {
    const std::vector<double>& numbers = numbers_of(table, columns[k], role);
    for (Index i = 0; i < table.rows; ++i) {
      out(i, static_cast<Index>(k)) = numbers[static_cast<std::size_t>(i)];
    }
  }
  return result;
}

std::vector<Index> first_columns(Index count) {
  std::vector<Index> columns(static_cast<std::size_t>(count));
  for (Index j = 0; j < count; ++j) columns[static_cast<std::size_t>(j)] = j;
  return columns;
}

/// The columns that a model's features come from; see feature_matrix().
std::vector<Index> match_columns(const CsvTable& table, std::span<const std::string> names,
                                 Index features) {
  const Index have = width(table);
  if (names.empty()) {
    if (have == features || have == features + 1) return first_columns(features);
    throw FormatError(
        fmt::format("{}: {} columns, expected {} features", table.source, have, features));
  }
  std::vector<Index> columns;
  std::vector<std::string> missing;
  const bool positional = std::all_of(names.begin(), names.end(), position_of);
  if (table.has_header) {
    for (const std::string& name : names) {
      const auto found = std::find(table.names.begin(), table.names.end(), name);
      if (found == table.names.end()) {
        missing.push_back(name);
      } else {
        columns.push_back(find_column(table, name));
      }
    }
    if (missing.empty()) return columns;
  }
  if ((positional || !table.has_header) && have == static_cast<Index>(names.size())) {
    return first_columns(have);
  }
  // The target may be there as well; more names that mean nothing are another table's.
  if (positional && table.has_header && have > static_cast<Index>(names.size()) + 1) {
    throw FormatError(fmt::format(
        "{}: {} columns with names, expected {} or a table without a header, by whose columns {} "
        "are found",
        table.source, have, names.size(), list(names)));
  }
  if (positional) {
    columns.clear();
    for (const std::string& name : names) columns.push_back(*position_of(name));
    if (*std::max_element(columns.begin(), columns.end()) < have) return columns;
  } else if (table.has_header) {
    throw FormatError(fmt::format("{}: missing the column{} {}", table.source,
                                  missing.size() == 1 ? "" : "s", list(missing)));
  }
  throw FormatError(
      fmt::format("{}: {} columns and no header to find {} by", table.source, have, list(names)));
}

/// The name of a class that is a number; -0 and 0 are one class.
std::string class_name(double value) { return internal::number_text(value + 0.0); }

/// Sorted distinct values as class names.
std::vector<std::string> class_names_of(const CsvColumn& target) {
  if (!target.is_numeric()) {
    const std::set<std::string> distinct(target.texts.begin(), target.texts.end());
    return {distinct.begin(), distinct.end()};
  }
  const std::set<double> distinct(target.numbers.begin(), target.numbers.end());
  std::vector<std::string> names;
  for (const double value : distinct) names.push_back(class_name(value));
  return names;
}

void set_labels(const CsvTable& table, Index target, Dataset& data) {
  const CsvColumn& column = column_at(table, target);
  if (data.class_names.empty()) data.class_names = class_names_of(column);
  std::map<std::string, std::int32_t, std::less<>> class_of;
  for (const std::string& name : data.class_names) {
    const auto label = static_cast<std::int32_t>(class_of.size());
    if (!class_of.emplace(name, label).second) {
      throw ArgumentError(fmt::format("to_dataset: the class name '{}' comes twice", name));
    }
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(table.rows); ++i) {
    const std::string value = column.is_numeric() ? class_name(column.numbers[i]) : column.texts[i];
    const auto found = class_of.find(value);
    if (found == class_of.end()) {
      throw FormatError(fmt::format(
          "{}: data row {}, column {} ('{}'): '{}' is none of the "
          "classes {}",
          table.source, i + 1, target + 1, data.target_name, value, list(data.class_names)));
    }
    data.labels.push_back(found->second);
  }
}

/// What each column is for; kNoColumn where there is none.
struct Roles {
  std::vector<Index> features{};
  Index target = kNoColumn;
  Index weight = kNoColumn;
  Index offset = kNoColumn;
};

void expect_distinct_names(const CsvTable& table) {
  std::map<std::string_view, std::size_t> positions;
  for (std::size_t j = 0; j < table.names.size(); ++j) {
    const auto [first, is_new] = positions.emplace(table.names[j], j);
    if (is_new) continue;
    throw FormatError(fmt::format("{}: columns {} and {} are both called '{}'", table.source,
                                  first->second + 1, j + 1, table.names[j]));
  }
}

Index find_offset(const CsvTable& table, std::string_view name) {
  try {
    return find_column(table, name);
  } catch (const ArgumentError& error) {
    throw ArgumentError(fmt::format("{} (wanted as the offset)", error.what()));
  }
}

Roles find_roles(const CsvTable& table, const DatasetOptions& options) {
  Roles roles{.target = find_column(table, options.target)};
  if (!options.weight.empty()) roles.weight = find_column(table, options.weight);
  if (!options.offset.empty()) roles.offset = find_offset(table, options.offset);
  if (!options.feature_names.empty()) {
    roles.features = match_columns(table, options.feature_names,
                                   static_cast<Index>(options.feature_names.size()));
    return roles;
  }
  expect_distinct_names(table);
  for (Index j = 0; j < width(table); ++j) {
    if (j != roles.target && j != roles.weight && j != roles.offset) roles.features.push_back(j);
  }
  if (roles.features.empty()) {
    throw FormatError(fmt::format("{}: no feature column besides '{}'", table.source,
                                  name_of(table, roles.target)));
  }
  return roles;
}

Task task_of(const CsvTable& table, Index target, const DatasetOptions& options) {
  if (options.task != Task::kAuto) return options.task;
  return options.class_names.empty() ? infer_task(column_at(table, target)) : Task::kClassification;
}

/// Text classes with one value that marks a missing number are more likely a damaged column.
void expect_no_missing(const CsvTable& table, Index target) {
  const std::vector<std::string>& texts = column_at(table, target).texts;
  const auto numeric = [](const std::string& text) {
    return internal::parse_number(text) || internal::is_missing_marker(text);
  };
  if (!texts.empty() && std::all_of(texts.begin(), texts.end(), numeric)) {
    static_cast<void>(numbers_of(table, target, "the target"));
  }
}

}  // namespace

Index find_column(const CsvTable& table, std::string_view name) {
  if (table.columns.empty()) throw ArgumentError(fmt::format("{}: no columns", table.source));
  if (name.empty()) return width(table) - 1;
  const auto found = std::find(table.names.begin(), table.names.end(), name);
  if (found == table.names.end()) {
    if (const auto index = parse_index(name); index && *index < width(table)) return *index;
    throw ArgumentError(
        fmt::format("{}: no column '{}'; there is {}", table.source, name, list(table.names)));
  }
  if (std::find(found + 1, table.names.end(), name) != table.names.end()) {
    throw ArgumentError(fmt::format("{}: more than one column is called '{}'", table.source, name));
  }
  return found - table.names.begin();
}

Task infer_task(const CsvColumn& target) {
  constexpr std::size_t kMaxClasses = 100;
  if (!target.is_numeric()) return Task::kClassification;
  std::set<double> distinct;
  for (const double value : target.numbers) {
    if (value < 0 || value != std::floor(value)) return Task::kRegression;
    distinct.insert(value);
    if (distinct.size() > kMaxClasses) return Task::kRegression;
  }
  const bool repeats = distinct.size() <= 2 || 2 * distinct.size() <= target.numbers.size();
  return repeats ? Task::kClassification : Task::kRegression;
}

Dataset to_dataset(const CsvTable& table, const DatasetOptions& options) {
  const Roles roles = find_roles(table, options);
  const auto column_vector = [&](Index j, std::string_view role) {
    return j == kNoColumn ? Tensor() : matrix_of(table, std::span(&j, 1), role);
  };
  Dataset data;
  data.target_name = name_of(table, roles.target);
  if (roles.offset != kNoColumn) data.offset_name = name_of(table, roles.offset);
  data.class_names = options.class_names;
  data.feature_names = options.feature_names;
  if (data.feature_names.empty()) {
    for (const Index j : roles.features) data.feature_names.push_back(name_of(table, j));
  }
  data.x = matrix_of(table, roles.features, "a feature");
  data.weights = column_vector(roles.weight, "the sample weight");
  data.offset = column_vector(roles.offset, "the offset");
  expect_no_missing(table, roles.target);
  if (task_of(table, roles.target, options) == Task::kClassification) {
    set_labels(table, roles.target, data);
  } else {
    data.class_names.clear();
    data.y = column_vector(roles.target, "a real target");
  }
  data.validate();
  return data;
}

Tensor feature_matrix(const CsvTable& table, std::span<const std::string> feature_names,
                      Index features) {
  return matrix_of(table, match_columns(table, feature_names, features), "a feature");
}

}  // namespace chainrule
