// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/output.hpp"
#include "data.hpp"
#include "fitted_process.hpp"
#include "gp.hpp"
#include "kernel_plot.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kStdoutPath = "-";

struct GpPredictOptions {
  std::string model;
  std::string data;
  HeaderOption header;
  std::string out;
  std::string plot;
  ComputeOptions compute;
};

Tensor inputs_for(const GpPredictOptions& options, const FittedProcess& process) {
  if (has_test_rows(options.data)) return load_test_rows(options.data, {}).data.x;
  const CsvTable table = load_table(options.data, options.header.csv());
  Tensor x = feature_matrix(table, process.schema().feature_names, process.features());
  expect_finite(x, options.data + ", features");
  return x;
}

CsvTable gp_table(const Tensor& x, const FittedProcess& process) {
  const GaussianProcessPrediction at = process.predict(x);
  CsvTable table{.rows = x.rows()};
  const auto add = [&](const std::string& name, const Tensor& from, Index column) {
    table.names.push_back(name);
    auto& numbers = table.columns.emplace_back().numbers;
    for (Index i = 0; i < from.rows(); ++i) numbers.push_back(element(from, i, column));
  };
  const std::vector<std::string>& classes = process.schema().class_names;
  const auto name_of_class = [&](Index i) {
    const auto at_class = static_cast<std::size_t>(i);
    return at_class < classes.size() ? classes[at_class] : std::to_string(i);
  };
  const Index outputs = at.mean.columns();
  if (process.has_classes()) {
    table.names.emplace_back("class");
    auto& texts = table.columns.emplace_back().texts;
    const MatrixView<const double> mean = at.mean.as<double>();
    for (Index i = 0; i < mean.rows; ++i) {
      texts.push_back(
          name_of_class(std::max_element(mean.row(i), mean.row(i) + outputs) - mean.row(i)));
    }
  }
  for (Index j = 0; j < outputs; ++j) {
    add(outputs == 1 ? "mean" : "mean_" + name_of_class(j), at.mean, j);
  }
  add("variance", at.variance, 0);
  return table;
}

int predict_gp(const GpPredictOptions& options) {
  static_cast<void>(options.header.csv());
  expect_distinct(
      {{"--out", options.out == kStdoutPath ? "" : options.out}, {"--plot", options.plot}},
      {{"--model", options.model}, data_file(options.data)});
  if (options.out != kStdoutPath) expect_writable(options.out);
  if (!options.plot.empty()) expect_writable(options.plot);
  const auto limit = options.compute.allow_threads();
  const FittedProcess process(load_any_gaussian_process(options.model, options.compute.threads()));
  if (!options.plot.empty() && process.features() != 1) {
    throw UsageError(
        fmt::format("--plot: draws processes of one feature, not of {}", process.features()));
  }
  const Tensor x = inputs_for(options, process);
  const CsvTable table = gp_table(x, process);
  if (!options.plot.empty()) write_file(process_html(process, x, options.model), options.plot);
  if (options.out == kStdoutPath) {
    write_csv(table, std::cout);
    return kExitOk;
  }
  write_csv(table, options.out);
  std::cout << fmt::format("wrote {} predictions to {}\n", table.rows, options.out);
  if (!options.plot.empty()) std::cout << fmt::format("wrote {}\n", options.plot);
  return kExitOk;
}

}  // namespace

Command add_gp_predict(CLI::App& gp) {
  CLI::App* const app =
      gp.add_subcommand("predict", "Predicts mean and variance with a Gaussian process");
  auto options = std::make_shared<GpPredictOptions>();
  app->add_option("--model", options->model, "File of gp fit")->required();
  app->add_option("--data", options->data,
                  "CSV or .npy file, IDX images (or digits, fashion-mnist: their test rows)")
      ->required();
  app->add_option("--out", options->out,
                  "CSV file to write, a row for each row of the data; - is standard output")
      ->required();
  app->add_option(
      "--plot", options->plot,
      "HTML file with the mean, a band of two standard deviations and the data, for one "
      "feature");
  options->header.add_to(*app);
  options->compute.add_threads_to(*app);
  app->footer(
      R"(--out gets the mean and the variance of the function, without the noise; of classes the class,
the mean of each, and the variance they share.

Example:
  chainrule gp predict --model gp.safetensors --data new.csv --out predictions.csv --plot gp.html)");
  return [options] { return predict_gp(*options); };
}

}  // namespace chainrule::tools
