// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/model_file.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/trainer.hpp"
#include "file_support.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::bits;
using testing::bytes_of;
using testing::error_of;
using ::testing::HasSubstr;
using testing::noise;
using ::testing::Not;

constexpr const char* kDescription = "chainrule";

// A trained model with every kind of tensor, a schema and awkward names.
Model example() {
  Model model{Linear{6, 8},
              BatchNorm{},
              Relu{},
              LayerNorm{},
              Linear{.in = 8, .out = 3, .bias = false},
              Categorical{.label_smoothing = 0.1}};
  const Dataset data = testing::blobs(50, 6, 3, 51);
  model.schema() = {.feature_names = {"a", "b \"quoted\"", "c,d", "\u00e9", "", "f"},
                    .class_names = {"x", "y", "z"},
                    .target_name = "kind",
                    .offset_name = "log_exposure",
                    .standardizer = Standardizer::fit(data.x)};
  Trainer(model, Adam{}, {.threads = 1}).fit(data, {.epochs = 2});
  return model;
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Model load_text(const std::string& text) { return load_model(bytes_of(text)); }

// The file of `model` with its description changed.
std::vector<std::byte> with_description(const Model& model,
                                        const std::function<void(json&)>& edit) {
  TensorFile file = read_safetensors(save_to_memory(model));
  json description = json::parse(file.metadata.at(kDescription));
  edit(description);
  file.metadata[kDescription] = description.dump();
  return to_safetensors(file);
}

std::string refusal(const std::function<void(json&)>& edit) {
  const std::vector<std::byte> bytes = with_description(example(), edit);
  const std::string message = error_of([&] { load_model(bytes); });
  EXPECT_THAT(message, ::testing::StartsWith("memory: "));
  return message;
}

TEST(ModelFile, ReloadsToTheSameBitsFromPathStreamAndMemory) {
  const Model model = example();
  const testing::TemporaryDirectory directory;
  save(model, directory / "m.safetensors");
  std::stringstream stream;
  save(model, stream);
  stream << "behind";
  const Tensor x = noise(20, 6, 52);
  const std::string expected = bits(Predictor(model).predict(x));
  for (const Model& loaded : {load_model(directory / "m.safetensors"), load_model(stream),
                              load_model(save_to_memory(model))}) {
    EXPECT_EQ(bits(loaded.parameters()), bits(model.parameters()));
    EXPECT_EQ(bits(Predictor(loaded).predict(x)), expected);
    EXPECT_EQ(loaded.layers(), model.layers());
    EXPECT_EQ(loaded.likelihood(), model.likelihood());
    EXPECT_EQ(loaded.schema(), model.schema());
    EXPECT_EQ(save_to_memory(loaded), save_to_memory(model));
  }
  EXPECT_EQ(stream.str().substr(static_cast<std::size_t>(stream.tellg())), "behind");
}

TEST(ModelFile, TheOffsetIsOptional) {
  const auto older = with_description(example(), [](json& d) {
    EXPECT_EQ(d["schema"].at("offset_name"), "log_exposure");
    d["schema"].erase("offset_name");
  });
  EXPECT_EQ(load_model(older).schema().offset_name, "");
  refusal([](json& d) { d["schema"]["offset_name"] = 3; });
}

TEST(ModelFile, KeepsFloat64) {
  const Model model({Linear{3, 2}}, Gaussian{}, DType::kFloat64, 4);
  const Model loaded = load_model(save_to_memory(model));
  EXPECT_EQ(loaded.dtype(), DType::kFloat64);
  EXPECT_EQ(bits(loaded.parameters()), bits(model.parameters()));
}

TEST(ModelFile, UsesPyTorchsNamesAndLayout) {
  const Model model = example();
  const TensorFile file = read_safetensors(save_to_memory(model));
  const auto shape = [&](const char* name) { return file.at(name).shape(); };
  EXPECT_EQ(shape("0.weight"), (Shape{8, 6}));
  EXPECT_EQ(shape("0.bias"), (Shape{8}));
  EXPECT_EQ(shape("1.weight"), (Shape{8}));
  EXPECT_EQ(shape("1.running_mean"), (Shape{8}));
  EXPECT_EQ(shape("1.running_var"), (Shape{8}));
  EXPECT_EQ(shape("3.bias"), (Shape{8}));
  EXPECT_EQ(shape("4.weight"), (Shape{3, 8}));
  EXPECT_EQ(file.find("4.bias"), nullptr);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  for (Index in = 0; in < 6; ++in) {
    for (Index out = 0; out < 8; ++out) {
      EXPECT_EQ(element(file.at("0.weight"), out, in),
                element(model.parameters().view("0.weight"), in, out));
    }
  }
}

TEST(ModelFile, RoundTripsEveryLayer) {
  const std::vector<Layer> layers = {Linear{2, 3},
                                     Identity{},
                                     Relu{},
                                     LeakyRelu{.slope = 0.3},
                                     Elu{.alpha = 0.7},
                                     Sigmoid{},
                                     Tanh{},
                                     Softplus{},
                                     Silu{},
                                     Gelu{},
                                     GeluTanh{},
                                     Dropout{.rate = 0.1},
                                     LayerNorm{1e-4},
                                     BatchNorm{0.2, 1e-3},
                                     Linear{.in = 3, .out = 2, .bias = false}};
  const Model model(layers, Categorical{}, DType::kFloat32, 8);
  const Model loaded = load_model(save_to_memory(model));
  EXPECT_EQ(loaded.layers(), layers);
  EXPECT_EQ(bits(loaded.parameters()), bits(model.parameters()));
}

TEST(ModelFile, RoundTripsEveryLikelihood) {
  const std::vector<Likelihood> likelihoods = {Categorical{.label_smoothing = 0.2},
                                               Bernoulli{},
                                               Gaussian{},
                                               Laplace{},
                                               HuberLoss{.delta = 0.1},
                                               HingeLoss{},
                                               Poisson{},
                                               Gamma{.shape = 2.5},
                                               NegativeBinomial{.dispersion = 1.0 / 3}};
  ASSERT_EQ(likelihoods.size(), std::variant_size_v<Likelihood>);
  for (const Likelihood& likelihood : likelihoods) {
    const Index outputs = std::holds_alternative<Categorical>(likelihood) ? 2 : 1;
    const Model model({Linear{2, outputs}}, likelihood);
    EXPECT_EQ(load_model(save_to_memory(model)).likelihood(), likelihood) << name_of(likelihood);
  }
}

TEST(ModelFile, RefusesANewerFormatAndIgnoresUnknownFields) {
  EXPECT_THAT(refusal([](json& d) { d["format_version"] = kModelFormatVersion + 1; }),
              AllOf(HasSubstr("format version 2"), HasSubstr("update chainrule")));
  for (const json& version : {json(0), json(-1)}) {
    EXPECT_THAT(refusal([&](json& d) { d["format_version"] = version; }),
                AllOf(HasSubstr("expected 1 or above"), Not(HasSubstr("update"))));
  }
  for (const json& version :
       {json(1.5), json("1"), json(nullptr), json(4294967297), json(18446744073709551615U)}) {
    refusal([&](json& d) { d["format_version"] = version; });
  }
  const auto bytes = with_description(example(), [](json& d) {
    d["from_the_future"] = {1, 2};
    d["layers"][0]["comment"] = "hello";
  });
  EXPECT_EQ(load_model(bytes).layers(), example().layers());
}

TEST(ModelFile, ASmallFileWithManyLayersIsRefusedAtOnce) {
  std::string layers = "{}";
  for (int i = 0; i < 400'000; ++i) layers += ",{}";
  const auto bytes = [&](const std::string& description) {
    TensorFile file;
    file.metadata[kDescription] = description;
    return to_safetensors(file);
  };
  const auto start = std::chrono::steady_clock::now();
  for (const std::string key : {"layers", "unknown"}) {
    const auto lying = bytes("{\"format_version\":1,\"" + key + "\":[" + layers + "]}");
    EXPECT_THAT(error_of([&] { load_model(lying); }),
                HasSubstr(key == "layers" ? "more than 10000 layers" : "'layers' not found"));
  }
  // Milliseconds; the sanitizers are slower, and quadratic time would be tens of seconds.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  const std::string deep(100'000, '[');
  EXPECT_THAT(error_of([&] { load_model(bytes("{\"layers\":" + deep)); }),
              HasSubstr("nested too deeply"));
}

TEST(ModelFile, ChecksClassNamesAgainstTheOutputs) {
  const auto named = [](const json& names) {
    return [names](json& d) { d["schema"]["class_names"] = names; };
  };
  EXPECT_THAT(refusal(named({"x", "y"})), HasSubstr("2 class names for 3 classes"));
  EXPECT_THAT(refusal(named({"a", "b", "c", "d"})), HasSubstr("4 class names for 3 classes"));
  EXPECT_THAT(refusal(named({"x", "y", "x"})), HasSubstr("the class 'x' comes twice"));
  EXPECT_EQ(load_model(with_description(example(), named(json::array()))).schema().class_names,
            std::vector<std::string>{});

  // What could not be loaded is not saved.
  const auto refused = [](const Likelihood& likelihood, const std::vector<std::string>& names) {
    Model model({Linear{2, 1}}, likelihood);
    model.schema().class_names = names;
    return error_of<ArgumentError>([&] { save_to_memory(model); });
  };
  EXPECT_THAT(refused(Bernoulli{}, {"no"}), HasSubstr("1 class names for 2 classes"));
  EXPECT_THAT(refused(HingeLoss{}, {"a", "b", "c"}), HasSubstr("3 class names for 2 classes"));
  EXPECT_THAT(refused(Poisson{}, {"no", "yes"}), HasSubstr("'poisson' has no classes"));
}

TEST(ModelFile, RefusesDescriptionsThatLieAboutSizes) {
  // Told before anything is allocated.
  EXPECT_THAT(
      refusal([](json& d) {
        d["layers"] = {{{"type", "linear"}, {"in", 100000}, {"out", 100000}, {"bias", true}}};
      }),
      HasSubstr("layer 0 is described with a weight [100000, 100000], but it is [8, 6]"));
  EXPECT_THAT(refusal([](json& d) {
                d["layers"][3] = {{"type", "linear"}, {"in", 8}, {"out", 1 << 30}, {"bias", true}};
              }),
              HasSubstr("layer 3"));
  EXPECT_THAT(refusal([](json& d) { d["layers"][1]["type"] = "linear"; }), HasSubstr("in"));
  const std::string grown = refusal([](json& d) {
    for (int i = 0; i < 1000; ++i) d["layers"].push_back({{"type", "layer_norm"}, {"epsilon", 1}});
  });
  EXPECT_THAT(grown, HasSubstr("5.weight"));
  refusal([](json& d) { d["layers"] = json::array(); });
  refusal([](json& d) { d["layers"] = json::array({{{"type", "relu"}}}); });
  refusal([](json& d) { d["layers"] = "many"; });
  refusal([](json& d) { d["layers"].push_back({{"type", "convolution"}}); });
  refusal([](json& d) { d["likelihood"]["label_smoothing"] = 2; });
  refusal([](json& d) { d["likelihood"]["type"] = "binary"; });
  refusal([](json& d) { d["dtype"] = "int32"; });
  refusal([](json& d) { d["schema"]["feature_names"] = {"one"}; });
  refusal([](json& d) { d["schema"]["standardizer"] = {{"mean", {0}}, {"scale", {1}}}; });
  refusal([](json& d) { d["schema"].erase("class_names"); });
  for (const json& size : {json(nullptr), json(-6), json(0), json(6.5), json("6"), json(true),
                           json(1e300), json(18446744073709551615U), json::array({6})}) {
    refusal([&](json& d) { d["layers"][0]["in"] = size; });
  }
}

TEST(ModelFile, RefusesTextThatIsNoDescription) {
  TensorFile file = read_safetensors(save_to_memory(example()));
  const std::string deep = std::string(100'000, '[');
  const std::string valid = file.metadata.at(kDescription);
  for (const std::string& text :
       {std::string(), std::string("null"), std::string("[]"), std::string("{}"), deep,
        deep + std::string(100'000, ']'), valid + "x", valid.substr(0, valid.size() - 1),
        R"({"format_version": NaN})" + std::string(),
        std::string(valid).replace(valid.find("\"standardizer\":") + 15, 0,
                                   deep + "0" + std::string(100'000, ']') + ",\"x\":")}) {
    file.metadata[kDescription] = text;
    error_of([&] { load_model(to_safetensors(file)); });
  }
  file.metadata.erase(kDescription);
  EXPECT_THAT(error_of([&] { load_model(to_safetensors(file)); }), HasSubstr("load_parameters()"));
}

TEST(ModelFile, RefusesTensorsWithSillyShapes) {
  const std::string text = text_of(save_to_memory(example()));
  const std::string shape = R"("shape":[8,6])";
  const auto at = text.find(shape);
  ASSERT_NE(at, std::string::npos);
  for (const std::string other :
       {"[NaN]", "[8,-6]", "[8,6.]", "[9,6]", "[8e9]", "[null]", "[[8]]"}) {
    std::string damaged = text;
    std::string entry = R"("shape":)" + other;
    entry.resize(shape.size(), ' ');
    damaged.replace(at, shape.size(), entry);
    error_of([&] { load_text(damaged); });
  }
}

TEST(ModelFile, RefusesEveryTruncation) {
  const std::string text = text_of(save_to_memory(example()));
  for (std::size_t length = 0; length < text.size(); length += 64) {
    error_of([&] { load_text(text.substr(0, length)); });
    error_of([&] {
      std::istringstream stream(text.substr(0, length));
      load_model(stream);
    });
  }
  error_of([&] { load_text(text.substr(0, text.size() - 1)); });
}

TEST(ModelFile, SurvivesDamage) {
  const std::string text = text_of(save_to_memory(example()));
  const auto count =
      testing::mutate(text, 2000, [](const std::string& damaged) { load_text(damaged); });
  EXPECT_GT(count.refused, 500);
  EXPECT_GT(count.accepted, 0);  // a flipped bit of a weight is still a model
  const std::string header = text.substr(0, 8 + 2000);
  const auto in_header = testing::mutate(header, 2000, [&](const std::string& damaged) {
    load_text(damaged + text.substr(header.size()));
  });
  EXPECT_GT(in_header.refused, 1000);
}

TEST(ModelFile, LoadsParametersOfOthers) {
  const Model model = example();
  const TensorFile file = to_tensor_file(model);  // as PyTorch would write: no description
  EXPECT_TRUE(file.metadata.empty());
  Model fresh(model.layers(), model.likelihood(), DType::kFloat32, 77);
  load_parameters(fresh, read_safetensors(to_safetensors(file)));
  EXPECT_EQ(bits(fresh.parameters()), bits(model.parameters()));
  Model wide(model.layers(), model.likelihood(), DType::kFloat64);
  load_parameters(wide, file);
  EXPECT_EQ(bits(wide.to(DType::kFloat32).parameters()), bits(model.parameters()));
}

TEST(ModelFile, LeavesAModelAloneWhenATensorDoesNotFit) {
  const Model model = example();
  for (const bool missing : {false, true}) {
    TensorFile file = to_tensor_file(model);
    auto& last = file.tensors.back();
    ASSERT_EQ(last.first, "4.weight");
    if (missing) {
      last.first = "5.weight";
    } else {
      last.second = Tensor({8, 3});
    }
    Model fresh(model.layers(), model.likelihood(), DType::kFloat32, 78);
    const std::string before = bits(fresh.parameters());
    EXPECT_THAT(error_of([&] { load_parameters(fresh, file); }), HasSubstr("4.weight"));
    EXPECT_EQ(bits(fresh.parameters()), before);
  }
}

TEST(ModelFile, RefusesParametersThatAreNotFinite) {
  const Model model = example();
  const auto refused = [&](const char* name, Index i, Index j, double value, DType dtype) {
    TensorFile file = to_tensor_file(model);
    for (auto& [key, tensor] : file.tensors) {
      tensor = tensor.to(DType::kFloat64);
      if (key == name) tensor.as<double>()(i, j) = value;
      tensor = tensor.to(dtype);
    }
    Model fresh(model.layers(), model.likelihood(), DType::kFloat32, 79);
    const std::string before = bits(fresh.parameters());
    const std::string message = error_of([&] { load_parameters(fresh, file); });
    EXPECT_EQ(bits(fresh.parameters()), before);
    return message;
  };
  EXPECT_EQ(refused("4.weight", 2, 5, NAN, DType::kFloat32),
            "tensor '4.weight': element [2, 5] is nan, expected a finite number");
  EXPECT_EQ(refused("0.bias", 0, 7, -INFINITY, DType::kFloat32),
            "tensor '0.bias': element [7] is -inf, expected a finite number");
  EXPECT_EQ(refused("0.weight", 7, 1, 1e39, DType::kFloat64),
            "tensor '0.weight': element [7, 1] is 1e+39, expected a finite number of float32");

  Model broken = model.clone();
  Tensor nan({1, 8});
  nan.as<float>()(0, 3) = NAN;
  copy_values(nan.view(), broken.parameters().mutable_view(1));
  EXPECT_THAT(error_of([&] { load_model(save_to_memory(broken)); }),
              AllOf(::testing::StartsWith("memory: tensor '0.bias'"), HasSubstr("[3] is nan")));
}

TEST(ModelFile, RefusesToWriteNamesThatAreNotUtf8) {
  Model model = example();
  model.schema().target_name = "\xFF";
  EXPECT_THROW(save_to_memory(model), ArgumentError);
}

TEST(ModelFile, NamesTheFileThatIsMissing) {
  EXPECT_THAT(error_of([] { load_model("/nonexistent/model.safetensors"); }),
              HasSubstr("/nonexistent/model.safetensors"));
}

}  // namespace
}  // namespace chainrule
