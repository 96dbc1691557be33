// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/model_file.hpp"
#include "commands.hpp"
#include "data.hpp"

namespace chainrule::tools {
namespace {

struct PredictOptions {
  std::string model;
  std::string data;
  std::string out;
  std::string offset;
  ComputeOptions compute;
};

struct Inputs {
  Tensor x;
  Tensor offset;
};

Inputs load_inputs(const PredictOptions& options, const Model& model) {
  if (has_test_rows(options.data)) {
    return {.x = load_test_rows(options.data, {.offset = options.offset}).data.x, .offset = {}};
  }
  const CsvTable table = load_table(options.data);
  Inputs inputs{.x = feature_matrix(table, model.schema().feature_names, model.inputs()),
                .offset = {}};
  expect_finite(inputs.x, options.data + ", features");
  if (options.offset.empty()) return inputs;
  const CsvColumn& column =
      table.columns[static_cast<std::size_t>(find_column(table, options.offset))];
  if (!column.is_numeric()) {
    throw FormatError(
        fmt::format("{}: line {}, column '{}' is not a finite number, but the "
                    "column is the offset",
                    options.data, column.text_line, options.offset));
  }
  inputs.offset = Tensor({table.rows, 1}, DType::kFloat64);
  std::copy(column.numbers.begin(), column.numbers.end(), inputs.offset.as<double>().data);
  expect_finite(inputs.offset, options.data + ", offset");
  return inputs;
}

std::string class_name(const Model& model, std::int32_t label) {
  const auto& names = model.schema().class_names;
  const auto i = static_cast<std::size_t>(label);
  return i < names.size() ? names[i] : std::to_string(label);
}

// What the numbers of a prediction are called.
std::vector<std::string> number_names(const Model& model) {
  const Likelihood& likelihood = model.likelihood();
  if (std::holds_alternative<Bernoulli>(likelihood)) return {"probability_" + class_name(model, 1)};
  if (std::holds_alternative<HingeLoss>(likelihood)) return {"score"};
  const std::string what = std::holds_alternative<Categorical>(likelihood) ? "probability"
                           : std::holds_alternative<Laplace>(likelihood)   ? "median"
                                                                           : "mean";
  if (model.outputs() == 1 && what != "probability") return {what};
  std::vector<std::string> names;
  for (std::int32_t j = 0; j < model.outputs(); ++j) {
    names.push_back(what + "_" +
                    (what == "probability" ? class_name(model, j) : std::to_string(j)));
  }
  return names;
}

CsvTable prediction_table(const PredictOptions& options, const Model& model, const Inputs& inputs) {
  Predictor predictor(model, options.compute.predictor());
  CsvTable table{.rows = inputs.x.rows()};
  if (is_classification(model.likelihood())) {
    table.names.emplace_back("class");
    auto& texts = table.columns.emplace_back().texts;
    for (const std::int32_t label : predictor.classify(inputs.x)) {
      texts.push_back(class_name(model, label));
    }
  }
  const Tensor prediction = options.offset.empty() ? predictor.predict(inputs.x)
                                                   : predictor.predict(inputs.x, inputs.offset);
  const std::vector<std::string> names = number_names(model);
  for (Index j = 0; j < prediction.columns(); ++j) {
    table.names.push_back(names[static_cast<std::size_t>(j)]);
    auto& numbers = table.columns.emplace_back().numbers;
    for (Index i = 0; i < prediction.rows(); ++i) {
      numbers.push_back(element(prediction.view(), i, j));
    }
  }
  return table;
}

int predict(const PredictOptions& options) {
  static_cast<void>(options.compute.gemm());
  expect_writable(options.out);
  const auto limit = options.compute.allow_threads();
  const Model model = load_model(options.model);
  const CsvTable table = prediction_table(options, model, load_inputs(options, model));
  write_csv(table, options.out);
  if (!std::filesystem::is_regular_file(options.out)) return kExitOk;  // /dev/stdout, say
  std::cout << fmt::format("wrote {} predictions to {}\n", table.rows, options.out);
  return kExitOk;
}

}  // namespace

Command add_predict(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("predict", "Predicts with a model");
  const auto options = std::make_shared<PredictOptions>();
  sub->add_option("--model", options->model, "Model file")->required();
  sub->add_option("--data", options->data,
                  "CSV or .npy file (or digits, fashion-mnist: their test rows)")
      ->required();
  sub->add_option("--out", options->out, "CSV file to write, a row for each row of the data")
      ->required();
  sub->add_option(
      "--offset", options->offset,
      "Name or index of a column to add to the logits (losses with log link); left out, "
      "the offset is 0");
  options->compute.add_to(*sub);
  sub->footer(
      R"(Columns are found by the names in the header, in any order; the target and other columns
are ignored. Without a header they are taken by position, with or without the target's. The
model file knows how to standardize them. --out gets the class and the probabilities of the
classes, or the mean.

Examples:
  chainrule predict --model flowers.safetensors --data new.csv --out predictions.csv
  chainrule predict --model claims.safetensors --data new.csv \
    --offset log_exposure --out means.csv)");
  return [options] { return predict(*options); };
}

}  // namespace chainrule::tools
