// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/posterior_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/safetensors.hpp"
#include "finite_matrix.hpp"
#include "model_json.hpp"

namespace chainrule {
namespace {

using nlohmann::json;

constexpr int kPosteriorFormatVersion = 1;
constexpr const char* kPosteriorKey = "chainrule_posterior";
constexpr const char* kNeuralLinear = "neural_linear";
constexpr const char* kLaplace = "last_layer_laplace";

void write(const Model& model, std::vector<std::pair<std::string, Tensor>> sums, json described,
           const std::filesystem::path& path) {
  described["format_version"] = kPosteriorFormatVersion;
  TensorFile file = to_tensor_file(model);
  file.metadata["chainrule"] = internal::to_json(model);
  file.metadata["format"] = "pt";  // what PyTorch's loaders look for
  file.metadata[kPosteriorKey] = described.dump();
  for (auto& [name, tensor] : sums) {
    file.tensors.emplace_back("posterior." + name, std::move(tensor));
  }
  write_safetensors(file, path);
}

Tensor sums_named(const TensorFile& file, const std::string& name) {
  return internal::finite_matrix(file, "posterior." + name);
}

LastLayerPosterior from_description(const json& described, const TensorFile& file,
                                    const Model& model, int threads) {
  const int version = described.at("format_version").get<int>();
  if (version < 1 || version > kPosteriorFormatVersion) {
    throw FormatError(fmt::format("posterior of format version {}, this library reads 1 to {}",
                                  version, kPosteriorFormatVersion));
  }
  const auto type = described.at("type").get<std::string>();
  const double precision = described.at("prior_precision").get<double>();
  const Index rows = described.at("rows").get<Index>();
  if (type == kNeuralLinear) {
    const NeuralLinearOptions options{.prior_precision = precision,
                                      .noise = described.at("noise").get<double>(),
                                      .bias = described.at("bias").get<bool>(),
                                      .center_targets = described.at("center_targets").get<bool>(),
                                      .threads = threads};
    NeuralLinearModel result(model.with_head(model.outputs(), Gaussian{}, options.bias),
                             {.gram = sums_named(file, "gram"),
                              .products = sums_named(file, "products"),
                              .features = sums_named(file, "features"),
                              .targets = sums_named(file, "targets"),
                              .rows = rows},
                             options);
    result.schema() = model.schema();
    return result;
  }
  if (type != kLaplace) throw FormatError(fmt::format("unknown posterior '{}'", type));
  return LastLayerLaplace(model,
                          {.information = sums_named(file, "information"),
                           .log_likelihood = described.at("log_likelihood").get<double>(),
                           .rows = rows},
                          {.prior_precision = precision, .threads = threads});
}

}  // namespace

void save(const NeuralLinearModel& posterior, const std::filesystem::path& path) {
  const NeuralLinearSums& sums = posterior.sums();
  const NeuralLinearOptions& options = posterior.options();
  write(posterior.model(),
        {{"gram", sums.gram},
         {"products", sums.products},
         {"features", sums.features},
         {"targets", sums.targets}},
        {{"type", kNeuralLinear},
         {"prior_precision", options.prior_precision},
         {"noise", options.noise},
         {"bias", options.bias},
         {"center_targets", options.center_targets},
         {"rows", sums.rows}},
        path);
}

void save(const LastLayerLaplace& posterior, const std::filesystem::path& path) {
  const LastLayerLaplaceSums& sums = posterior.sums();
  write(posterior.model(), {{"information", sums.information}},
        {{"type", kLaplace},
         {"prior_precision", posterior.prior_precision()},
         {"log_likelihood", sums.log_likelihood},
         {"rows", sums.rows}},
        path);
}

std::optional<LastLayerPosterior> load_posterior(const std::filesystem::path& path, int threads) {
  const TensorFile file = read_safetensors(path);
  const auto found = file.metadata.find(kPosteriorKey);
  if (found == file.metadata.end()) return std::nullopt;
  const Model model = load_model(path);
  try {
    return from_description(json::parse(found->second), file, model, threads);
  } catch (const json::exception& error) {
    throw FormatError(
        fmt::format("{}: the posterior's description is damaged: {}", path.string(), error.what()));
  } catch (const Error& error) {
    throw FormatError(fmt::format("{}: {}", path.string(), error.what()));
  }
}

}  // namespace chainrule
