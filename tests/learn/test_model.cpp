// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/model.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/model_file.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::matrix;
using testing::message_of;
using testing::noise;

TEST(Model, NamesThePartThatIsInTheWrongPlace) {
  EXPECT_THAT(message_of<ArgumentError>([] {
                Model{Categorical{}, Linear{2, 3}};
              }),
              HasSubstr("part 1 of 2"));
  EXPECT_THAT(message_of<ArgumentError>([] {
                Model{Linear{2, 3}, Relu{}};
              }),
              AllOf(HasSubstr("part 2 of 2 is a layer"), HasSubstr("then one likelihood")));
  EXPECT_THAT(message_of<ArgumentError>([] {
                Model{Linear{2, 3}, Gaussian{}, Gaussian{}};
              }),
              HasSubstr("part 2 of 3"));
  EXPECT_THAT(message_of<ArgumentError>([] {
                Model{Relu{}, Gaussian{}};
              }),
              HasSubstr("no Linear layer"));
  EXPECT_THROW(Model({}), ArgumentError);
}

TEST(Model, NamesTheLayerWhoseWidthDoesNotFit) {
  EXPECT_THAT(message_of<ShapeError>([] {
                Model{Linear{2, 3}, Relu{}, Linear{4, 1}, Gaussian{}};
              }),
              AllOf(HasSubstr("layer 2"), HasSubstr("gets 3 columns, expected 4")));
  EXPECT_THAT(message_of<ArgumentError>([] {
                Model{Linear{2, 0}, Gaussian{}};
              }),
              HasSubstr("layer 0"));
  EXPECT_THAT(message_of<ShapeError>([] {
                Model{Linear{2, 2}, Bernoulli{}};
              }),
              HasSubstr("'binary' needs one output"));
  EXPECT_THAT(message_of<ShapeError>([] {
                Model{Linear{2, 1}, Categorical{}};
              }),
              HasSubstr("at least two outputs"));
}

TEST(Model, ErrorsNameTheUsersLineOrNone) {
  const auto file = [](const std::string& message) {
    return message.find(".cpp") == std::string::npos ? "" : message.substr(message.rfind('('));
  };
  const int line = __LINE__ + 1;
  const auto here = [] { Model{Linear{2, 1}, LeakyRelu{.slope = NAN}, Gaussian{}}; };
  EXPECT_EQ(file(message_of<ArgumentError>(here)),
            "(at test_model.cpp:" + std::to_string(line) + ")");
  const auto built = [](Where where) {
    Model({Linear{2, 1}, Dropout{.rate = 2}}, Gaussian{}, DType::kFloat32, 0, where);
  };
  EXPECT_EQ(file(message_of<ArgumentError>([&] { built(Where::unknown()); })), "");
  EXPECT_EQ(file(message_of<ArgumentError>([&] { built(Where::current("main.cpp", 7)); })),
            "(at main.cpp:7)");

  const Model model{Linear{2, 1}, Gaussian{}};
  EXPECT_THAT(describe(model.network().logits().node()), HasSubstr("(test_model.cpp:"));
  const Model loaded = load_model(save_to_memory(model));
  EXPECT_EQ(describe(loaded.network().logits().node()), "layer 0 (linear) [batch, 1]");
}

TEST(Model, ViewsInputsThatNeedNoChange) {
  Model model{Linear{3, 1}, Gaussian{}};
  Dataset data;
  data.x = noise(5, 3, 61).to(DType::kFloat32);
  data.y = noise(5, 1, 62);
  EXPECT_EQ(model.prepare_view(data).x.data(), data.x.data());
  EXPECT_EQ(model.prepare_inputs_view(data.x).data(), data.x.data());
  EXPECT_TRUE(model.prepare(data).x.owns_memory());
  EXPECT_TRUE(model.prepare_inputs(data.x).owns_memory());
  EXPECT_EQ(testing::bits(model.prepare(data).x), testing::bits(data.x));
  EXPECT_TRUE(model.to(DType::kFloat64).prepare_view(data).x.owns_memory());
  Tensor dense(Shape{5, 3}, DType::kFloat32, Layout::kDense);
  copy_values(data.x.view(), dense.view());
  EXPECT_TRUE(model.prepare_inputs_view(dense).owns_memory());
  model.schema().standardizer = Standardizer::fit(data.x);
  EXPECT_TRUE(model.prepare_view(data).x.owns_memory());
}

TEST(Model, StartsGlorotUniformFromItsSeed) {
  Model model({Linear{64, 32}, Relu{}, Linear{32, 10}}, Categorical{}, DType::kFloat64, 5);
  EXPECT_EQ(model.inputs(), 64);
  EXPECT_EQ(model.outputs(), 10);
  for (const auto& [name, in, out] : {std::tuple{"0.weight", 64, 32},
                                      {"0.bias", 64, 32},
                                      {"2.weight", 32, 10},
                                      {"2.bias", 32, 10}}) {
    const ConstTensorView view = model.parameters().view(name);
    const double limit = std::sqrt(6.0 / (in + out));
    double largest = 0;
    for (Index i = 0; i < view.rows; ++i) {
      for (Index j = 0; j < view.columns; ++j) {
        largest = std::max(largest, std::abs(element(view, i, j)));
      }
    }
    EXPECT_LE(largest, limit) << name;
    EXPECT_GT(largest, limit / 2) << name;
  }
  const std::string first = testing::bits(model.parameters());
  model.initialize(6);
  EXPECT_NE(testing::bits(model.parameters()), first);
  model.initialize(5);
  EXPECT_EQ(testing::bits(model.parameters()), first);
}

TEST(Model, ComputesWhatItsLayersSay) {
  Model model({Linear{2, 2}, Tanh{}, Linear{2, 1}}, Bernoulli{}, DType::kFloat64, 7);
  const Tensor x = noise(4, 2, 41);
  const auto at = [&](const char* name, Index i, Index j) {
    return static_cast<long double>(element(model.parameters().view(name), i, j));
  };
  const Tensor features = model.features(x);
  const Tensor prediction = Predictor(model).predict(x);
  for (Index i = 0; i < 4; ++i) {
    long double z = at("2.bias", 0, 0);
    for (Index k = 0; k < 2; ++k) {
      long double h = at("0.bias", 0, k);
      for (Index j = 0; j < 2; ++j) h += element(x, i, j) * at("0.weight", j, k);
      EXPECT_NEAR(element(features, i, k), static_cast<double>(std::tanh(h)), 1e-14);
      z += std::tanh(h) * at("2.weight", k, 0);
    }
    EXPECT_NEAR(element(prediction, i, 0), static_cast<double>(1 / (1 + std::exp(-z))), 1e-14);
  }
}

TEST(Model, GivesTheOutputOfAnyLayerAndTakesANewHead) {
  Model model({Linear{2, 3}, Tanh{}, Linear{3, 1}}, Bernoulli{}, DType::kFloat64, 7);
  model.schema().feature_names = {"a", "b"};
  model.schema().class_names = {"no", "yes"};
  const Tensor x = noise(4, 2, 41);
  const Tensor linear = model.features(x, 0), features = model.features(x);
  for (Index i = 0; i < 4; ++i) {
    for (Index k = 0; k < 3; ++k) {
      EXPECT_NEAR(std::tanh(element(linear, i, k)), element(features, i, k), 1e-15);
    }
  }
  EXPECT_EQ(testing::bits(model.features(x, 1).view()), testing::bits(features.view()));
  EXPECT_THAT(testing::message_of<ArgumentError>([&] { model.features(x, 3); }),
              HasSubstr("layer 3 (from 0) of a model of 3 layers"));

  const Model other = model.with_head(2, Poisson{});
  EXPECT_EQ(other.layers(), (std::vector<Layer>{Linear{2, 3}, Tanh{}, Linear{3, 2}}));
  EXPECT_TRUE(std::holds_alternative<Poisson>(other.likelihood()));
  EXPECT_EQ(testing::bits(other.features(x).view()), testing::bits(features.view()));
  EXPECT_EQ(other.schema().feature_names, model.schema().feature_names);
  EXPECT_TRUE(other.schema().class_names.empty());
  const Model linear_head = model.with_head(1, Gaussian{}, false, 0);
  EXPECT_EQ(linear_head.layers(),
            (std::vector<Layer>{Linear{2, 3}, Linear{.in = 3, .out = 1, .bias = false}}));
  EXPECT_EQ(testing::bits(linear_head.features(x).view()), testing::bits(linear.view()));
  EXPECT_THROW(model.with_head(1, Gaussian{}, true, 3), ArgumentError);
}

TEST(Model, CopiesShareAndClonesDoNot) {
  Model model{Linear{2, 1}, Gaussian{}};
  Model copy = model;
  const Model clone = model.clone();
  const std::string before = testing::bits(clone.parameters());
  copy.initialize(9);
  copy.schema().target_name = "y";
  EXPECT_EQ(testing::bits(model.parameters()), testing::bits(copy.parameters()));
  EXPECT_EQ(model.schema().target_name, "y");
  EXPECT_EQ(testing::bits(clone.parameters()), before);
  EXPECT_EQ(clone.schema().target_name, "");
  const Model wide = model.to(DType::kFloat64);
  EXPECT_EQ(wide.dtype(), DType::kFloat64);
  EXPECT_EQ(testing::bits(wide.to(DType::kFloat32).parameters()),
            testing::bits(model.parameters()));
}

TEST(Model, PreparesTargetsForItsLikelihood) {
  Dataset data;
  data.x = noise(3, 2, 42);
  data.labels = {0, 1, 1};
  const auto target = [&](const Likelihood& likelihood) {
    const Model model({Linear{2, 1}}, likelihood, DType::kFloat64);
    const Tensor y = model.prepare(data).y;
    return std::vector{element(y, 0, 0), element(y, 1, 0), element(y, 2, 0)};
  };
  EXPECT_EQ(target(Bernoulli{}), (std::vector<double>{0, 1, 1}));
  EXPECT_EQ(target(HingeLoss{}), (std::vector<double>{-1, 1, 1}));
  EXPECT_EQ(target(Poisson{}), (std::vector<double>{0, 1, 1}));
  const Model categorical{Linear{2, 2}, Categorical{}};
  EXPECT_EQ(categorical.prepare(data).labels, data.labels);
  EXPECT_EQ(categorical.prepare(data).x.dtype(), DType::kFloat32);
}

TEST(Model, StandardizesBeforeTheFirstLayer) {
  Model model({Linear{1, 1}}, Gaussian{}, DType::kFloat64);
  model.schema().standardizer = Standardizer{.mean = {3}, .scale = {2}};
  const std::vector<double> values{7, 3};
  const Tensor x = model.prepare_inputs(matrix(2, 1, values));
  EXPECT_EQ(element(x, 0, 0), 2);
  EXPECT_EQ(element(x, 1, 0), 0);
}

TEST(Model, SaysWhyDataDoesNotFit) {
  Dataset data;
  data.x = noise(3, 2, 43);
  const auto refusal = [&]<class E>(const Model& model, E*) {
    return message_of<E>([&] { model.prepare(data); });
  };
  ArgumentError* const argument = nullptr;
  ShapeError* const shape = nullptr;
  const Model regression{Linear{2, 1}, Gaussian{}};
  const Model binary{Linear{2, 1}, Bernoulli{}};
  EXPECT_THAT(refusal(regression, argument), HasSubstr("needs targets, the data has none"));
  EXPECT_THAT(refusal(binary, argument), HasSubstr("needs class labels"));
  data.labels = {0, 1, 2};
  EXPECT_THAT(refusal(binary, argument), HasSubstr("3 classes, the model tells apart 2"));
  data.labels.clear();
  data.y = noise(3, 2, 44);
  EXPECT_THAT(refusal(regression, shape), HasSubstr("1 outputs, the data 2 targets"));
  EXPECT_THAT(refusal(binary, argument), HasSubstr("needs class labels"));
  EXPECT_THAT(refusal(Model{Linear{3, 2}, Gaussian{}}, shape),
              HasSubstr("reads 3 columns, the data has 2"));
  data.offset = noise(3, 1, 45);
  EXPECT_THAT(refusal(Model{Linear{2, 2}, Gaussian{}}, argument), HasSubstr("takes no offset"));
}

TEST(MlpLayers, ParsesWidths) {
  EXPECT_EQ(mlp_layers("4-3-2", Tanh{}), (std::vector<Layer>{Linear{4, 3}, Tanh{}, Linear{3, 2}}));
  EXPECT_EQ(mlp_layers("7-1", Relu{}), (std::vector<Layer>{Linear{7, 1}}));
  for (const char* text : {"", "4", "4-", "-4", "4--2", "4-0", "4-x", "4-2x", " 4-2", "4-2-",
                           "99999999999999999999-2"}) {
    EXPECT_THAT(message_of<ArgumentError>([&] { mlp_layers(text, Relu{}); }), HasSubstr(text));
  }
}

TEST(LayerNames, AreFoundAgain) {
  for (const char* name : {"identity", "relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus",
                           "silu", "gelu", "gelu_tanh"}) {
    EXPECT_EQ(name_of(activation_named(name)), name);
  }
  for (const char* name : {"softmax", "binary", "mse", "mae", "huber", "hinge", "poisson", "gamma",
                           "negative-binomial"}) {
    EXPECT_EQ(name_of(likelihood_named(name)), name);
  }
  EXPECT_THAT(message_of<ArgumentError>([] { activation_named("dropout"); }),
              HasSubstr("leaky_relu"));
  EXPECT_THAT(message_of<ArgumentError>([] { likelihood_named("cauchy"); }), HasSubstr("huber"));
}

TEST(Model, RefusesTargetsOutsideTheDomainOfTheLoss) {
  const auto prepare = [](const Likelihood& likelihood, const std::vector<double>& targets) {
    Dataset data;
    const auto rows = static_cast<Index>(targets.size());
    data.x = noise(rows, 2, 5);
    data.y = matrix(rows, 1, targets);
    return Model({Linear{2, 1}}, likelihood).prepare(data);
  };
  const auto refusal = [&](const Likelihood& likelihood, const std::vector<double>& targets) {
    return message_of<ArgumentError>([&] { prepare(likelihood, targets); });
  };
  EXPECT_EQ(refusal(Poisson{}, {0, 2.5, -1}),
            "target, row 3: -1, expected a number >= 0 for loss 'poisson'");
  EXPECT_EQ(refusal(NegativeBinomial{}, {-0.5, 1}),
            "target, row 1: -0.5, expected a number >= 0 for loss 'negative-binomial'");
  EXPECT_EQ(refusal(Gamma{}, {1, 0}), "target, row 2: 0, expected a number > 0 for loss 'gamma'");
  EXPECT_THAT(refusal(Gamma{}, {1, NAN}), HasSubstr("row 2: nan"));
  EXPECT_THAT(refusal(Poisson{}, {INFINITY}), HasSubstr("row 1: inf"));
  EXPECT_THAT(refusal(Bernoulli{}, {2}), HasSubstr("needs class labels"));
  EXPECT_THAT(refusal(HingeLoss{}, {0.5}), HasSubstr("needs class labels"));
  EXPECT_EQ(prepare(Poisson{}, {0, 3}).y.rows(), 2);
  EXPECT_EQ(prepare(Gamma{}, {0.25, 3}).y.rows(), 2);
  EXPECT_EQ(prepare(Gaussian{}, {-1, 0}).y.rows(), 2);
}

}  // namespace
}  // namespace chainrule
