// SPDX-License-Identifier: Apache-2.0
#include "model_json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/model_file.hpp"
#include "overloaded.hpp"

namespace chainrule::internal {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxLayers = 10'000;
constexpr std::size_t kMaxDepth = 8;

/// Looks at a description before a tree is made of it: writing a deep one recurses, and one with
/// many layers takes memory. (A callback of the parser would see that too, but in quadratic time.)
class Bounds final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(std::int64_t) override { return value(); }
  bool number_unsigned(std::uint64_t) override { return value(); }
  bool number_float(double, const std::string&) override { return value(); }
  bool string(std::string&) override { return value(); }
  bool binary(json::binary_t&) override { return value(); }
  bool key(std::string& name) override {
    if (depth_ == 1) in_layers_ = name == "layers";
    return true;
  }
  bool start_object(std::size_t) override { return value() && enter(); }
  bool start_array(std::size_t) override { return value() && enter(); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }
  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    throw FormatError(fmt::format("the model description is damaged: {}", error.what()));
  }

 private:
  bool value() {
    if (depth_ == 2 && in_layers_ && ++layers_ > kMaxLayers) {
      throw FormatError(fmt::format("the model description has more than {} layers", kMaxLayers));
    }
    return true;
  }
  bool enter() {
    if (++depth_ <= kMaxDepth) return true;
    throw FormatError("the model description is nested too deeply");
  }
  bool leave() {
    --depth_;
    return true;
  }

  std::size_t depth_ = 0;
  std::size_t layers_ = 0;
  bool in_layers_ = false;
};

json to_json(const Layer& layer) {
  json result{{"type", name_of(layer)}};
  std::visit(Overloaded{[&](const Linear& l) {
                          result["in"] = l.in;
                          result["out"] = l.out;
                          result["bias"] = l.bias;
                        },
                        [&](const LeakyRelu& l) { result["slope"] = l.slope; },
                        [&](const Elu& l) { result["alpha"] = l.alpha; },
                        [&](const Dropout& l) { result["rate"] = l.rate; },
                        [&](const LayerNorm& l) { result["epsilon"] = l.epsilon; },
                        [&](const BatchNorm& l) {
                          result["momentum"] = l.momentum;
                          result["epsilon"] = l.epsilon;
                        },
                        [](const auto&) {}},
             layer);
  return result;
}

json to_json(const Likelihood& likelihood) {
  json result{{"type", name_of(likelihood)}};
  std::visit(
      Overloaded{[&](const Categorical& l) { result["label_smoothing"] = l.label_smoothing; },
                 [&](const HuberLoss& l) { result["delta"] = l.delta; },
                 [&](const Gamma& l) { result["shape"] = l.shape; },
                 [&](const NegativeBinomial& l) { result["dispersion"] = l.dispersion; },
                 [](const auto&) {}},
      likelihood);
  return result;
}

// An integer that fits; get() would round or wrap others.
Index integer(const json& object, const char* key) {
  const json& value = object.at(key);
  if (!value.is_number_integer() ||
      (value.is_number_unsigned() &&
       value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<Index>::max()})) {
    throw FormatError(fmt::format("'{}' is {}, expected a whole number", key, value.dump()));
  }
  return value.get<Index>();
}

double number(const json& object, const char* key) { return object.at(key).get<double>(); }

Layer layer_from(const json& object) {
  const auto type = object.at("type").get<std::string>();
  if (type == "linear") {
    return Linear{.in = integer(object, "in"),
                  .out = integer(object, "out"),
                  .bias = object.at("bias").get<bool>()};
  }
  if (type == "leaky_relu") return LeakyRelu{.slope = number(object, "slope")};
  if (type == "elu") return Elu{.alpha = number(object, "alpha")};
  if (type == "dropout") return Dropout{.rate = number(object, "rate")};
  if (type == "layer_norm") return LayerNorm{.epsilon = number(object, "epsilon")};
  if (type == "batch_norm") {
    return BatchNorm{.momentum = number(object, "momentum"), .epsilon = number(object, "epsilon")};
  }
  return activation_named(type);
}

Likelihood likelihood_from(const json& object) {
  Likelihood likelihood = likelihood_named(object.at("type").get<std::string>());
  std::visit(
      Overloaded{[&](Categorical& l) { l.label_smoothing = number(object, "label_smoothing"); },
                 [&](HuberLoss& l) { l.delta = number(object, "delta"); },
                 [&](Gamma& l) { l.shape = number(object, "shape"); },
                 [&](NegativeBinomial& l) { l.dispersion = number(object, "dispersion"); },
                 [](auto&) {}},
      likelihood);
  return likelihood;
}

// The weights of all layers must be in the file with the described sizes.
void check_sizes(const std::vector<Layer>& layers, const TensorFile& file) {
  const auto first = std::ranges::find_if(
      layers, [](const Layer& layer) { return std::holds_alternative<Linear>(layer); });
  if (first == layers.end()) throw FormatError("the model description has no Linear layer");
  Index width = std::get<Linear>(*first).in;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto* linear = std::get_if<Linear>(&layers[i]);
    const bool norm = std::holds_alternative<LayerNorm>(layers[i]) ||
                      std::holds_alternative<BatchNorm>(layers[i]);
    if (linear == nullptr && !norm) continue;
    if (width < 1 || (linear != nullptr && linear->out < 1)) {
      throw FormatError(fmt::format("layer {} is described with a size below 1", i));
    }
    const Shape expected = norm ? Shape{width} : Shape{linear->out, linear->in};
    const Tensor& weight = file.at(fmt::format("{}.weight", i));
    if (weight.shape() != expected) {
      throw FormatError(fmt::format("layer {} is described with a weight {}, but it is {}", i,
                                    to_string(expected), to_string(weight.shape())));
    }
    if (linear != nullptr) width = linear->out;
  }
}

Schema schema_from(const json& object, Index inputs) {
  Schema schema;
  schema.feature_names = object.at("feature_names").get<std::vector<std::string>>();
  schema.class_names = object.at("class_names").get<std::vector<std::string>>();
  schema.target_name = object.at("target_name").get<std::string>();
  // Absent from files of models without an offset, and of earlier versions.
  if (const auto found = object.find("offset_name"); found != object.end()) {
    schema.offset_name = found->get<std::string>();
  }
  const auto fits = [&](std::size_t size) { return static_cast<Index>(size) == inputs; };
  if (!schema.feature_names.empty() && !fits(schema.feature_names.size())) {
    throw FormatError(
        fmt::format("{} feature names for {} inputs", schema.feature_names.size(), inputs));
  }
  if (const auto found = object.find("standardizer"); found != object.end()) {
    schema.standardizer = Standardizer::from_json(found->dump());
    if (!fits(schema.standardizer->mean.size())) {
      throw FormatError(fmt::format("a standardizer of {} columns for {} inputs",
                                    schema.standardizer->mean.size(), inputs));
    }
  }
  return schema;
}

// What is wrong with the class names; "" when they fit. No names are fine: classes are then
// numbered.
std::string class_names_fault(const Model& model) {
  const std::vector<std::string>& names = model.schema().class_names;
  if (names.empty()) return "";
  if (!is_classification(model.likelihood())) {
    return fmt::format("{} class names, but the likelihood '{}' has no classes", names.size(),
                       name_of(model.likelihood()));
  }
  const bool softmax = std::holds_alternative<Categorical>(model.likelihood());
  const Index classes = softmax ? model.outputs() : 2;
  if (static_cast<Index>(names.size()) != classes) {
    return fmt::format("{} class names for {} classes", names.size(), classes);
  }
  std::vector<std::string> sorted = names;
  std::ranges::sort(sorted);
  const auto twice = std::ranges::adjacent_find(sorted);
  return twice == sorted.end() ? "" : fmt::format("the class '{}' comes twice", *twice);
}

void check_version(Index version) {
  if (version < 1) {
    throw FormatError(fmt::format("format version {}, expected 1 or above", version));
  }
  if (version <= kModelFormatVersion) return;
  throw FormatError(
      fmt::format("format version {}, this library reads versions 1 to {}; update chainrule",
                  version, kModelFormatVersion));
}

}  // namespace

std::string to_json(const Model& model) {
  if (const std::string fault = class_names_fault(model); !fault.empty()) {
    throw ArgumentError("the model's schema contradicts it: " + fault);
  }
  json layers = json::array();
  for (const Layer& layer : model.layers()) layers.push_back(to_json(layer));
  const Schema& schema = model.schema();
  json described{{"feature_names", schema.feature_names},
                 {"class_names", schema.class_names},
                 {"target_name", schema.target_name}};
  if (!schema.offset_name.empty()) described["offset_name"] = schema.offset_name;
  if (schema.standardizer) described["standardizer"] = json::parse(schema.standardizer->to_json());
  const json document{{"format_version", kModelFormatVersion},
                      {"dtype", to_string(model.dtype())},
                      {"layers", layers},
                      {"likelihood", to_json(model.likelihood())},
                      {"schema", described}};
  try {
    return document.dump();
  } catch (const json::exception& error) {
    throw ArgumentError(fmt::format("the model's schema cannot be written: {}", error.what()));
  }
}

Model model_from_json(std::string_view text, const TensorFile& file) {
  Bounds bounds;
  json::sax_parse(text, &bounds);
  try {
    const json object = json::parse(text);
    check_version(integer(object, "format_version"));
    const json& list = object.at("layers");
    if (!list.is_array()) throw FormatError("'layers' is no list");
    std::vector<Layer> layers;
    for (const json& layer : list) layers.push_back(layer_from(layer));
    check_sizes(layers, file);
    Model model(std::move(layers), likelihood_from(object.at("likelihood")),
                parse_dtype(object.at("dtype").get<std::string>()), 0, Where::unknown());
    model.schema() = schema_from(object.at("schema"), model.inputs());
    const std::string fault = class_names_fault(model);
    if (!fault.empty()) throw FormatError(fault);
    return model;
  } catch (const json::exception& error) {
    throw FormatError(fmt::format("the model description is damaged: {}", error.what()));
  } catch (const FormatError&) {
    throw;
  } catch (const Error& error) {
    throw FormatError(fmt::format("the model description contradicts itself: {}", error.what()));
  }
}

}  // namespace chainrule::internal
