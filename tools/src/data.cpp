// SPDX-License-Identifier: Apache-2.0
#include "data.hpp"

#include <fmt/format.h>

#include <utility>

#include "chainrule/learn/load.hpp"
#include "common.hpp"

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

Rows load_file(const std::string& name, const DatasetOptions& options) {
  Rows rows{.data = load(name, options), .name = name};
  expect_finite(rows.data.x, name + ", features");
  if (rows.data.y.shape().rank() != 0) expect_finite(rows.data.y, name + ", target");
  return rows;
}

}  // namespace

bool has_test_rows(const std::string& name) { return name == "digits" || name == "fashion-mnist"; }

Rows load_training_rows(const std::string& name, const DatasetOptions& options) {
  if (!has_test_rows(name)) return load_file(name, options);
  expect_no_columns(name, options);
  if (name == "digits") {
    return {.data = load_digits().split_every(kDigitsFold).train,
            .name = "digits, rows i % 5 != 0"};
  }
  return {.data = load(name), .name = "fashion-mnist, training file"};
}

Rows load_test_rows(const std::string& name, const DatasetOptions& options) {
  if (!has_test_rows(name)) return load_file(name, options);
  expect_no_columns(name, options);
  if (name == "digits") {
    return {.data = load_digits().split_every(kDigitsFold).test, .name = "digits, rows i % 5 == 0"};
  }
  return {.data = load("fashion-mnist-test"), .name = "fashion-mnist, test file"};
}

DatasetOptions dataset_options(const Model& model, const std::string& data,
                               const DataColumns& columns) {
  const Schema& schema = model.schema();
  const bool classes = is_classification(model.likelihood());
  DatasetOptions wanted{.target = columns.target,
                        .task = classes ? Task::kClassification : Task::kRegression,
                        .weight = columns.weights,
                        .offset = columns.offset};
  if (has_test_rows(data)) return wanted;
  if (classes) wanted.class_names = schema.class_names;
  wanted.feature_names = schema.feature_names;
  // A model of a data set without column names knows no place for its target but the last.
  if (columns.target.empty() && !schema.feature_names.empty()) wanted.target = schema.target_name;
  return wanted;
}

}  // namespace chainrule::tools
