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

#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/model_file.hpp"
#include "data.hpp"
#include "fitted_process.hpp"
#include "gp.hpp"
#include "gp_deep.hpp"
#include "gp_inducing.hpp"
#include "gp_optimize.hpp"

namespace chainrule::tools {
namespace {

constexpr double kNoiseShare = 0.1;  // of the targets' variance, to begin with

struct GpFitOptions {
  std::string data;
  std::string target;
  std::string task = "auto";
  HeaderOption header;
  Index rows = 0;  // all
  std::string kernel = "rbf";
  std::string features;
  Index inducing = 0;  // an exact process
  std::optional<double> noise;
  std::optional<double> max_jitter;
  bool raw_targets = false;
  bool standardize = false;
  bool optimize = false;
  OptimizeOptions optimizer;
  DeepKernelCommand deep;
  double validation = 0;
  bool json = false;
  std::string out;
  ComputeOptions compute;
};

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

// --kernel; a name alone gets the variance of the targets in front.
CovarianceKernel kernel_of(const std::string& text, double variance, Index columns,
                           const Model* model) {
  const bool name_only =
      std::ranges::all_of(text, [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  try {
    const CovarianceKernel kernel = parse_kernel(text, columns, model);
    return name_only ? scaled(kernel, variance) : kernel;
  } catch (const ArgumentError& error) {
    const bool no_model = std::string_view(error.what()).ends_with("needs a model");
    throw UsageError(
        fmt::format("--kernel: {}{}", error.what(), no_model ? ": --features FILE" : ""));
  }
}

std::string target_text(const Dataset& data) {
  if (data.labels.empty()) return fmt::format("target '{}'", data.target_name);
  return fmt::format("{} classes", data.classes());
}

/// A fitted process and what is said about it.
struct GpFit {
  FittedProcess process;
  std::vector<double> losses{};  ///< of the steps of a deep kernel
  std::optional<OptimizeResult> optimum{};
  std::optional<double> validation{};  ///< negative log predictive density of rows held out
  bool interrupted = false;

  double jitter() const { return process.exact() ? process.exact()->jitter() : 0; }
};

nlohmann::ordered_json fit_json(const GpFit& fit) {
  const FittedProcess& process = fit.process;
  nlohmann::ordered_json json{{"rows", process.rows()}, {"kernel", to_text(process.kernel())}};
  if (process.sparse()) json["inducing_points"] = process.sparse()->inducing().rows();
  const std::vector<Hyperparameter> all = process.hyperparameters();
  for (const Hyperparameter& h : all) json["hyperparameters"][h.name] = h.value;
  if (process.exact()) {
    const LogMarginalLikelihood likelihood = process.exact()->log_marginal_likelihood(true);
    for (std::size_t i = 0; i < all.size(); ++i) {
      json["gradient"][all[i].name] = likelihood.gradient[i];
    }
    json["log_marginal_likelihood"] = likelihood.value;
  } else {
    json["lower_bound"] = process.sparse()->lower_bound();
  }
  if (fit.validation) json["validation_negative_log_predictive_density"] = *fit.validation;
  if (!fit.losses.empty()) json["losses"] = fit.losses;
  if (fit.jitter() > 0) json["jitter"] = fit.jitter();
  if (fit.optimum) {
    json["converged"] = fit.optimum->converged;
    json["evaluations"] = fit.optimum->evaluations;
    json["starts"] = fit.optimum->values;
  }
  return json;
}

std::string optimum_text(const OptimizeResult& optimum) {
  const std::string end =
      optimum.converged ? "converged"
                        : fmt::format("ended with a derivative of {:.2g}", optimum.max_gradient);
  return fmt::format("optimized from {} starts, {} evaluations, the best start {}{}\n",
                     optimum.values.size(), optimum.evaluations, end,
                     optimum.stopped ? "; interrupted" : "");
}

std::string fit_text(const GpFit& fit) {
  const FittedProcess& process = fit.process;
  std::string text = fmt::format("kernel {}\n", process.kernel().name());
  if (process.sparse()) {
    text += fmt::format("{} inducing points\n", process.sparse()->inducing().rows());
  }
  if (!fit.losses.empty()) {
    text += fmt::format("{} {} steps, from {:.6g} to {:.6g} nats a target\n",
                        fit.interrupted ? "interrupted after" : "trained", fit.losses.size(),
                        fit.losses.front(), fit.losses.back());
  }
  if (fit.optimum) text += optimum_text(*fit.optimum);
  for (const Hyperparameter& h : process.hyperparameters()) {
    text += fmt::format("{} {:.10g}\n", h.name, h.value);
  }
  if (fit.jitter() > 0) text += fmt::format("jitter {:.3g}\n", fit.jitter());
  const auto [name, likelihood] = process.likelihood();
  text += fmt::format("{} {:.6f}\n", name, likelihood);
  if (fit.validation) {
    const auto targets = static_cast<double>(process.rows() * process.outputs());
    text += fmt::format(
        "negative log predictive density {:.6f} of rows held out, -{} {:.6f} a target\n",
        *fit.validation, name, -likelihood / targets);
  }
  return text;
}

Tensor targets_of(const Dataset& data, Index classes) {
  return data.labels.empty() ? data.y : one_hot_targets(data.labels, classes);
}

/// The rows as the process reads them.
struct GpData {
  Tensor x;
  Tensor y;
  Schema schema;
};

GpFit condition_deep(const GpFitOptions& options, const std::optional<Model>& model,
                     const GpData& data) {
  const Model network = options.deep.model(model, data.x.columns(), options.optimizer.seed);
  DeepKernelFit deep = options.deep.fit(network, data.x, data.y,
                                        {.center_targets = !options.raw_targets,
                                         .max_jitter = options.max_jitter.value_or(0),
                                         .threads = options.compute.threads()},
                                        options.noise);
  const bool interrupted = static_cast<Index>(deep.losses.size()) < options.deep.steps();
  return {.process = FittedProcess(GaussianProcessFile{
              .gp = std::move(deep.gp), .schema = data.schema, .model = deep.model}),
          .losses = std::move(deep.losses),
          .interrupted = interrupted};
}

InducingChoice inducing_choice(const GpFitOptions& options) {
  return {.count = options.inducing, .seed = options.optimizer.seed};
}

FittedProcess condition_sparse(const GpFitOptions& options, const CovarianceKernel& kernel,
                               double noise, std::optional<Model> model, const GpData& data) {
  SparseGaussianProcessOptions sparse{.noise = noise, .threads = options.compute.threads()};
  if (!options.raw_targets) sparse.means = Standardizer::fit(data.y).mean;
  if (options.max_jitter) sparse.max_jitter = *options.max_jitter;
  SparseGaussianProcess gp(kernel, inducing_choice(options).of(kernel, data.x), data.y.columns(),
                           sparse);
  if (!options.optimize) gp.add(data.x, data.y);
  return FittedProcess(SparseGaussianProcessFile{
      .gp = std::move(gp), .schema = data.schema, .model = std::move(model)});
}

/// The process before --optimize: of a trained deep kernel, or of the formula.
GpFit condition(const GpFitOptions& options, std::optional<Model> model, const GpData& data) {
  if (options.kernel == DeepKernelCommand::kName) return condition_deep(options, model, data);
  const double variance = mean_variance(data.y);
  const double noise = options.noise.value_or(kNoiseShare * variance);
  const CovarianceKernel kernel =
      kernel_of(options.kernel, variance, data.x.columns(), model ? &*model : nullptr);
  if (options.inducing > 0) {
    return {.process = condition_sparse(options, kernel, noise, std::move(model), data)};
  }
  GaussianProcess gp(kernel, {.noise = noise,
                              .center_targets = !options.raw_targets,
                              .max_jitter = options.max_jitter.value_or(0),
                              .threads = options.compute.threads()});
  gp.fit(data.x, data.y);
  return {.process = FittedProcess(GaussianProcessFile{
              .gp = std::move(gp), .schema = data.schema, .model = std::move(model)})};
}

void optimize(GpFit& fit, const GpFitOptions& options, const GpData& data) {
  if (SparseGaussianProcess* const sparse = fit.process.sparse()) {
    fit.optimum = optimize_with_inducing(*sparse, data.x, data.y, inducing_choice(options),
                                         options.optimizer);
  } else {
    fit.optimum = with_progress(options.optimizer, [&](const OptimizeOptions& with) {
      return fit.process.exact()->optimize(with);
    });
  }
  fit.interrupted = fit.optimum->stopped;
}

Rows load_rows(const GpFitOptions& options, Task task, const CsvOptions& csv) {
  Rows rows = load_training_rows(options.data, {.target = options.target, .task = task}, csv);
  if (rows.data.classes() != 1) return rows;
  if (task == Task::kClassification) {
    throw FormatError(fmt::format("{}: the target '{}' has 1 class, expected at least 2", rows.name,
                                  rows.data.target_name));
  }
  return load_training_rows(options.data, {.target = options.target, .task = Task::kRegression},
                            csv);
}

int fit(const GpFitOptions& options) {
  const Task task = task_of(options.task);
  const CsvOptions csv = options.header.csv();
  options.deep.expect_asked_for(options.kernel);
  if (options.inducing > 0 && options.kernel == DeepKernelCommand::kName) {
    throw UsageError("--inducing: a deep kernel is trained exactly");
  }
  expect_distinct({{"--out", options.out}},
                  {data_file(options.data), {"--features", options.features}});
  if (!options.out.empty()) expect_writable(options.out);
  const auto limit = options.compute.allow_threads();

  std::optional<Model> model;
  if (!options.features.empty()) model = load_model(options.features);
  const Rows rows = load_rows(options, task, csv);
  const Dataset all = first_rows(rows.data, options.rows);
  const Split split = all.split(options.validation, options.optimizer.seed);
  GpData data{.x = split.train.x,
              .y = targets_of(split.train, all.classes()),
              .schema = {.feature_names = all.feature_names,
                         .class_names = all.class_names,
                         .target_name = all.target_name,
                         .standardizer = std::nullopt}};
  if (options.standardize) {
    data.schema.standardizer = Standardizer::fit(data.x);
    data.x = data.schema.standardizer->apply(data.x);
  }
  GpFit result = condition(options, std::move(model), data);
  if (options.optimize && !result.interrupted) optimize(result, options, data);
  if (split.test.rows() > 0) {
    result.validation = negative_log_predictive_density(result.process.predict(split.test.x),
                                                        result.process.noise(),
                                                        targets_of(split.test, all.classes()));
  }
  if (!options.out.empty()) result.process.save(options.out);
  const int exit_code = result.interrupted ? kExitInterrupted : kExitOk;
  if (options.json) {
    std::cout << to_text(fit_json(result));
    return exit_code;
  }
  std::cout << fmt::format("data {}: {} rows, {} features, {}\n", rows.name, data.x.rows(),
                           data.x.columns(), target_text(all))
            << fit_text(result);
  if (!options.out.empty()) std::cout << fmt::format("wrote {}\n", options.out);
  return exit_code;
}

}  // namespace

Command add_gp_fit(CLI::App& gp) {
  CLI::App& app =
      *gp.add_subcommand("fit", "Conditions a Gaussian process on data, and may optimize it");
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
                 "Take the first rows only: without --inducing, memory grows with the square of "
                 "their number, time with the cube")
      ->check(CLI::Range(Index{1}, Index{1'000'000'000}));
  app.add_option("--kernel", o.kernel, "Formula of the kernel, see below")->capture_default_str();
  app.add_option("--features", o.features, "Model file that 'learned' takes its features from");
  app.add_option("--inducing", o.inducing,
                 "Inducing points, for more rows: time grows with the rows and the square of this")
      ->check(CLI::Range(Index{1}, Index{100'000}));
  app.add_option("--noise", o.noise,
                 "Variance of the noise of the targets (default: a tenth of theirs)")
      ->check(positive_text);
  app.add_option("--max-jitter", o.max_jitter,
                 "Share of the mean diagonal that may be added to a kernel matrix that is not "
                 "positive definite (default: 0, with --inducing 1e-6)")
      ->check(not_negative_text);
  app.add_flag("--standardize", o.standardize,
               "Features to mean 0 and standard deviation 1; the file remembers how");
  app.add_flag("--raw-targets", o.raw_targets, "Do not subtract the mean of the targets");
  app.add_flag("--optimize", o.optimize,
               "Maximize the log marginal likelihood over hyperparameters and noise by L-BFGS");
  app.add_option("--restarts", o.optimizer.restarts, "Further random starts of --optimize")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--seed", o.optimizer.seed,
                 "Of the random starts, the rows held out, those that inducing points are chosen "
                 "among, and a deep kernel's initial weights")
      ->check(seed_text)
      ->capture_default_str();
  app.add_option("--validation", o.validation,
                 "Share of the rows to hold out, for their negative log predictive density")
      ->check(share_text)
      ->capture_default_str();
  o.deep.add_to(app);
  app.add_flag("--json", o.json, "Print the result as JSON, with the gradient");
  app.add_option("--out", o.out, "File to write");
  o.compute.add_threads_to(app);
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

With --inducing N the process is that of Titsias (2009) on N of the rows, each the one that those
before leave most uncertain; what is reported, and maximized by --optimize, which then chooses the
rows once more, is a lower bound of the log marginal likelihood.

)") + kDataHelp +
      R"(

Examples:
  chainrule gp fit --data table.csv --target price --standardize --optimize --out gp.safetensors
  chainrule gp fit --data table.csv --kernel "2 * ard_rbf + linear" --optimize
  chainrule gp fit --data table.csv --kernel deep --model 8-32-2 --standardize --validation 0.2
  chainrule gp fit --data large.csv --inducing 500 --standardize --optimize --out gp.safetensors
  chainrule gp fit --data digits --kernel learned --features digits.safetensors --noise 0.01)");
  return [options] { return fit(*options); };
}

}  // namespace chainrule::tools
