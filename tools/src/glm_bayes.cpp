// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "chainrule/learn/glm.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/learn/posterior_file.hpp"
#include "glm.hpp"
#include "glm_source.hpp"

namespace chainrule::tools {
namespace {

constexpr double kFirstNoiseShare = 0.1;  // of the targets' variance, to begin with
constexpr int kMaxRounds = 30;            // of mode and prior precision in turn
constexpr double kSettled = 1e-4;         // relative change of the prior precision

struct GlmBayesOptions {
  GlmSource source;
  std::optional<double> prior_precision;
  std::optional<double> noise;
  bool raw_targets = false;
  bool optimize = false;
  OptimizeOptions optimizer;
  std::string json;
  std::string out;
  ComputeOptions compute;
};

// What was found, in the order in which it is printed.
using Findings = nlohmann::ordered_json;

Findings fit_regression(const GlmBayesOptions& options, const GlmInput& input, const Model& model) {
  const Dataset& data = input.rows.data;
  if (data.weights.shape().rank() != 0) {
    throw UsageError("--weights: not for regression, whose rows share one noise");
  }
  const double scale = Standardizer::fit(data.y).scale[0];
  NeuralLinearModel posterior(
      model, 1,
      {.prior_precision = options.prior_precision.value_or(1 / (scale * scale)),
       .noise = options.noise.value_or(kFirstNoiseShare * scale * scale),
       .bias = !options.source.no_intercept,
       .center_targets = !options.raw_targets,
       .threads = options.compute.threads()});
  posterior.schema() = model.schema();
  posterior.add(data.x, data.y);
  Findings found;
  if (options.optimize) found["converged"] = posterior.optimize(options.optimizer).converged;
  found["prior_precision"] = posterior.prior_precision();
  found["noise"] = posterior.noise();
  found["log_marginal_likelihood"] = posterior.log_marginal_likelihood().value;
  if (!options.out.empty()) save(posterior, options.out);
  return found;
}

LastLayerLaplace laplace_at(Model model, const Dataset& data, double precision, int threads) {
  const GlmFit fit =
      fit_glm(model, data, {.l2 = precision, .penalize_bias = true, .covariance = false});
  if (!fit.converged) {
    throw Error(
        fmt::format("the mode of the weights was not found in {} Newton steps", fit.iterations));
  }
  LastLayerLaplace posterior(model, {.prior_precision = precision, .threads = threads});
  posterior.add(data);
  return posterior;
}

// The mode at a prior precision and the best precision at that mode, in turn (MacKay 1992).
Findings fit_classes(const GlmBayesOptions& options, const GlmInput& input, const Model& model) {
  const Dataset& data = input.rows.data;
  const int threads = options.compute.threads();
  LastLayerLaplace posterior =
      laplace_at(model, data, options.prior_precision.value_or(1), threads);
  Findings found;
  bool settled = false;
  for (int round = 0; options.optimize && round < kMaxRounds && !settled; ++round) {
    const double before = posterior.prior_precision();
    posterior.optimize(options.optimizer);
    const double precision = posterior.prior_precision();
    settled = std::abs(precision - before) <= kSettled * precision;
    posterior = laplace_at(model, data, precision, threads);
  }
  if (options.optimize) found["converged"] = settled;
  found["prior_precision"] = posterior.prior_precision();
  found["log_likelihood"] = posterior.sums().log_likelihood;
  found["log_marginal_likelihood"] = posterior.log_marginal_likelihood().value;
  if (!options.out.empty()) save(posterior, options.out);
  return found;
}

std::string text_of(const Findings& found) {
  std::string text;
  for (const auto& [name, value] : found.items()) {
    if (value.is_boolean()) {
      text += value.get<bool>() ? "optimized\n" : "optimized, not yet converged\n";
      continue;
    }
    std::string words = name;
    std::ranges::replace(words, '_', ' ');
    text += fmt::format("{} {:.10g}\n", words, value.get<double>());
  }
  return text;
}

int bayes(const GlmBayesOptions& options) {
  const GlmSource& source = options.source;
  source.check();
  expect_distinct({{"--out", options.out}, {"--json", options.json}},
                  {data_file(source.data), {"--model", source.model}});
  for (const std::string& path : {options.out, options.json}) {
    if (!path.empty()) expect_writable(path);
  }
  const auto limit = options.compute.allow_threads();
  const GlmInput input = load_input(source);
  const bool classes = is_classification(input.likelihood);
  if (!classes && !std::holds_alternative<Gaussian>(input.likelihood)) {
    throw UsageError(fmt::format("--family {}: expected auto, gaussian, bernoulli or categorical",
                                 source.family));
  }
  if (classes && (options.noise || options.raw_targets)) {
    throw UsageError("--noise and --raw-targets are for regression");
  }
  const Model model = make_model(source, input, input.likelihood);
  const Findings found =
      classes ? fit_classes(options, input, model) : fit_regression(options, input, model);
  if (!options.json.empty()) {
    nlohmann::ordered_json json{{"data", input.rows.name}, {"rows", input.rows.data.rows()}};
    json.update(found);
    write_file(to_text(json), options.json);
    if (destination_of(options.json).direct) return kExitOk;  // /dev/stdout, say
  }
  std::cout << describe(input, model) << "family " << family_name(input.likelihood) << '\n'
            << text_of(found);
  if (!options.out.empty()) std::cout << fmt::format("wrote {}\n", options.out);
  return kExitOk;
}

}  // namespace

Command add_glm_bayes(CLI::App& glm) {
  CLI::App& app = *glm.add_subcommand(
      "bayes", "Bayesian regression or classification with the last layer's posterior");
  const auto options = std::make_shared<GlmBayesOptions>();
  GlmBayesOptions& o = *options;
  o.source.add_to(app);
  app.add_option("--family", o.source.family,
                 "gaussian, bernoulli, categorical or auto: gaussian for numbers, bernoulli for "
                 "two classes, categorical for more")
      ->capture_default_str();
  app.add_option("--prior-precision", o.prior_precision,
                 "One over the variance of each weight before the data (default: 1, of regression "
                 "one over the variance of the targets)")
      ->check(positive_text);
  app.add_option("--noise", o.noise,
                 "Variance of the noise of the targets (default: a tenth of theirs)")
      ->check(positive_text);
  app.add_flag("--raw-targets", o.raw_targets, "Do not subtract the mean of the targets");
  app.add_flag("--optimize", o.optimize,
               "Maximize the log marginal likelihood over prior precision and noise");
  app.add_option("--restarts", o.optimizer.restarts, "Further random starts of --optimize")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--seed", o.optimizer.seed, "Of the random starts")
      ->check(seed_text)
      ->capture_default_str();
  app.add_option("--out", o.out, "Model file to write, with the posterior, for predict");
  app.add_option("--json", o.json, "File to write the results to as JSON");
  o.compute.add_threads_to(app);
  app.footer(std::string(kDataHelp) + R"(

Of numbers it is Bayesian linear regression on the columns, or on the features of --model (the
neural linear model); of classes the Laplace approximation around the mode of the last layer, which
is fitted anew. predict then writes the mean and the variance of the function (without the noise),
or probabilities that take the uncertainty of the weights into account.

Examples:
  chainrule glm bayes --data table.csv --standardize --optimize --out bayes.safetensors
  chainrule glm bayes --data digits --model digits.safetensors --optimize --out bayes.safetensors
  chainrule predict --model bayes.safetensors --data new.csv --out mean_and_variance.csv)");
  return [options] { return bayes(*options); };
}

}  // namespace chainrule::tools
