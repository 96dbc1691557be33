// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/learn/posterior_file.hpp"
#include "commands.hpp"
#include "data.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kStdout = "-";

struct PredictOptions {
  std::string model;
  std::string data;
  std::string out;
  std::string offset;
  HeaderOption header;
  ComputeOptions compute;
};

struct Inputs {
  Tensor x;
  Tensor offset;
};

// The column of `name`; says why it is wanted when there is none.
const CsvColumn& offset_column(const CsvTable& table, const std::string& name) {
  try {
    return table.columns[static_cast<std::size_t>(find_column(table, name))];
  } catch (const ArgumentError& error) {
    throw ArgumentError(fmt::format("{} (wanted as the offset)", error.what()));
  }
}

Inputs load_inputs(const PredictOptions& options, const Model& model) {
  const std::string& offset = options.offset.empty() ? model.schema().offset_name : options.offset;
  if (has_test_rows(options.data)) {
    return {.x = load_test_rows(options.data, {.offset = offset}).data.x, .offset = {}};
  }
  const CsvTable table = load_table(options.data, options.header.csv());
  Inputs inputs{.x = feature_matrix(table, model.schema().feature_names, model.inputs()),
                .offset = {}};
  expect_finite(inputs.x, options.data + ", features");
  if (offset.empty()) return inputs;
  const CsvColumn& column = offset_column(table, offset);
  if (!column.is_numeric()) {
    throw FormatError(
        fmt::format("{}: line {}, column '{}' is not a finite number, but the "
                    "column is the offset",
                    options.data, column.text_line, offset));
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

struct Predicted {
  std::vector<std::int32_t> classes{};  ///< of classification
  Tensor numbers{};                     ///< probabilities or means
  Tensor variance{};                    ///< of the function, by a neural linear model
};

Predicted by_model(const PredictOptions& options, const Model& model, const Inputs& inputs) {
  Predictor predictor(model, options.compute.predictor());
  Predicted predicted;
  if (is_classification(model.likelihood())) predicted.classes = predictor.classify(inputs.x);
  predicted.numbers = inputs.offset.shape().rank() == 0
                          ? predictor.predict(inputs.x)
                          : predictor.predict(inputs.x, inputs.offset);
  return predicted;
}

Predicted by_posterior(const NeuralLinearModel& posterior, const Tensor& x) {
  GaussianProcessPrediction at = posterior.predict(x);
  return {.numbers = std::move(at.mean), .variance = std::move(at.variance)};
}

Predicted by_posterior(const LastLayerLaplace& posterior, const Tensor& x) {
  Predicted predicted{.numbers = posterior.predict(x).probability};
  const auto p = predicted.numbers.as<double>();
  for (Index i = 0; i < p.rows; ++i) {
    const double* const row = p.row(i);
    predicted.classes.push_back(static_cast<std::int32_t>(
        p.columns == 1 ? (row[0] > 0.5 ? 1 : 0) : std::max_element(row, row + p.columns) - row));
  }
  return predicted;
}

CsvTable prediction_table(const PredictOptions& options, const Model& model, const Inputs& inputs) {
  const auto posterior = load_posterior(options.model, options.compute.threads());
  const Predicted predicted =
      posterior ? std::visit([&](const auto& p) { return by_posterior(p, inputs.x); }, *posterior)
                : by_model(options, model, inputs);
  expect_finite(predicted.numbers, options.data + ", predictions");
  CsvTable table{.rows = inputs.x.rows()};
  if (!predicted.classes.empty()) {
    table.names.emplace_back("class");
    auto& texts = table.columns.emplace_back().texts;
    for (const std::int32_t label : predicted.classes) texts.push_back(class_name(model, label));
  }
  const auto add = [&](const std::string& name, const Tensor& from, Index column) {
    table.names.push_back(name);
    auto& numbers = table.columns.emplace_back().numbers;
    for (Index i = 0; i < from.rows(); ++i) numbers.push_back(element(from, i, column));
  };
  const std::vector<std::string> names = number_names(model);
  for (Index j = 0; j < predicted.numbers.columns(); ++j) {
    add(names[static_cast<std::size_t>(j)], predicted.numbers, j);
  }
  if (predicted.variance.shape().rank() != 0) add("variance", predicted.variance, 0);
  return table;
}

int predict(const PredictOptions& options) {
  static_cast<void>(options.compute.gemm());
  static_cast<void>(options.header.csv());
  expect_distinct({{"--out", options.out == kStdout ? "" : options.out}},
                  {{"--model", options.model}, data_file(options.data)});
  if (options.out != kStdout) expect_writable(options.out);
  const auto limit = options.compute.allow_threads();
  const Model model = load_model(options.model);
  const CsvTable table = prediction_table(options, model, load_inputs(options, model));
  if (options.out == kStdout) {
    write_csv(table, std::cout);
    return kExitOk;
  }
  write_csv(table, options.out);
  if (destination_of(options.out).direct) return kExitOk;  // /dev/stdout, say
  std::cout << fmt::format("wrote {} predictions to {}\n", table.rows, options.out);
  return kExitOk;
}

}  // namespace

Command add_predict(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("predict", "Predicts with a model");
  const auto options = std::make_shared<PredictOptions>();
  sub->add_option("--model", options->model, "Model file")->required();
  sub->add_option("--data", options->data,
                  "CSV or .npy file, IDX images (or digits, fashion-mnist: their test rows)")
      ->required();
  sub->add_option("--out", options->out,
                  "CSV file to write, a row for each row of the data; - is standard output")
      ->required();
  sub->add_option("--offset", options->offset,
                  "Name or index of a column to add to the logits (losses with log link; "
                  "default: as in training)");
  options->header.add_to(*sub);
  options->compute.add_to(*sub);
  sub->footer(
      R"(Columns are found by the names in the header, in any order; the target and other columns
are ignored. They are taken by position, with or without the target's, if the training data
had none; pixels of IDX images always are. The model file knows how to standardize them. --out
gets the class and the probabilities of the classes, or the mean; with a file of glm bayes also the
variance of the function, and probabilities that know how uncertain the weights are.

Examples:
  chainrule predict --model flowers.safetensors --data new.csv --out predictions.csv
  chainrule predict --model fashion.safetensors --data t10k-images-idx3-ubyte.gz --out classes.csv
  chainrule predict --model claims.safetensors --data new.csv --out means.csv)");
  return [options] { return predict(*options); };
}

}  // namespace chainrule::tools
