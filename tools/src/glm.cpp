// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/learn/glm.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/runtime/machine.hpp"
#include "commands.hpp"
#include "data.hpp"
#include "glm_report.hpp"

namespace chainrule::tools {
namespace {

struct GlmFitOptions {
  std::string data;
  DataColumns columns;
  HeaderOption header;
  std::string family = "auto";
  std::optional<double> dispersion;
  std::string model;
  std::optional<std::size_t> layer;
  std::string method = "newton";
  double l2 = 0;
  Index max_iterations = GlmOptions{}.max_iterations;
  bool no_intercept = false;
  bool standardize = false;
  std::string json;
  std::string out;
};

std::optional<Likelihood> family_of(const std::string& name) {
  const std::array<std::pair<std::string_view, Likelihood>, 6> all{
      {{"gaussian", Gaussian{}},
       {"bernoulli", Bernoulli{}},
       {"categorical", Categorical{}},
       {"poisson", Poisson{}},
       {"gamma", Gamma{}},
       {"negative-binomial", NegativeBinomial{}}}};
  if (name == "auto") return std::nullopt;
  for (const auto& [known, likelihood] : all) {
    if (known == name) return likelihood;
  }
  throw UsageError(
      fmt::format("--family: unknown '{}', expected auto, gaussian, bernoulli, "
                  "categorical, poisson, gamma or negative-binomial",
                  name));
}

GlmSolver solver_of(const std::string& name) {
  if (name == "newton") return GlmSolver::kNewton;
  if (name == "lbfgs") return GlmSolver::kLbfgs;
  throw UsageError(fmt::format("--method: unknown '{}', expected newton or lbfgs", name));
}

Rows load_rows(const GlmFitOptions& options, const std::optional<Likelihood>& family,
               const std::optional<Model>& features, const CsvOptions& csv) {
  DatasetOptions wanted{.target = options.columns.target,
                        .weight = options.columns.weights,
                        .offset = options.columns.offset};
  if (family) wanted.task = is_classification(*family) ? Task::kClassification : Task::kRegression;
  if (features && !has_test_rows(options.data)) {
    wanted.feature_names = features->schema().feature_names;
  }
  return load_training_rows(options.data, wanted, csv);
}

Likelihood likelihood_for(const Dataset& data) {
  if (data.labels.empty()) return Gaussian{};
  return data.classes() <= 2 ? Likelihood(Bernoulli{}) : Likelihood(Categorical{});
}

Model make_model(const GlmFitOptions& options, const std::optional<Model>& features,
                 const Likelihood& likelihood, const Dataset& data) {
  const Index outputs = std::holds_alternative<Categorical>(likelihood) ? data.classes() : 1;
  const bool bias = !options.no_intercept;
  Model model =
      features ? features->to(DType::kFloat64).with_head(outputs, likelihood, bias, options.layer)
               : Model({Linear{.in = data.features(), .out = outputs, .bias = bias}}, likelihood,
                       DType::kFloat64, 0, Where::unknown());
  Schema& schema = model.schema();
  if (!features) schema.feature_names = data.feature_names;
  if (is_classification(likelihood)) schema.class_names = data.class_names;
  schema.target_name = data.target_name;
  schema.offset_name = data.offset_name;
  if (options.standardize) schema.standardizer = Standardizer::fit(data.x);
  return model;
}

GlmReport report_of(const GlmFitOptions& options, const Model& model, const Dataset& data,
                    const GlmFit& fit) {
  GlmReport report{.fit = fit, .likelihood = model.likelihood()};
  const bool raw = options.model.empty() && !model.schema().feature_names.empty();
  const auto features = static_cast<std::size_t>(std::get<Linear>(model.layers().back()).in);
  for (std::size_t j = 0; j < features; ++j) {
    report.coefficient_names.push_back(raw ? model.schema().feature_names[j]
                                           : fmt::format("feature_{}", j));
  }
  if (!options.no_intercept) report.coefficient_names.emplace_back();
  for (Index k = 0; k < model.outputs(); ++k) {
    const auto& names = model.schema().class_names;
    const auto at = static_cast<std::size_t>(k);
    report.output_names.push_back(
        fmt::format("class {}", at < names.size() ? names[at] : std::to_string(k)));
  }
  for (Index i = 0; i < data.rows(); ++i) {
    report.total_weight += data.weights.shape().rank() == 0 ? 1 : element(data.weights, i, 0);
  }
  report.estimated_dispersion =
      std::holds_alternative<NegativeBinomial>(model.likelihood()) && !options.dispersion;
  return report;
}

[[noreturn]] void fail_without_maximum(const Likelihood& likelihood) {
  throw Error(fmt::format(
      "the likelihood has no maximum: {}; a penalty makes one (--l2 0.01, say)",
      is_classification(likelihood)
          ? "features separate some of the classes without an error, so coefficients grow for ever"
          : "some groups of rows have nothing but zeros, so coefficients fall for ever"));
}

std::string describe(const Rows& rows, const Model& model, const GlmFitOptions& options,
                     const GlmFit& fit) {
  const Dataset& data = rows.data;
  std::string text = fmt::format("data {}: {} rows, {} features, ", rows.name, data.rows(),
                                 std::get<Linear>(model.layers().back()).in);
  text += data.labels.empty() ? fmt::format("target '{}'", data.target_name)
                              : fmt::format("{} classes", data.classes());
  return text + fmt::format("\nloss {}, {} {}\n", name_of(model.likelihood()), fit.iterations,
                            options.method == "newton" ? "Newton steps" : "evaluations by L-BFGS");
}

int fit(const GlmFitOptions& options) {
  std::optional<Likelihood> family = family_of(options.family);
  const GlmOptions glm{.l2 = options.l2,
                       .solver = solver_of(options.method),
                       .max_iterations = options.max_iterations};
  const CsvOptions csv = options.header.csv();
  if (options.layer && options.model.empty()) throw UsageError("--layer needs --model");
  if (options.standardize && !options.model.empty()) {
    throw UsageError("--standardize: the model of --model knows how its features are scaled");
  }
  if (options.dispersion && options.family != "negative-binomial") {
    throw UsageError("--dispersion is for --family negative-binomial");
  }
  expect_distinct({{"--out", options.out}, {"--json", options.json}},
                  {data_file(options.data), {"--model", options.model}});
  for (const std::string& path : {options.out, options.json}) {
    if (!path.empty()) expect_writable(path);
  }
  std::optional<Model> features;
  if (!options.model.empty()) features = load_model(options.model);
  const Rows rows = load_rows(options, family, features, csv);
  if (!family) family = likelihood_for(rows.data);

  Model model = make_model(options, features, *family, rows.data);
  if (std::holds_alternative<NegativeBinomial>(*family)) {
    const double dispersion = options.dispersion
                                  ? *options.dispersion
                                  : negative_binomial_dispersion(model, rows.data, glm);
    model = make_model(options, features, NegativeBinomial{.dispersion = dispersion}, rows.data);
  }
  const GlmFit result = fit_glm(model, rows.data, glm);
  if (result.no_maximum) fail_without_maximum(*family);
  if (!result.converged) {
    warn(fmt::format("glm fit: not converged after {} iterations, the gradient is {:.3g}",
                     result.iterations, result.max_gradient));
  }
  if (!options.out.empty()) save(model, options.out);
  const GlmReport report = report_of(options, model, rows.data, result);
  if (!options.json.empty()) {
    nlohmann::ordered_json json{{"data", rows.name}, {"rows", rows.data.rows()}};
    json.update(to_json(report));
    write_file(to_text(json), options.json);
    if (destination_of(options.json).direct) return kExitOk;  // /dev/stdout, say
  }
  std::cout << describe(rows, model, options, result) << to_text(report);
  if (!options.out.empty()) std::cout << fmt::format("wrote {}\n", options.out);
  return kExitOk;
}

std::shared_ptr<GlmFitOptions> add_glm_fit(CLI::App& app) {
  const auto options = std::make_shared<GlmFitOptions>();
  GlmFitOptions& o = *options;
  app.add_option("--data", o.data, "digits, fashion-mnist or a file")->required();
  app.add_option("--target", o.columns.target,
                 "Name or index of the target column (default: the last)");
  app.add_option("--family", o.family,
                 "gaussian, bernoulli, categorical, poisson, gamma, negative-binomial (the last "
                 "three with log link) or auto: gaussian for numbers, bernoulli for two classes, "
                 "categorical for more")
      ->capture_default_str();
  app.add_option("--offset", o.columns.offset,
                 "Name or index of a column to add to the linear predictor (log link)");
  app.add_option("--weights", o.columns.weights,
                 "Name or index of a column of sample weights: repetitions of a row");
  o.header.add_to(app);
  app.add_option("--dispersion", o.dispersion,
                 "Of negative-binomial: variance mu + dispersion mu^2 (default: of maximum "
                 "likelihood)");
  app.add_option("--method", o.method, "newton or lbfgs")->capture_default_str();
  app.add_option("--l2", o.l2, "Penalty: this times half the sum of squared coefficients")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--max-iterations", o.max_iterations, "Of the method")
      ->check(CLI::Range(Index{0}, Index{1'000'000'000}))
      ->capture_default_str();
  app.add_flag("--no-intercept", o.no_intercept, "No bias");
  app.add_flag("--standardize", o.standardize,
               "Features to mean 0 and standard deviation 1: coefficients are of those");
  app.add_option("--model", o.model,
                 "Model file whose learned features to take in place of the columns");
  app.add_option("--layer", o.layer,
                 "Layer of --model, from 0, whose output the features are (default: what the last "
                 "Linear layer reads)");
  app.add_option("--out", o.out, "Model file to write, for predict and evaluate");
  app.add_option("--json", o.json, "File to write the results to as JSON");
  app.footer(std::string(kDataHelp) + R"(

Coefficients come with standard errors, z (or t, where a dispersion is estimated) and two-sided
p-values; of classes each against the first. Of a penalized fit these are of the penalized
likelihood.

Examples:
  chainrule glm fit --data claims.csv --target count --family poisson --offset log_exposure
  chainrule glm fit --data flowers.csv --target species --l2 1 --out flowers.safetensors
  chainrule glm fit --data table.csv --model network.safetensors --layer 1 --json fit.json)");
  return options;
}

}  // namespace

Command add_glm(CLI::App& app) {
  CLI::App* const sub =
      app.add_subcommand("glm", "Generalized linear models, also on learned features: fit");
  sub->require_subcommand(1);
  CLI::App* const fit_app =
      sub->add_subcommand("fit", "Fits a generalized linear model to the optimum");
  const auto fit_options = add_glm_fit(*fit_app);
  return [=] { return fit(*fit_options); };
}

}  // namespace chainrule::tools
