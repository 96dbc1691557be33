// SPDX-License-Identifier: Apache-2.0
#include "glm_source.hpp"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "chainrule/learn/model_file.hpp"

namespace chainrule::tools {
namespace {

const std::array<std::pair<std::string_view, Likelihood>, 6>& families() {
  static const std::array<std::pair<std::string_view, Likelihood>, 6> all{
      {{"gaussian", Gaussian{}},
       {"bernoulli", Bernoulli{}},
       {"categorical", Categorical{}},
       {"poisson", Poisson{}},
       {"gamma", Gamma{}},
       {"negative-binomial", NegativeBinomial{}}}};
  return all;
}

// Nothing for "auto".
std::optional<Likelihood> family_named(const std::string& name) {
  if (name == "auto") return std::nullopt;
  for (const auto& [known, likelihood] : families()) {
    if (known == name) return likelihood;
  }
  throw UsageError(
      fmt::format("--family: unknown '{}', expected auto, gaussian, bernoulli, "
                  "categorical, poisson, gamma or negative-binomial",
                  name));
}

Likelihood likelihood_for(const Dataset& data) {
  if (data.labels.empty()) return Gaussian{};
  return data.classes() <= 2 ? Likelihood(Bernoulli{}) : Likelihood(Categorical{});
}

}  // namespace

std::string_view family_name(const Likelihood& likelihood) {
  for (const auto& [name, known] : families()) {
    if (known.index() == likelihood.index()) return name;
  }
  return name_of(likelihood);
}

void GlmSource::add_to(CLI::App& app) {
  app.add_option("--data", data, "digits, fashion-mnist or a file")->required();
  app.add_option("--target", columns.target,
                 "Name or index of the target column (default: the last)");
  app.add_option("--weights", columns.weights,
                 "Name or index of a column of sample weights: repetitions of a row");
  header.add_to(app);
  app.add_flag("--no-intercept", no_intercept, "No bias");
  app.add_flag("--standardize", standardize,
               "Features to mean 0 and standard deviation 1: coefficients are of those");
  app.add_option("--model", model,
                 "Model file whose learned features to take in place of the columns");
  app.add_option("--layer", layer,
                 "Layer of --model, from 0, whose output the features are (default: what the last "
                 "Linear layer reads)");
}

void GlmSource::check() const {
  static_cast<void>(family_named(family));
  static_cast<void>(header.csv());
  if (layer && model.empty()) throw UsageError("--layer needs --model");
  if (standardize && !model.empty()) {
    throw UsageError("--standardize: the model of --model knows how its features are scaled");
  }
}

GlmInput load_input(const GlmSource& source) {
  std::optional<Model> network;
  if (!source.model.empty()) network = load_model(source.model);
  const std::optional<Likelihood> family = family_named(source.family);
  DatasetOptions wanted{.target = source.columns.target,
                        .weight = source.columns.weights,
                        .offset = source.columns.offset};
  if (family) wanted.task = is_classification(*family) ? Task::kClassification : Task::kRegression;
  if (network && !has_test_rows(source.data)) {
    wanted.feature_names = network->schema().feature_names;
  }
  Rows rows = load_training_rows(source.data, wanted, source.header.csv());
  const Likelihood likelihood = family.value_or(likelihood_for(rows.data));
  return {.rows = std::move(rows), .likelihood = likelihood, .network = std::move(network)};
}

Model make_model(const GlmSource& source, const GlmInput& input, const Likelihood& likelihood) {
  const Dataset& data = input.rows.data;
  const Index outputs = std::holds_alternative<Categorical>(likelihood) ? data.classes() : 1;
  const bool bias = !source.no_intercept;
  Model model =
      input.network
          ? input.network->to(DType::kFloat64).with_head(outputs, likelihood, bias, source.layer)
          : Model({Linear{.in = data.features(), .out = outputs, .bias = bias}}, likelihood,
                  DType::kFloat64, 0, Where::unknown());
  Schema& schema = model.schema();
  if (!input.network) schema.feature_names = data.feature_names;
  if (is_classification(likelihood)) schema.class_names = data.class_names;
  schema.target_name = data.target_name;
  schema.offset_name = data.offset_name;
  if (source.standardize) schema.standardizer = Standardizer::fit(data.x);
  return model;
}

std::string describe(const GlmInput& input, const Model& model) {
  const Dataset& data = input.rows.data;
  return fmt::format("data {}: {} rows, {} features, {}\n", input.rows.name, data.rows(),
                     std::get<Linear>(model.layers().back()).in,
                     data.labels.empty() ? fmt::format("target '{}'", data.target_name)
                                         : fmt::format("{} classes", data.classes()));
}

}  // namespace chainrule::tools
