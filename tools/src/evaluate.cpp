// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/model_file.hpp"
#include "commands.hpp"
#include "data.hpp"

namespace chainrule::tools {
namespace {

constexpr std::size_t kMaxShownClasses = 30;

struct EvaluateOptions {
  std::string model;
  std::string data;
  DataColumns columns;
  HeaderOption header;
  bool json = false;
  ComputeOptions compute;
};

std::vector<std::string> class_names(const Model& model, std::size_t count) {
  std::vector<std::string> names = model.schema().class_names;
  for (std::size_t i = names.size(); i < count; ++i) names.push_back(std::to_string(i));
  return names;
}

nlohmann::ordered_json as_json(const Evaluation& result, const Rows& rows, const Model& model) {
  nlohmann::ordered_json json{{"data", rows.name}, {"rows", result.rows}, {"loss", result.loss}};
  if (result.accuracy) {
    json["accuracy"] = *result.accuracy;
    json["classes"] = class_names(model, result.confusion.size());
    json["confusion"] = result.confusion;
  }
  if (result.rmse) json["rmse"] = *result.rmse;
  return json;
}

std::string confusion_text(const Evaluation& result, const std::vector<std::string>& names) {
  const std::size_t count = result.confusion.size();
  if (count > kMaxShownClasses) {
    return fmt::format("confusion matrix of {} classes: see --json\n", count);
  }
  std::size_t first = 0;
  std::vector<std::size_t> widths;
  for (std::size_t j = 0; j < count; ++j) {
    first = std::max(first, names[j].size());
    widths.push_back(names[j].size());
    for (const auto& row : result.confusion) {
      widths[j] = std::max(widths[j], std::to_string(row[j]).size());
    }
  }
  std::string text = "confusion matrix, rows the true class, columns the predicted one\n";
  text += std::string(first, ' ');
  for (std::size_t j = 0; j < count; ++j) text += fmt::format("  {:>{}}", names[j], widths[j]);
  for (std::size_t i = 0; i < count; ++i) {
    text += fmt::format("\n{:<{}}", names[i], first);
    for (std::size_t j = 0; j < count; ++j) {
      text += fmt::format("  {:>{}}", result.confusion[i][j], widths[j]);
    }
  }
  return text + "\n";
}

std::string as_text(const Evaluation& result, const Rows& rows, const Model& model) {
  std::string text = fmt::format("data {}: {} rows\n", rows.name, result.rows);
  if (result.accuracy) text += fmt::format("accuracy {:.4f}\n", *result.accuracy);
  if (result.rmse) text += fmt::format("rmse {:.6g}\n", *result.rmse);
  text += fmt::format("loss {:.6g}\n", result.loss);
  if (!result.confusion.empty()) {
    text += confusion_text(result, class_names(model, result.confusion.size()));
  }
  return text;
}

bool is_finite(const Evaluation& result) {
  return std::isfinite(result.loss) && (!result.rmse || std::isfinite(*result.rmse));
}

// Halves the rows until one is left whose loss or error is not finite.
[[noreturn]] void fail_at_row(Predictor& predictor, const Rows& rows) {
  std::vector<std::uint32_t> suspects(static_cast<std::size_t>(rows.data.rows()));
  std::iota(suspects.begin(), suspects.end(), 0U);
  while (suspects.size() > 1) {
    const auto middle = suspects.begin() + static_cast<std::ptrdiff_t>(suspects.size() / 2);
    const std::vector<std::uint32_t> front(suspects.begin(), middle);
    const std::vector<std::uint32_t> back(middle, suspects.end());
    const bool in_front = !is_finite(predictor.evaluate(rows.data.subset(front)));
    if (!in_front && is_finite(predictor.evaluate(rows.data.subset(back)))) {
      throw FormatError(fmt::format("{}: the loss of rows {} to {} together is not finite",
                                    rows.name, suspects.front() + 1, suspects.back() + 1));
    }
    suspects = in_front ? front : back;
  }
  const Evaluation result = predictor.evaluate(rows.data.subset(suspects));
  throw FormatError(fmt::format("{}: row {}: the loss is {}{}, expected a finite number", rows.name,
                                suspects.front() + 1, result.loss,
                                result.rmse ? fmt::format(", the error {}", *result.rmse) : ""));
}

int evaluate_command(const EvaluateOptions& options) {
  const PredictorOptions compute = options.compute.predictor();
  const CsvOptions csv = options.header.csv();
  const Model model = load_model(options.model);
  const auto limit = options.compute.allow_threads();
  const Rows rows =
      load_test_rows(options.data, dataset_options(model, options.data, options.columns), csv);
  Predictor predictor(model, compute);
  const Evaluation result = predictor.evaluate(rows.data);
  if (!is_finite(result)) fail_at_row(predictor, rows);
  std::cout << (options.json ? to_text(as_json(result, rows, model))
                             : as_text(result, rows, model));
  return kExitOk;
}

}  // namespace

Command add_evaluate(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("evaluate", "Tests a model on data with known targets");
  const auto options = std::make_shared<EvaluateOptions>();
  sub->add_option("--model", options->model, "Model file")->required();
  sub->add_option("--data", options->data, "digits, fashion-mnist or a file")->required();
  sub->add_option("--target", options->columns.target,
                  "Name or index of the target column (default: as in training)");
  sub->add_option("--weights", options->columns.weights,
                  "Name or index of a column of sample weights");
  sub->add_option("--offset", options->columns.offset,
                  "Name or index of a column to add to the logits (losses with log link; "
                  "default: as in training)");
  options->header.add_to(*sub);
  sub->add_flag("--json", options->json, "The same as JSON");
  options->compute.add_to(*sub);
  sub->footer(std::string(kDataHelp) + R"(

Examples:
  chainrule evaluate --model digits.safetensors --data digits
  chainrule evaluate --model flowers.safetensors --data test.csv --json
  chainrule evaluate --model claims.safetensors --data test.csv)");
  return [options] { return evaluate_command(*options); };
}

}  // namespace chainrule::tools
