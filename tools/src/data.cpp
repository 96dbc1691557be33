// SPDX-License-Identifier: Apache-2.0
#include "data.hpp"

#include <fmt/format.h>

#include <utility>

#include "chainrule/learn/load.hpp"

namespace chainrule::tools {
namespace {

constexpr Index kDigitsFold = 5;

void expect_no_columns(const std::string& name, const DatasetOptions& options) {
  for (const auto& [option, column] :
       {std::pair("--target", &options.target), std::pair("--weights", &options.weight),
        std::pair("--offset", &options.offset)}) {
    if (column->empty()) continue;
    throw UsageError(
        fmt::format("{} {}: the data set {} has no named columns", option, *column, name));
  }
}

Rows load_file(const std::string& name, const DatasetOptions& options, const CsvOptions& csv) {
  Rows rows{.data = load(name, options, csv), .name = name};
  if (rows.data.rows() == 0) throw FormatError(fmt::format("{}: no rows", name));
  expect_finite(rows.data.x, name + ", features");
  if (rows.data.y.shape().rank() != 0) expect_finite(rows.data.y, name + ", target");
  return rows;
}

}  // namespace

CLI::Option* HeaderOption::add_to(CLI::App& app) {
  return app
      .add_option("--header", text_,
                  "Whether the first line of a CSV file has the names of the columns: yes, no or "
                  "auto (text above a number)")
      ->capture_default_str();
}

CsvOptions HeaderOption::csv() const {
  using Header = CsvOptions::Header;
  if (text_ == "auto") return {.header = Header::kAuto};
  if (text_ == "yes") return {.header = Header::kPresent};
  if (text_ == "no") return {.header = Header::kAbsent};
  throw UsageError(fmt::format("--header: got '{}', expected yes, no or auto", text_));
}

bool has_test_rows(const std::string& name) { return name == "digits" || name == "fashion-mnist"; }

Rows load_training_rows(const std::string& name, const DatasetOptions& options,
                        const CsvOptions& csv) {
  if (!has_test_rows(name)) return load_file(name, options, csv);
  expect_no_columns(name, options);
  if (name == "digits") {
    return {.data = load_digits().split_every(kDigitsFold).train,
            .name = "digits, rows i % 5 != 0"};
  }
  return {.data = load(name), .name = "fashion-mnist, training file"};
}

Rows load_test_rows(const std::string& name, const DatasetOptions& options, const CsvOptions& csv) {
  if (!has_test_rows(name)) return load_file(name, options, csv);
  expect_no_columns(name, options);
  if (name == "digits") {
    return {.data = load_digits().split_every(kDigitsFold).test, .name = "digits, rows i % 5 == 0"};
  }
  return {.data = load("fashion-mnist-test"), .name = "fashion-mnist, test file"};
}

NamedFile data_file(const std::string& name) {
  return {.option = "--data", .path = has_test_rows(name) ? "" : name};
}

DatasetOptions dataset_options(const Model& model, const std::string& data,
                               const DataColumns& columns) {
  const Schema& schema = model.schema();
  const bool classes = is_classification(model.likelihood());
  DatasetOptions wanted{.target = columns.target,
                        .task = classes ? Task::kClassification : Task::kRegression,
                        .weight = columns.weights,
                        .offset = columns.offset.empty() ? schema.offset_name : columns.offset};
  if (has_test_rows(data)) return wanted;
  if (classes) wanted.class_names = schema.class_names;
  wanted.feature_names = schema.feature_names;
  // A model of a data set without column names knows no place for its target but the last.
  if (columns.target.empty() && !schema.feature_names.empty()) wanted.target = schema.target_name;
  return wanted;
}

}  // namespace chainrule::tools
