// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "data.hpp"
#include "fitted_process.hpp"
#include "gp.hpp"

namespace chainrule::tools {
namespace {

struct GpEvaluateOptions {
  std::string model;
  std::string data;
  std::string target;
  HeaderOption header;
  bool json = false;
  ComputeOptions compute;
};

struct GpEvaluation {
  Index rows = 0;
  std::optional<Index> errors{};  ///< rows of another class than predicted
  double rmse = 0;
  double density = 0;  ///< mean negative log predictive density of a target

  double accuracy() const { return 1 - static_cast<double>(*errors) / static_cast<double>(rows); }
};

Rows load_rows_for(const FittedProcess& process, const GpEvaluateOptions& options,
                   const CsvOptions& csv) {
  DatasetOptions wanted{.target = options.target,
                        .task = process.has_classes() ? Task::kClassification : Task::kRegression};
  if (!has_test_rows(options.data)) {
    wanted.class_names = process.schema().class_names;
    wanted.feature_names = process.schema().feature_names;
    if (options.target.empty() && !wanted.feature_names.empty()) {
      wanted.target = process.schema().target_name;
    }
  }
  return load_test_rows(options.data, wanted, csv);
}

GpEvaluation evaluate_gp(const FittedProcess& process, const Dataset& data) {
  const Index outputs = process.outputs();
  const Tensor y = process.has_classes() ? one_hot_targets(data.labels, outputs) : data.y;
  const GaussianProcessPrediction at = process.predict(data.x);
  GpEvaluation result{.rows = data.rows(),
                      .density = negative_log_predictive_density(at, process.noise(), y)};
  if (process.has_classes()) result.errors = 0;
  for (Index i = 0; i < result.rows; ++i) {
    for (Index j = 0; j < outputs; ++j) {
      result.rmse += std::pow(element(y, i, j) - element(at.mean, i, j), 2);
    }
    if (!result.errors) continue;
    const double* const mean = at.mean.as<double>().row(i);
    const auto guess = std::max_element(mean, mean + outputs) - mean;
    *result.errors += guess == data.labels[static_cast<std::size_t>(i)] ? 0 : 1;
  }
  result.rmse = std::sqrt(result.rmse / static_cast<double>(result.rows * outputs));
  return result;
}

int evaluate_command(const GpEvaluateOptions& options) {
  const CsvOptions csv = options.header.csv();
  const auto limit = options.compute.allow_threads();
  const FittedProcess process(load_any_gaussian_process(options.model, options.compute.threads()));
  const Rows rows = load_rows_for(process, options, csv);
  if (rows.data.x.columns() != process.features()) {
    throw FormatError(fmt::format("{}: {} features, the Gaussian process has {}", rows.name,
                                  rows.data.x.columns(), process.features()));
  }
  const GpEvaluation result = evaluate_gp(process, rows.data);
  if (options.json) {
    nlohmann::ordered_json json{{"data", rows.name}, {"rows", result.rows}};
    if (result.errors) {
      json["accuracy"] = result.accuracy();
      json["errors"] = *result.errors;
    }
    json["rmse"] = result.rmse;
    json["negative_log_predictive_density"] = result.density;
    std::cout << to_text(json);
    return kExitOk;
  }
  std::cout << fmt::format("data {}: {} rows\n", rows.name, result.rows);
  if (result.errors) {
    std::cout << fmt::format("accuracy {:.4f}, {} errors\n", result.accuracy(), *result.errors);
  }
  std::cout << fmt::format("rmse {:.6g}\nnegative log predictive density {:.6g}\n", result.rmse,
                           result.density);
  return kExitOk;
}

}  // namespace

Command add_gp_evaluate(CLI::App& gp) {
  CLI::App* const sub =
      gp.add_subcommand("evaluate", "Tests a Gaussian process on data with known targets");
  const auto options = std::make_shared<GpEvaluateOptions>();
  sub->add_option("--model", options->model, "File of gp fit")->required();
  sub->add_option("--data", options->data, "digits, fashion-mnist or a file")->required();
  sub->add_option("--target", options->target,
                  "Name or index of the target column (default: as in gp fit)");
  options->header.add_to(*sub);
  sub->add_flag("--json", options->json, "The same as JSON");
  options->compute.add_threads_to(*sub);
  sub->footer(std::string(kDataHelp) + R"(

Of classes it prints the accuracy and the number of errors; always the root mean squared error and
the mean negative log predictive density of the targets, noise included (of classes: 0.9 for the
class, -0.1 for the others).

Examples:
  chainrule gp evaluate --model gp.safetensors --data test.csv
  chainrule gp evaluate --model fashion-gp.safetensors --data fashion-mnist --json)");
  return [options] { return evaluate_command(*options); };
}

}  // namespace chainrule::tools
