// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/gaussian_process_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/safetensors.hpp"
#include "finite_matrix.hpp"
#include "model_json.hpp"

namespace chainrule {
namespace {

using nlohmann::json;

constexpr int kExactVersion = 1;
constexpr int kSparseVersion = 2;
constexpr const char* kGpKey = "chainrule_gp";
constexpr const char* kModelKey = "chainrule";
constexpr std::string_view kModelPrefix = "model.";

json describe(const CovarianceKernel& kernel, double noise, double max_jitter,
              const Schema& schema) {
  json described{{"kernel", to_text(kernel)},         {"noise", noise},
                 {"max_jitter", max_jitter},          {"feature_names", schema.feature_names},
                 {"class_names", schema.class_names}, {"target_name", schema.target_name}};
  if (schema.standardizer) described["standardizer"] = json::parse(schema.standardizer->to_json());
  return described;
}

void write(std::vector<std::pair<std::string, Tensor>> tensors, const json& described,
           const std::optional<Model>& model, Index features, const std::filesystem::path& path) {
  try {
    parse_kernel(described.at("kernel").get<std::string>(), features, model ? &*model : nullptr);
  } catch (const ArgumentError& error) {
    throw UnsupportedError(
        fmt::format("save: a file cannot hold this Gaussian process: {}", error.what()));
  }
  TensorFile file;
  file.tensors = std::move(tensors);
  try {
    file.metadata[kGpKey] = described.dump();
  } catch (const json::exception&) {
    throw ArgumentError("save: a name is not UTF-8");
  }
  if (model) {
    for (auto& [name, tensor] : to_tensor_file(*model).tensors) {
      file.tensors.emplace_back(std::string(kModelPrefix) + name, std::move(tensor));
    }
    file.metadata[kModelKey] = internal::to_json(*model);
  }
  write_safetensors(file, path);
}

// The tensors that make up the model, under their own names.
std::optional<Model> embedded_model(const TensorFile& file, const std::string& name) {
  const auto found = file.metadata.find(kModelKey);
  if (found == file.metadata.end()) return std::nullopt;
  TensorFile part;
  part.metadata[kModelKey] = found->second;
  for (const auto& [tensor_name, tensor] : file.tensors) {
    if (!tensor_name.starts_with(kModelPrefix)) continue;
    part.tensors.emplace_back(tensor_name.substr(kModelPrefix.size()), tensor);
  }
  return load_model(to_safetensors(part), name);
}

Schema schema_of(const json& described) {
  Schema schema{.feature_names = described.at("feature_names").get<std::vector<std::string>>(),
                .class_names = described.at("class_names").get<std::vector<std::string>>(),
                .target_name = described.at("target_name").get<std::string>(),
                .standardizer = std::nullopt};
  if (described.contains("standardizer")) {
    schema.standardizer = Standardizer::from_json(described.at("standardizer").dump());
  }
  return schema;
}

// What both kinds have.
struct Common {
  Common(const json& described, const TensorFile& file, const std::string& name, Index features)
      : schema(schema_of(described)),
        model(embedded_model(file, name)),
        kernel(parse_kernel(described.at("kernel").get<std::string>(), features,
                            model ? &*model : nullptr)),
        noise(described.at("noise").get<double>()),
        max_jitter(described.at("max_jitter").get<double>()) {
    const auto named = static_cast<Index>(schema.feature_names.size());
    const auto& standardizer = schema.standardizer;
    if ((named != 0 && named != features) ||
        (standardizer && static_cast<Index>(standardizer->mean.size()) != features)) {
      throw FormatError(
          fmt::format("inputs of {} columns, their description has another number", features));
    }
  }

  Schema schema;
  std::optional<Model> model;
  CovarianceKernel kernel;
  double noise;
  double max_jitter;
};

GaussianProcessFile exact_from(const json& described, const TensorFile& file,
                               const std::string& name, int threads) {
  const Tensor& x = file.at("x");
  Common common(described, file, name, x.columns());
  const GaussianProcessOptions options{.noise = common.noise,
                                       .center_targets = described.at("center_targets").get<bool>(),
                                       .max_jitter = common.max_jitter,
                                       .threads = threads};
  GaussianProcessFile result{.gp = GaussianProcess(std::move(common.kernel), options),
                             .schema = std::move(common.schema),
                             .model = std::move(common.model)};
  result.gp.fit(x, file.at("y"));
  return result;
}

SparseGaussianProcessFile sparse_from(const json& described, const TensorFile& file,
                                      const std::string& name, int threads) {
  const Tensor inducing = internal::finite_matrix(file, "inducing");
  Common common(described, file, name, inducing.columns());
  SparseGaussianProcessSums sums{.squares = internal::finite_matrix(file, "squares"),
                                 .products = internal::finite_matrix(file, "products"),
                                 .targets = described.at("targets").get<double>(),
                                 .variances = described.at("variances").get<double>(),
                                 .rows = described.at("rows").get<Index>()};
  const SparseGaussianProcessOptions options{
      .noise = common.noise,
      .means = described.at("means").get<std::vector<double>>(),
      .max_jitter = common.max_jitter,
      .threads = threads};
  return {.gp = SparseGaussianProcess(std::move(common.kernel), inducing, std::move(sums), options),
          .schema = std::move(common.schema),
          .model = std::move(common.model)};
}

// Files come from anywhere; what is wrong with one is said as such.
AnyGaussianProcessFile from_description(const json& described, const TensorFile& file,
                                        const std::string& name, int threads) {
  const int version = described.at("format_version").get<int>();
  if (version == kExactVersion) return exact_from(described, file, name, threads);
  if (version == kSparseVersion) return sparse_from(described, file, name, threads);
  throw FormatError(fmt::format("format version {}, this library reads {} to {}", version,
                                kExactVersion, kSparseVersion));
}

}  // namespace

void save(const GaussianProcessFile& file, const std::filesystem::path& path) {
  const GaussianProcess& gp = file.gp;
  if (gp.alpha().shape().rank() == 0) {
    throw ArgumentError("save: fit() the Gaussian process first");
  }
  json described = describe(gp.kernel(), gp.noise(), gp.options().max_jitter, file.schema);
  described["format_version"] = kExactVersion;
  described["center_targets"] = gp.options().center_targets;
  write({{"x", gp.x()}, {"y", gp.y()}}, described, file.model, gp.x().columns(), path);
}

void save(const SparseGaussianProcessFile& file, const std::filesystem::path& path) {
  const SparseGaussianProcess& gp = file.gp;
  const SparseGaussianProcessSums sums = gp.sums();
  json described = describe(gp.kernel(), gp.noise(), gp.options().max_jitter, file.schema);
  described["format_version"] = kSparseVersion;
  described["means"] = gp.options().means;
  described["targets"] = sums.targets;
  described["variances"] = sums.variances;
  described["rows"] = sums.rows;
  write({{"inducing", gp.inducing()}, {"squares", sums.squares}, {"products", sums.products}},
        described, file.model, gp.inducing().columns(), path);
}

AnyGaussianProcessFile load_any_gaussian_process(const std::filesystem::path& path, int threads) {
  const TensorFile file = read_safetensors(path);
  const std::string name = path.string();
  const auto found = file.metadata.find(kGpKey);
  if (found == file.metadata.end()) {
    throw FormatError(
        fmt::format("{}: a safetensors file without a Gaussian process in its metadata", name));
  }
  try {
    return from_description(json::parse(found->second), file, name, threads);
  } catch (const json::exception& error) {
    throw FormatError(fmt::format("{}: the description is damaged: {}", name, error.what()));
  } catch (const FormatError& error) {
    throw FormatError(fmt::format("{}: {}", name, error.what()));
  } catch (const ArgumentError& error) {
    throw FormatError(fmt::format("{}: {}", name, error.what()));
  } catch (const ShapeError& error) {
    throw FormatError(fmt::format("{}: {}", name, error.what()));
  }
}

GaussianProcessFile load_gaussian_process(const std::filesystem::path& path, int threads) {
  AnyGaussianProcessFile file = load_any_gaussian_process(path, threads);
  if (auto* const exact = std::get_if<GaussianProcessFile>(&file)) return std::move(*exact);
  throw FormatError(
      fmt::format("{}: a sparse Gaussian process, expected an exact one", path.string()));
}

}  // namespace chainrule
