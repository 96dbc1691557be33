// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "chainrule/learn/glm.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/runtime/machine.hpp"
#include "glm.hpp"
#include "glm_report.hpp"
#include "glm_source.hpp"

namespace chainrule::tools {
namespace {

struct GlmFitOptions {
  GlmSource source;
  std::optional<double> dispersion;
  std::string method = "newton";
  double l2 = 0;
  Index max_iterations = GlmOptions{}.max_iterations;
  bool no_standard_errors = false;
  std::string json;
  std::string out;
};

GlmSolver solver_of(const std::string& name) {
  if (name == "newton") return GlmSolver::kNewton;
  if (name == "lbfgs") return GlmSolver::kLbfgs;
  throw UsageError(fmt::format("--method: unknown '{}', expected newton or lbfgs", name));
}

GlmReport report_of(const GlmFitOptions& options, const Model& model, const Dataset& data,
                    const GlmFit& fit) {
  GlmReport report{.fit = fit, .likelihood = model.likelihood()};
  const Schema& schema = model.schema();
  const bool raw = options.source.model.empty() && !schema.feature_names.empty();
  const auto features = static_cast<std::size_t>(std::get<Linear>(model.layers().back()).in);
  for (std::size_t j = 0; j < features; ++j) {
    report.coefficient_names.push_back(raw ? schema.feature_names[j]
                                           : fmt::format("feature_{}", j));
  }
  if (!options.source.no_intercept) report.coefficient_names.emplace_back();
  for (std::size_t k = 0; k < static_cast<std::size_t>(model.outputs()); ++k) {
    const bool named = k < schema.class_names.size();
    report.output_names.push_back("class " + (named ? schema.class_names[k] : std::to_string(k)));
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

// The likelihood of the input, that of counts with its dispersion.
Likelihood likelihood_of(const GlmFitOptions& options, const GlmInput& input,
                         const GlmOptions& glm) {
  if (!std::holds_alternative<NegativeBinomial>(input.likelihood)) return input.likelihood;
  if (options.dispersion) return NegativeBinomial{.dispersion = *options.dispersion};
  const Model model = make_model(options.source, input, input.likelihood);
  return NegativeBinomial{.dispersion = negative_binomial_dispersion(model, input.rows.data, glm)};
}

int fit(const GlmFitOptions& options) {
  const GlmOptions glm{.l2 = options.l2,
                       .solver = solver_of(options.method),
                       .max_iterations = options.max_iterations,
                       .covariance = !options.no_standard_errors};
  const GlmSource& source = options.source;
  source.check();
  if (options.dispersion && source.family != "negative-binomial") {
    throw UsageError("--dispersion is for --family negative-binomial");
  }
  expect_distinct({{"--out", options.out}, {"--json", options.json}},
                  {data_file(source.data), {"--model", source.model}});
  for (const std::string& path : {options.out, options.json}) {
    if (!path.empty()) expect_writable(path);
  }
  const GlmInput input = load_input(source);
  const Dataset& data = input.rows.data;
  Model model = make_model(source, input, likelihood_of(options, input, glm));
  const GlmFit result = fit_glm(model, data, glm);
  if (result.no_maximum) fail_without_maximum(model.likelihood());
  if (!result.converged) {
    warn(fmt::format("glm fit: not converged after {} iterations, the gradient is {:.3g}",
                     result.iterations, result.max_gradient));
  }
  if (!options.out.empty()) save(model, options.out);
  const GlmReport report = report_of(options, model, data, result);
  if (!options.json.empty()) {
    nlohmann::ordered_json json{{"data", input.rows.name}, {"rows", data.rows()}};
    json.update(to_json(report));
    write_file(to_text(json), options.json);
    if (destination_of(options.json).direct) return kExitOk;  // /dev/stdout, say
  }
  std::cout << describe(input, model)
            << fmt::format("family {}, {} {}\n", family_name(model.likelihood()), result.iterations,
                           options.method == "newton" ? "Newton steps" : "evaluations by L-BFGS")
            << to_text(report);
  if (!options.out.empty()) std::cout << fmt::format("wrote {}\n", options.out);
  return kExitOk;
}

}  // namespace

Command add_glm_fit(CLI::App& glm) {
  CLI::App& app = *glm.add_subcommand("fit", "Fits a generalized linear model to the optimum");
  const auto options = std::make_shared<GlmFitOptions>();
  GlmFitOptions& o = *options;
  o.source.add_to(app);
  app.add_option("--family", o.source.family,
                 "gaussian, bernoulli, categorical, poisson, gamma, negative-binomial (the last "
                 "three with log link) or auto: gaussian for numbers, bernoulli for two classes, "
                 "categorical for more")
      ->capture_default_str();
  app.add_option("--offset", o.source.columns.offset,
                 "Name or index of a column to add to the linear predictor (log link)");
  app.add_option("--dispersion", o.dispersion,
                 "Of negative-binomial: variance mu + dispersion mu^2 (default: of maximum "
                 "likelihood)")
      ->check(positive_text);
  app.add_option("--method", o.method, "newton or lbfgs")->capture_default_str();
  app.add_option("--l2", o.l2, "Penalty: this times half the sum of squared coefficients")
      ->check(not_negative_text)
      ->capture_default_str();
  app.add_option("--max-iterations", o.max_iterations, "Of the method")
      ->check(CLI::Range(Index{0}, Index{1'000'000'000}))
      ->capture_default_str();
  app.add_flag("--no-standard-errors", o.no_standard_errors,
               "Coefficients alone: no Hessian, whose size is the square of their number, with "
               "--method lbfgs; and no test whether the likelihood has a maximum");
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
  return [options] { return fit(*options); };
}

}  // namespace chainrule::tools
