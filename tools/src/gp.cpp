// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/gaussian_process_file.hpp"
#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/output.hpp"
#include "commands.hpp"
#include "data.hpp"
#include "gp_deep.hpp"
#include "gp_evaluate.hpp"
#include "kernel_plot.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kStdoutPath = "-";
constexpr double kNoiseShare = 0.1;  // of the targets' variance, to begin with

struct GpFitOptions {
  std::string data;
  std::string target;
  std::string task = "auto";
  HeaderOption header;
  Index rows = 0;  // all
  std::string kernel = "rbf";
  std::string features;
  std::optional<double> noise;
  GaussianProcessOptions gp;
  bool raw_targets = false;
  bool standardize = false;
  bool optimize = false;
  OptimizeOptions optimizer;
  DeepKernelCommand deep;
  double validation = 0;
  bool json = false;
  std::string out;
};

struct GpPredictOptions {
  std::string model;
  std::string data;
  HeaderOption header;
  std::string out;
  std::string plot;
  int threads = 0;
};

void add_threads(CLI::App& app, int& threads) {
  app.add_option("--threads", threads,
                 "Threads, also more than there are cores; the results have the same bits for any "
                 "number (default: the cores this process may use)")
      ->check(CLI::Range(1, 1024));
}

std::unique_ptr<ScopedThreadLimit> thread_limit(int threads) {
  return threads > default_threads() ? std::make_unique<ScopedThreadLimit>(threads) : nullptr;
}

std::string share_text(const std::string& text) {
  double share = 0;
  if (CLI::detail::lexical_cast(text, share) && share >= 0 && share < 1) return "";
  return text + ", expected 0 <= share < 1";
}

Task task_of(const std::string& text) {
  if (text == "auto") return Task::kAuto;
  if (text == "regression") return Task::kRegression;
  if (text == "classification") return Task::kClassification;
  throw UsageError(
      fmt::format("--task: got '{}', expected auto, regression or classification", text));
}

// All of them for count 0.
Dataset first_rows(const Dataset& data, Index count) {
  std::vector<std::uint32_t> rows(
      static_cast<std::size_t>(count == 0 ? data.rows() : std::min(count, data.rows())));
  std::iota(rows.begin(), rows.end(), 0U);
  return data.subset(rows);
}

// The mean over the columns of their variances; 1 where nothing varies.
double mean_variance(const Tensor& y) {
  double total = 0;
  for (const double scale : Standardizer::fit(y).scale) total += scale * scale;
  return total / static_cast<double>(y.columns());
}

// A name alone gets the variance of the targets in front.
std::string full_formula(const std::string& text, double variance) {
  const bool name_only =
      std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  return name_only ? fmt::format("{:.6g} * {}", variance, text) : text;
}

std::string target_text(const Dataset& data) {
  if (data.labels.empty()) return fmt::format("target '{}'", data.target_name);
  return fmt::format("{} classes", data.classes());
}

/// A fitted process and what is said about it.
struct GpFit {
  GaussianProcessFile file;
  std::vector<double> losses{};  ///< of the steps of a deep kernel
  std::optional<OptimizeResult> optimum{};
  std::optional<double> validation{};  ///< negative log predictive density of rows held out
};

nlohmann::ordered_json fit_json(const GpFit& fit) {
  const GaussianProcess& gp = fit.file.gp;
  const LogMarginalLikelihood likelihood = gp.log_marginal_likelihood(true);
  nlohmann::ordered_json json{{"rows", gp.x().rows()}, {"kernel", to_text(gp.kernel())}};
  const std::vector<Hyperparameter> all = gp.hyperparameters();
  for (std::size_t i = 0; i < all.size(); ++i) {
    json["hyperparameters"][all[i].name] = all[i].value;
    json["gradient"][all[i].name] = likelihood.gradient[i];
  }
  json["log_marginal_likelihood"] = likelihood.value;
  if (fit.validation) json["validation_negative_log_predictive_density"] = *fit.validation;
  if (!fit.losses.empty()) json["losses"] = fit.losses;
  if (gp.jitter() > 0) json["jitter"] = gp.jitter();
  if (fit.optimum) {
    json["converged"] = fit.optimum->converged;
    json["evaluations"] = fit.optimum->evaluations;
    json["starts"] = fit.optimum->values;
  }
  return json;
}

std::string fit_text(const GpFit& fit) {
  const GaussianProcess& gp = fit.file.gp;
  std::string text = fmt::format("kernel {}\n", gp.kernel().name());
  if (!fit.losses.empty()) {
    text += fmt::format("trained {} steps, from {:.6g} to {:.6g} nats a target\n",
                        fit.losses.size(), fit.losses.front(), fit.losses.back());
  }
  if (fit.optimum) {
    text += fmt::format("optimized from {} starts, {} evaluations, the best start {}\n",
                        fit.optimum->values.size(), fit.optimum->evaluations,
                        fit.optimum->converged ? "converged" : "not yet converged");
  }
  for (const Hyperparameter& h : gp.hyperparameters()) {
    text += fmt::format("{} {:.10g}\n", h.name, h.value);
  }
  if (gp.jitter() > 0) text += fmt::format("jitter {:.3g}\n", gp.jitter());
  const double likelihood = gp.log_marginal_likelihood().value;
  const auto targets = static_cast<double>(gp.y().rows() * gp.y().columns());
  text += fmt::format("log marginal likelihood {:.6f}\n", likelihood);
  if (fit.validation) {
    text += fmt::format(
        "negative log predictive density {:.6f} of rows held out, -log marginal likelihood {:.6f} "
        "a target\n",
        *fit.validation, -likelihood / targets);
  }
  return text;
}

Tensor targets_of(const Dataset& data, Index classes) {
  return data.labels.empty() ? data.y : one_hot_targets(data.labels, classes);
}

/// The process before --optimize: of a trained deep kernel, or of the formula.
GpFit condition(const GpFitOptions& options, std::optional<Model> model, Schema schema,
                const Tensor& x, const Tensor& y) {
  GaussianProcessOptions gp_options = options.gp;
  gp_options.center_targets = !options.raw_targets;
  if (options.kernel == DeepKernelCommand::kName) {
    const Model network = options.deep.model(model, x.columns(), options.optimizer.seed);
    DeepKernelFit deep = options.deep.fit(network, x, y, gp_options, options.noise);
    return {.file = {.gp = std::move(deep.gp), .schema = std::move(schema), .model = deep.model},
            .losses = std::move(deep.losses)};
  }
  const double variance = mean_variance(y);
  const CovarianceKernel kernel = parse_option("--kernel", [&] {
    return parse_kernel(full_formula(options.kernel, variance), x.columns(),
                        model ? &*model : nullptr);
  });
  gp_options.noise = options.noise.value_or(kNoiseShare * variance);
  GpFit fit{.file = {.gp = GaussianProcess(kernel, gp_options),
                     .schema = std::move(schema),
                     .model = std::move(model)}};
  fit.file.gp.fit(x, y);
  return fit;
}

int fit(const GpFitOptions& options) {
  const Task task = task_of(options.task);
  const CsvOptions csv = options.header.csv();
  options.deep.expect_asked_for(options.kernel);
  expect_distinct({{"--out", options.out}},
                  {data_file(options.data), {"--features", options.features}});
  if (!options.out.empty()) expect_writable(options.out);
  const auto limit = thread_limit(options.gp.threads);

  std::optional<Model> model;
  if (!options.features.empty()) model = load_model(options.features);
  const Rows rows = load_training_rows(options.data, {.target = options.target, .task = task}, csv);
  const Dataset data = first_rows(rows.data, options.rows);
  const Split split = data.split(options.validation, options.optimizer.seed);
  const Dataset& train = split.train;
  Schema schema{.feature_names = data.feature_names,
                .class_names = data.class_names,
                .target_name = data.target_name,
                .standardizer = std::nullopt};
  if (options.standardize) schema.standardizer = Standardizer::fit(train.x);
  const auto prepared = [scaling = schema.standardizer](const Tensor& x) {
    return scaling ? scaling->apply(x) : x;
  };
  GpFit result = condition(options, std::move(model), std::move(schema), prepared(train.x),
                           targets_of(train, data.classes()));
  if (options.optimize) result.optimum = result.file.gp.optimize(options.optimizer);
  if (split.test.rows() > 0) {
    result.validation = result.file.gp.negative_log_predictive_density(
        prepared(split.test.x), targets_of(split.test, data.classes()));
  }
  if (!options.out.empty()) save(result.file, options.out);
  if (options.json) {
    std::cout << to_text(fit_json(result));
    return kExitOk;
  }
  std::cout << fmt::format("data {}: {} rows, {} features, {}\n", rows.name, train.rows(),
                           data.x.columns(), target_text(data))
            << fit_text(result);
  if (!options.out.empty()) std::cout << fmt::format("wrote {}\n", options.out);
  return kExitOk;
}

Tensor inputs_for(const GpPredictOptions& options, const GaussianProcessFile& file) {
  if (has_test_rows(options.data)) return load_test_rows(options.data, {}).data.x;
  const CsvTable table = load_table(options.data, options.header.csv());
  Tensor x = feature_matrix(table, file.schema.feature_names, file.gp.x().columns());
  expect_finite(x, options.data + ", features");
  return x;
}

CsvTable gp_table(const Tensor& x, const GaussianProcessFile& file) {
  const auto& standardizer = file.schema.standardizer;
  const GaussianProcessPrediction at = file.gp.predict(standardizer ? standardizer->apply(x) : x);
  CsvTable table{.rows = x.rows()};
  const auto add = [&](const std::string& name, const Tensor& from, Index column) {
    table.names.push_back(name);
    auto& numbers = table.columns.emplace_back().numbers;
    for (Index i = 0; i < from.rows(); ++i) numbers.push_back(element(from, i, column));
  };
  const std::vector<std::string>& classes = file.schema.class_names;
  const auto name_of_class = [&](Index i) {
    const auto at_class = static_cast<std::size_t>(i);
    return at_class < classes.size() ? classes[at_class] : std::to_string(i);
  };
  const Index outputs = at.mean.columns();
  if (outputs > 1) {
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
  const auto limit = thread_limit(options.threads);
  const GaussianProcessFile file = load_gaussian_process(options.model, options.threads);
  if (!options.plot.empty() && file.gp.x().columns() != 1) {
    throw UsageError(
        fmt::format("--plot: draws processes of one feature, not of {}", file.gp.x().columns()));
  }
  const Tensor x = inputs_for(options, file);
  const CsvTable table = gp_table(x, file);
  if (!options.plot.empty()) write_file(process_html(file, x, options.model), options.plot);
  if (options.out == kStdoutPath) {
    write_csv(table, std::cout);
    return kExitOk;
  }
  write_csv(table, options.out);
  std::cout << fmt::format("wrote {} predictions to {}\n", table.rows, options.out);
  if (!options.plot.empty()) std::cout << fmt::format("wrote {}\n", options.plot);
  return kExitOk;
}

std::shared_ptr<GpFitOptions> add_gp_fit(CLI::App& app) {
  auto options = std::make_shared<GpFitOptions>();
  GpFitOptions& o = *options;
  app.add_option("--data", o.data, "digits, fashion-mnist or a file")->required();
  app.add_option("--target", o.target, "Name or index of the target column (default: the last)");
  app.add_option("--task", o.task,
                 "What the target is: regression, classification (by regression of 0.9 for the "
                 "class, -0.1 for the others) or auto, by its values")
      ->capture_default_str();
  o.header.add_to(app);
  app.add_option("--rows", o.rows,
                 "Take the first rows only: memory grows with the square of their number, time "
                 "with the cube")
      ->check(CLI::Range(Index{1}, Index{1'000'000'000}));
  app.add_option("--kernel", o.kernel, "Formula of the kernel, see below")->capture_default_str();
  app.add_option("--features", o.features, "Model file that 'learned' takes its features from");
  app.add_option("--noise", o.noise,
                 "Variance of the noise of the targets (default: a tenth of theirs)");
  app.add_option("--max-jitter", o.gp.max_jitter,
                 "Share of the mean diagonal that may be added to a kernel matrix that is not "
                 "positive definite")
      ->capture_default_str();
  app.add_flag("--standardize", o.standardize,
               "Features to mean 0 and standard deviation 1; the file remembers how");
  app.add_flag("--raw-targets", o.raw_targets, "Do not subtract the mean of the targets");
  app.add_flag("--optimize", o.optimize,
               "Maximize the log marginal likelihood over hyperparameters and noise by L-BFGS");
  app.add_option("--restarts", o.optimizer.restarts, "Further random starts of --optimize")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--seed", o.optimizer.seed,
                 "Of the random starts, the rows held out and a deep kernel's initial weights")
      ->check(seed_text)
      ->capture_default_str();
  app.add_option("--validation", o.validation,
                 "Share of the rows to hold out, for their negative log predictive density")
      ->check(share_text)
      ->capture_default_str();
  o.deep.add_to(app);
  app.add_flag("--json", o.json, "Print the result as JSON, with the gradient");
  app.add_option("--out", o.out, "File to write");
  add_threads(app, o.gp.threads);
  app.footer(
      std::string(R"(Kernels: rbf(length_scale), matern32, matern52, ard_rbf(length_scale_0, ...),
ard_matern32, ard_matern52, constant(value), linear, polynomial(degree, offset),
arc_cosine(order, weight_variance, bias_variance), nngp_relu(depth, weight_variance,
bias_variance), nngp_erf, ntk_relu, ... of infinitely wide networks, learned, learned(layer); +, *, parentheses and
numbers, which are variances. Arguments may be left out. A name alone gets the variance of the
targets in front. deep(KERNEL) compares what the model of --features makes of the rows.

deep alone is an RBF kernel of a network's outputs; the network and the kernel are trained together
by the log marginal likelihood. That has many hyperparameters to overfit with: look at the negative
log predictive density of rows held out by --validation.

)") + kDataHelp +
      R"(

Examples:
  chainrule gp fit --data table.csv --target price --standardize --optimize --out gp.safetensors
  chainrule gp fit --data table.csv --kernel "2 * ard_rbf + linear" --optimize
  chainrule gp fit --data table.csv --kernel deep --model 8-32-2 --standardize --validation 0.2
  chainrule gp fit --data digits --kernel learned --features digits.safetensors --noise 0.01)");
  return options;
}

std::shared_ptr<GpPredictOptions> add_gp_predict(CLI::App& app) {
  auto options = std::make_shared<GpPredictOptions>();
  app.add_option("--model", options->model, "File of gp fit")->required();
  app.add_option("--data", options->data,
                 "CSV or .npy file, IDX images (or digits, fashion-mnist: their test rows)")
      ->required();
  app.add_option("--out", options->out,
                 "CSV file to write, a row for each row of the data; - is standard output")
      ->required();
  app.add_option("--plot", options->plot,
                 "HTML file with the mean, a band of two standard deviations and the data, for one "
                 "feature");
  options->header.add_to(app);
  add_threads(app, options->threads);
  app.footer(
      R"(--out gets the mean and the variance of the function, without the noise; of classes the class,
the mean of each, and the variance they share.

Example:
  chainrule gp predict --model gp.safetensors --data new.csv --out predictions.csv --plot gp.html)");
  return options;
}

}  // namespace

Command add_gp(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("gp", "Gaussian processes: fit, predict, evaluate");
  sub->require_subcommand(1);
  CLI::App* const fit_app =
      sub->add_subcommand("fit", "Conditions a Gaussian process on data, and may optimize it");
  CLI::App* const predict_app =
      sub->add_subcommand("predict", "Predicts mean and variance with a Gaussian process");
  const auto fit_options = add_gp_fit(*fit_app);
  const auto predict_options = add_gp_predict(*predict_app);
  const Command evaluate = add_gp_evaluate(*sub);
  return [=] {
    if (fit_app->parsed()) return fit(*fit_options);
    return predict_app->parsed() ? predict_gp(*predict_options) : evaluate();
  };
}

}  // namespace chainrule::tools
