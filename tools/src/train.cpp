// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "chainrule/learn/model.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/progress.hpp"
#include "chainrule/learn/trainer.hpp"
#include "commands.hpp"
#include "data.hpp"
#include "interrupt.hpp"
#include "train_options.hpp"

namespace chainrule::tools {
namespace {

bool is_number(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && stop == end;
}

Index outputs_of(const TrainSettings& settings) {
  return std::get<Linear>(settings.layers.back()).out;
}

Rows load_rows(const TrainOptions& options, const TrainSettings& settings) {
  DatasetOptions wanted{
      .target = options.target, .weight = options.weights, .offset = options.offset};
  if (settings.likelihood) {
    // Counts look like classes.
    wanted.task =
        is_classification(*settings.likelihood) ? Task::kClassification : Task::kRegression;
  }
  Rows rows = load_training_rows(options.data, wanted, settings.csv);
  const auto& classes = rows.data.class_names;
  const bool counts = !settings.likelihood && !has_test_rows(options.data) &&
                      outputs_of(settings) == 1 && classes.size() > 2 &&
                      std::all_of(classes.begin(), classes.end(), is_number);
  if (!counts) return rows;
  wanted.task = Task::kRegression;  // one output cannot tell classes apart
  return load_training_rows(options.data, wanted, settings.csv);
}

Likelihood likelihood_of(const TrainSettings& settings, const Dataset& data) {
  if (settings.likelihood) return *settings.likelihood;
  if (data.labels.empty()) return Gaussian{};
  return outputs_of(settings) == 1 && data.classes() <= 2 ? Likelihood(Bernoulli{})
                                                          : Likelihood(Categorical{});
}

// The widths of --model must be those of the data.
void check_widths(const TrainSettings& settings, const Rows& rows, const Likelihood& likelihood) {
  const Dataset& data = rows.data;
  if (is_classification(likelihood) && data.classes() < 2) {
    throw FormatError(fmt::format("{}: the target '{}' has {} class, expected at least 2",
                                  rows.name, data.target_name, data.classes()));
  }
  const Index inputs = std::get<Linear>(settings.layers.front()).in;
  if (inputs != data.features()) {
    throw ArgumentError(
        fmt::format("--model {}: the first width is {}, expected {}, the features of {}",
                    settings.model, inputs, data.features(), rows.name));
  }
  const bool softmax = std::holds_alternative<Categorical>(likelihood);
  const Index expected = softmax ? data.classes() : 1;
  if (outputs_of(settings) == expected) return;
  throw ArgumentError(fmt::format("--model {}: the last width is {}, expected {}", settings.model,
                                  outputs_of(settings), expected) +
                      (softmax ? fmt::format(", the classes of {}", rows.name)
                               : fmt::format(" with --loss {}", name_of(likelihood))));
}

Model make_model(const TrainOptions& options, const TrainSettings& settings,
                 const Likelihood& likelihood, const Dataset& train) {
  // Errors name no line of this file.
  Model model(settings.layers, likelihood, settings.dtype, options.seed, Where::unknown());
  Schema& schema = model.schema();
  schema.feature_names = train.feature_names;
  schema.class_names = train.class_names;
  schema.target_name = train.target_name;
  schema.offset_name = train.offset_name;
  if (options.standardize) schema.standardizer = Standardizer::fit(train.x);
  return model;
}

std::string describe(const Rows& rows, const Split& split) {
  const Dataset& data = split.train;
  std::string text =
      fmt::format("data   {}: {} rows, {} features, ", rows.name, data.rows(), data.features());
  text += data.labels.empty() ? fmt::format("target '{}'", data.target_name)
                              : fmt::format("{} classes", data.classes());
  if (split.test.rows() > 0) text += fmt::format("; {} more for validation", split.test.rows());
  return text + "\n";
}

std::string describe(const Model& model, const TrainOptions& options,
                     const TrainSettings& settings) {
  Index parameters = 0;
  for (const auto& entry : model.parameters().layout().entries) {
    if (entry.learned) parameters += entry.shape.elements();
  }
  return fmt::format("model  {}, {}, loss {}, {}, {} parameters\n", settings.model,
                     options.activation, name_of(model.likelihood()), to_string(model.dtype()),
                     parameters);
}

CsvTable history_table(const History& history) {
  CsvTable table{.names = {"epoch", "loss", "learning_rate", "seconds", "samples_per_second"}};
  table.rows = static_cast<Index>(history.epochs.size());
  const auto add = [&](auto&& value_of) {
    auto& numbers = table.columns.emplace_back().numbers;
    for (const EpochRecord& record : history.epochs) numbers.push_back(value_of(record));
  };
  add([](const EpochRecord& r) { return static_cast<double>(r.epoch); });
  add([](const EpochRecord& r) { return r.loss; });
  add([](const EpochRecord& r) { return r.learning_rate; });
  add([](const EpochRecord& r) { return r.seconds; });
  add([](const EpochRecord& r) { return r.samples_per_second; });
  if (history.epochs.empty() || !history.epochs.front().validation) return table;
  const bool classes = history.epochs.front().validation->accuracy.has_value();
  table.names.insert(table.names.end(),
                     {"validation_loss", classes ? "validation_accuracy" : "validation_rmse"});
  add([](const EpochRecord& r) { return r.validation->loss; });
  add([&](const EpochRecord& r) {
    return *(classes ? r.validation->accuracy : r.validation->rmse);
  });
  return table;
}

History fit(const Model& model, const TrainOptions& options, const TrainSettings& settings,
            const Split& split, const InterruptGuard& guard) {
  FitOptions fit_options{.epochs = options.epochs,
                         .batch_size = options.batch,
                         .seed = options.seed,
                         .schedule = settings.schedule};
  if (split.test.rows() > 0) fit_options.validation = &split.test;
  fit_options.callbacks.push_back(
      [&guard](const TrainingProgress&) { return !guard.interrupted(); });
  const bool terminal = ::isatty(STDOUT_FILENO) != 0 && ::isatty(STDERR_FILENO) != 0;
  if (!options.quiet) {
    const auto columns = [] { return terminal_columns(STDERR_FILENO); };
    fit_options.callbacks.push_back(terminal ? progress_bar(std::cerr, columns)
                                             : progress_lines(std::cout));
  }
  Trainer trainer(model, settings.optimizer,
                  {.threads = options.compute.threads(), .gemm = settings.gemm});
  try {
    return trainer.fit(split.train, fit_options);
  } catch (...) {
    if (terminal && !options.quiet) std::cerr << '\n';  // the bar's line
    throw;
  }
}

std::string metric(const Evaluation& evaluation) {
  return evaluation.accuracy ? fmt::format("accuracy {:.4f}", *evaluation.accuracy)
                             : fmt::format("rmse {:.6g}", *evaluation.rmse);
}

// The final line.
std::string summary(const Model& model, const TrainOptions& options, const History& history,
                    const Split& split) {
  double seconds = 0;
  for (const EpochRecord& record : history.epochs) seconds += record.seconds;
  const auto samples =
      static_cast<double>(split.train.rows()) * static_cast<double>(history.epochs.size());
  std::string text =
      fmt::format("{} {} epochs in {:.2f} s", history.stopped ? "interrupted after" : "trained",
                  history.epochs.size(), history.seconds);
  if (seconds > 0) text += fmt::format(", {:.0f} samples/s", samples / seconds);
  text += fmt::format(", {} worker{}", history.workers, history.workers == 1 ? "" : "s");
  if (!history.epochs.empty()) text += fmt::format("; loss {:.6g}", history.epochs.back().loss);

  Predictor predictor(model, options.compute.predictor());
  text += fmt::format("; train {}", metric(predictor.evaluate(split.train)));
  if (split.test.rows() > 0) {
    text += fmt::format("; validation {}", metric(predictor.evaluate(split.test)));
  }
  if (has_test_rows(options.data)) {
    const Rows test = load_test_rows(options.data, {});
    text += fmt::format("; test {} ({})", metric(predictor.evaluate(test.data)), test.name);
  }
  return text + "\n";
}

int train(const TrainOptions& options) {
  const TrainSettings settings = resolve(options);
  expect_distinct({{"--out", options.out}, {"--history", options.history}},
                  {data_file(options.data)});
  for (const std::string& path : {options.out, options.history}) {
    if (!path.empty()) expect_writable(path);
  }
  const auto limit = options.compute.allow_threads();
  Rows rows = load_rows(options, settings);
  const Likelihood likelihood = likelihood_of(settings, rows.data);
  check_widths(settings, rows, likelihood);

  Split split;
  if (options.validation > 0) {
    split = rows.data.split(options.validation, options.seed);
  } else {
    split.train = std::move(rows.data);
  }
  const Model model = make_model(options, settings, likelihood, split.train);
  if (!options.quiet) {
    std::cout << describe(rows, split) << describe(model, options, settings) << std::flush;
  }
  const InterruptGuard guard;
  const History history = fit(model, options, settings, split, guard);
  if (!options.out.empty()) save(model, options.out);
  if (!options.history.empty()) write_csv(history_table(history), options.history);
  std::cout << summary(model, options, history, split);
  if (!options.out.empty()) std::cout << "saved " << options.out << '\n';
  return history.stopped ? kExitInterrupted : kExitOk;
}

}  // namespace

Command add_train(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("train", "Trains a network on data");
  const auto options = std::make_shared<TrainOptions>();
  options->add_to(*sub);
  return [options] { return train(*options); };
}

}  // namespace chainrule::tools
