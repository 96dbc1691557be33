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
#include "model_json.hpp"

namespace chainrule {
namespace {

using nlohmann::json;

constexpr int kGpFormatVersion = 1;
constexpr const char* kGpKey = "chainrule_gp";
constexpr const char* kModelKey = "chainrule";
constexpr std::string_view kModelPrefix = "model.";

std::string describe(const GaussianProcessFile& file) {
  const GaussianProcess& gp = file.gp;
  const Schema& schema = file.schema;
  json described{{"format_version", kGpFormatVersion},
                 {"kernel", to_text(gp.kernel())},
                 {"noise", gp.noise()},
                 {"center_targets", gp.options().center_targets},
                 {"max_jitter", gp.options().max_jitter},
                 {"feature_names", schema.feature_names},
                 {"class_names", schema.class_names},
                 {"target_name", schema.target_name}};
  if (schema.standardizer) described["standardizer"] = json::parse(schema.standardizer->to_json());
  try {
    return described.dump();
  } catch (const json::exception&) {
    throw ArgumentError("save: a name is not UTF-8");
  }
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

// Files come from anywhere; what is wrong with one is said as such.
GaussianProcessFile from_description(const json& described, const TensorFile& file,
                                     const std::string& name, int threads) {
  const int version = described.at("format_version").get<int>();
  if (version < 1 || version > kGpFormatVersion) {
    throw FormatError(
        fmt::format("format version {}, this library reads 1 to {}", version, kGpFormatVersion));
  }
  const Tensor& x = file.at("x");
  const Tensor& y = file.at("y");
  std::optional<Model> model = embedded_model(file, name);
  const CovarianceKernel kernel = parse_kernel(described.at("kernel").get<std::string>(),
                                               x.columns(), model ? &*model : nullptr);
  const GaussianProcessOptions options{.noise = described.at("noise").get<double>(),
                                       .center_targets = described.at("center_targets").get<bool>(),
                                       .max_jitter = described.at("max_jitter").get<double>(),
                                       .threads = threads};
  GaussianProcessFile result{.gp = GaussianProcess(kernel, options),
                             .schema = schema_of(described),
                             .model = std::move(model)};
  const auto features = static_cast<Index>(result.schema.feature_names.size());
  const auto& standardizer = result.schema.standardizer;
  if ((features != 0 && features != x.columns()) ||
      (standardizer && static_cast<Index>(standardizer->mean.size()) != x.columns())) {
    throw FormatError(fmt::format("x has {} columns, its description another number", x.columns()));
  }
  result.gp.fit(x, y);
  return result;
}

}  // namespace

void save(const GaussianProcessFile& file, const std::filesystem::path& path) {
  const GaussianProcess& gp = file.gp;
  if (gp.alpha().shape().rank() == 0) {
    throw ArgumentError("save: fit() the Gaussian process first");
  }
  const std::string text = to_text(gp.kernel());
  try {
    parse_kernel(text, gp.x().columns(), file.model ? &*file.model : nullptr);
  } catch (const ArgumentError& error) {
    throw UnsupportedError(
        fmt::format("save: a file cannot hold this Gaussian process: {}", error.what()));
  }
  TensorFile tensors;
  tensors.tensors = {{"x", gp.x()}, {"y", gp.y()}};
  tensors.metadata[kGpKey] = describe(file);
  if (file.model) {
    for (auto& [name, tensor] : to_tensor_file(*file.model).tensors) {
      tensors.tensors.emplace_back(std::string(kModelPrefix) + name, std::move(tensor));
    }
    tensors.metadata[kModelKey] = internal::to_json(*file.model);
  }
  write_safetensors(tensors, path);
}

GaussianProcessFile load_gaussian_process(const std::filesystem::path& path, int threads) {
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

}  // namespace chainrule
