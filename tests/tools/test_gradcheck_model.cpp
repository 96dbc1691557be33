// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "chainrule/learn/model_file.hpp"
#include "markup.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::Not;
using ::testing::StartsWith;

using Arguments = std::vector<std::string>;

constexpr const char* kFlowers =
    "length,width,kind\n1,2,a\n3,1,b\n2,2.5,c\n0.5,1,a\n1.5,2,b\n2.5,0.5,c\n";

class GradcheckModel : public ::testing::Test {
 protected:
  std::string save(const Model& model, const std::string& name = "model") {
    const std::string path = directory_ / name;
    chainrule::save(model, path);
    return path;
  }
  std::string save(std::vector<Layer> layers, const Likelihood& likelihood) {
    return save(Model(std::move(layers), likelihood, DType::kFloat32, 5));
  }
  std::string flowers() {
    Model model{Linear{2, 5}, Tanh{}, Linear{5, 3}, Categorical{}};
    model.schema().feature_names = {"length", "width"};
    model.schema().class_names = {"a", "b", "c"};
    model.schema().target_name = "kind";
    return save(model);
  }
  std::string file(const std::string& name, std::string_view text) {
    return write_text(directory_ / name, text);
  }
  std::string flower_data() { return file("flowers.csv", kFlowers); }
  // Names of tensors in the order of the report.
  std::vector<std::string> tensors(Arguments arguments) {
    arguments.insert(arguments.begin(), "gradcheck");
    arguments.insert(arguments.end(), {"--json", directory_ / "report.json"});
    run_ok(arguments);
    report_ = nlohmann::json::parse(read_text(directory_ / "report.json"));
    std::vector<std::string> names;
    for (const auto& entry : report_.at("reports")) {
      names.push_back(entry.at("tensor"));
      EXPECT_TRUE(entry.at("ok")) << entry.dump(2);
    }
    return names;
  }
  void expect_error(const Arguments& arguments, const std::string& fragment) {
    Arguments all = arguments;
    all.insert(all.begin(), "gradcheck");
    SCOPED_TRACE(::testing::PrintToString(all));
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment)));
    EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
  }

  Directory directory_;
  nlohmann::json report_;
};

TEST_F(GradcheckModel, ALineForEachTensor) {
  const std::vector<std::string> lines = lines_of(
      run_ok({"gradcheck", "--model", flowers(), "--data", file("flowers.csv", kFlowers)}));
  ASSERT_EQ(lines.size(), 5 + 1 + 5 + 2U);  // facts, heading, tensors, forward mode, summary
  EXPECT_EQ(lines[1], "layers  linear 2-5, tanh, linear 5-3");
  EXPECT_THAT(lines[3], MatchesRegex("data +6 of 6 rows of .*flowers.csv"));
  EXPECT_THAT(lines[6], MatchesRegex("0.weight  float64  \\[2, 5\\] +10 .* agree"));
  EXPECT_THAT(lines[7], MatchesRegex("0.bias    float64  \\[5\\] +5 .* agree"));
  EXPECT_THAT(lines[10], MatchesRegex("x         float64  \\[6, 2\\] +12 .* agree"));
  EXPECT_THAT(lines[11],
              MatchesRegex("forward mode: 65 products, worst error [-.e0-9]+ of [-.e0-9]+"));
  EXPECT_THAT(lines[12], StartsWith("gradcheck: 5 checks of "));
}

TEST_F(GradcheckModel, JsonSaysWhichModelAndData) {
  const std::string model = flowers();
  EXPECT_THAT(tensors({"--model", model, "--dtype", "both", "--samples", "3"}),
              ElementsAre("0.weight", "0.weight", "0.bias", "0.bias", "2.weight", "2.weight",
                          "2.bias", "2.bias", "x", "x"));
  EXPECT_EQ(report_.at("model"), model);
  EXPECT_EQ(report_.at("loss"), "softmax");
  EXPECT_EQ(report_.at("data"), "3 random rows");
  EXPECT_EQ(report_.at("reports").at(0).at("dtype"), "float32");
  EXPECT_EQ(report_.at("reports").at(8).at("shape"), "[3, 2]");
}

TEST_F(GradcheckModel, SamplesAreRowsOfTheData) {
  const std::string model = flowers(), data = file("flowers.csv", kFlowers);
  tensors({"--model", model, "--data", data, "--samples", "4"});
  EXPECT_THAT(std::string(report_.at("data")), StartsWith("4 of 6 rows"));
  EXPECT_EQ(report_.at("reports").at(4).at("shape"), "[4, 2]");
  const auto numbers = report_.at("reports").dump();
  tensors({"--model", model, "--data", data, "--samples", "4", "--seed", "9"});
  EXPECT_NE(report_.at("reports").dump(), numbers);  // other rows
}

TEST_F(GradcheckModel, EveryLikelihoodWithRandomTargets) {
  for (const Likelihood& likelihood :
       {Likelihood(Categorical{.label_smoothing = 0.1}), Likelihood(Bernoulli{}),
        Likelihood(Gaussian{}), Likelihood(Laplace{}), Likelihood(HuberLoss{}),
        Likelihood(HingeLoss{}), Likelihood(Poisson{}), Likelihood(Gamma{}),
        Likelihood(NegativeBinomial{})}) {
    SCOPED_TRACE(name_of(likelihood));
    const Index outputs = std::holds_alternative<Categorical>(likelihood) ? 4 : 1;
    const std::string model = save({Linear{3, 4}, Silu{}, Linear{4, outputs}}, likelihood);
    EXPECT_EQ(tensors({"--model", model, "--dtype", "both"}).size(), 10U);
  }
}

TEST_F(GradcheckModel, EveryLayerInTrainingMode) {
  const std::string model =
      save({Linear{3, 8}, BatchNorm{}, Relu{}, Dropout{0.25}, Linear{8, 6, false}, LayerNorm{},
            LeakyRelu{}, Linear{6, 5}, Identity{}, BatchNorm{}, Elu{}, Linear{5, 4}, GeluTanh{},
            Linear{4, 4}, Softplus{}, Linear{4, 2}, Sigmoid{}},
           Gaussian{});
  const std::vector<std::string> names = tensors({"--model", model});
  EXPECT_EQ(names.size(), 18U);
  for (const auto& entry : report_.at("reports")) {
    EXPECT_GT(entry.at("elements"), 0);
    // What a bias adds in front of batch_norm is taken off again.
    const bool without_effect = entry.at("tensor") == "0.bias" || entry.at("tensor") == "7.bias";
    const double size = std::abs(double(entry.at("gradients").at(0).at("worst").at("numeric")));
    EXPECT_EQ(size < 1e-9, without_effect) << entry.dump(2);
  }
}

TEST_F(GradcheckModel, KinksAreAcceptedAndCounted) {
  Model model{Linear{2, 3}, Relu{}, Linear{3, 1}, Gaussian{}};
  // Zero weights put two of the three units of relu on the kink.
  const TensorView weights = model.parameters().mutable_view("0.weight");
  const TensorView bias = model.parameters().mutable_view("0.bias");
  for (Index j = 0; j < 3; ++j) {
    for (Index i = 0; i < 2; ++i) weights.as<float>()(i, j) = j == 0 ? 0.5F : 0;
    bias.as<float>()(0, j) = j == 0 ? 1 : 0;
  }
  const std::string data = file("d.csv", "a,b,y\n1,2,1\n2,1,3\n0.5,-1,2\n");
  const std::string out = run_ok({"gradcheck", "--model", save(model), "--data", data});
  EXPECT_THAT(out, AllOf(HasSubstr("0.bias"), HasSubstr("agree, 2 kinks")));
}

TEST_F(GradcheckModel, WeightsAndOffsetsTakePart) {
  Model model{Linear{1, 1}, Poisson{}};
  model.schema().feature_names = {"age"};
  model.schema().target_name = "claims";
  const std::string data =
      file("claims.csv", "age,claims,exposure,weight\n1,2,0.1,1\n2,0,-0.3,2\n3,1,0.2,0.5\n");
  EXPECT_THAT(tensors({"--model", save(model), "--data", data, "--weights", "weight", "--offset",
                       "exposure"}),
              ElementsAre("0.weight", "0.bias", "x", "offset"));
}

TEST_F(GradcheckModel, AGradientThatIsZeroEverywhereFails) {
  Model model{Linear{2, 3}, Relu{}, Linear{3, 1}, Gaussian{}};
  const TensorView bias = model.parameters().mutable_view("0.bias");
  for (Index j = 0; j < 3; ++j) bias.as<float>()(0, j) = -1000;
  const std::string path = save(model), report = directory_ / "report.json";
  const std::string junit = directory_ / "report.xml", html = directory_ / "report.html";
  const Outcome outcome =
      run({"gradcheck", "--model", path, "--json", report, "--junit", junit, "--html", html});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("FAILED 0.weight, shape [2, 3], float64\n"),
                    HasSubstr("gradient of 0.weight [2, 3]: is zero everywhere, which was not")));
  EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: gradcheck: 4 of 5 checks of "),
                                 HasSubstr(" failed (")));
  EXPECT_EQ(nlohmann::json::parse(read_text(report)).at("failed"), 4);
  EXPECT_EQ(parse_markup(read_text(junit)).at("failures"), "4");
  EXPECT_EQ(parse_markup(read_text(html)).all("pre").size(), 4U);
}

TEST_F(GradcheckModel, AGradientThatIsZeroEverywhereCanBeDeclared) {
  Model model{Linear{2, 3}, Relu{}, Linear{3, 1}, Gaussian{}};
  const TensorView bias = model.parameters().mutable_view("0.bias");
  for (Index j = 0; j < 3; ++j) bias.as<float>()(0, j) = -1000;
  Arguments arguments{"gradcheck", "--model", save(model)};
  for (const char* name : {"0.weight", "0.bias", "2.weight", "x"}) {
    arguments.insert(arguments.end(), {"--zero", name});
  }
  const Outcome declared = run(arguments);
  EXPECT_EQ(declared.code, 0) << declared.out << declared.err;
  EXPECT_THAT(declared.out, HasSubstr("0.weight, 0.bias, 2.weight, x: no gradient, as declared"));
  // What is declared must be so.
  arguments.insert(arguments.end(), {"--zero", "2.bias"});
  EXPECT_EQ(run(arguments).code, 1);
  const Outcome unknown = run({"gradcheck", "--model", arguments[2], "--zero", "bias"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("--zero: no tensor is called 'bias'"));
}

TEST_F(GradcheckModel, AWrongDeclarationIsSaidToBeWrong) {
  const Outcome outcome = run({"gradcheck", "--model", flowers(), "--zero", "0.weight"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("10 of 10 disagree (declared to be zero, and is not)"),
            HasSubstr("gradient of 0.weight [2, 5]: declared to be zero, and is not: 10 of"),
            HasSubstr("expected 0, error "), HasSubstr("hint: backward and differences agree"),
            Not(HasSubstr("what it should be"))));
}

TEST_F(GradcheckModel, AGradientThatIsZeroByChanceIsToBeDeclared) {
  // Of the mean absolute error, with as many targets above the predictions as below.
  const std::string path = save({Linear{1, 1}}, Laplace{});
  const std::string data = file("balanced.csv", "x,y\n1,1e6\n2,-1e6\n3,1e6\n4,-1e6\n");
  const Arguments arguments{"gradcheck", "--model", path, "--data", data};
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.code, 1) << outcome.out;
  const char* const kAdvice =
      "hint: if nothing depends on 0.bias here, declare it: --zero 0.bias\n";
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("FAILED 0.bias"), HasSubstr(kAdvice)));
  Arguments waived = arguments, declared = arguments;
  waived.insert(waived.end(), {"--waive", "0.bias"});
  EXPECT_THAT(run(waived).out, HasSubstr(kAdvice));
  declared.insert(declared.end(), {"--zero", "0.bias"});
  EXPECT_EQ(run(declared).code, 0);
}

TEST_F(GradcheckModel, TheVerdictIsSaidEvenIfNoReportCanBeWritten) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full";
  Arguments arguments{"gradcheck", "--model", flowers(), "--json", "/dev/full"};
  const Outcome right = run(arguments);
  EXPECT_EQ(right.code, 1);
  EXPECT_THAT(right.out, HasSubstr("gradcheck: 5 checks of "));
  EXPECT_THAT(right.err, HasSubstr("/dev/full"));
  arguments.insert(arguments.end(), {"--zero", "0.weight"});
  const Outcome wrong = run(arguments);
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.out,
              AllOf(HasSubstr("FAILED 0.weight"), HasSubstr("gradcheck: 1 of 5 checks of ")));
  EXPECT_THAT(wrong.err, HasSubstr("/dev/full"));
}

TEST_F(GradcheckModel, WaiversNameTensors) {
  const std::string path = flowers();
  EXPECT_EQ(tensors({"--model", path, "--waive", "0.bias", "--waive", "x"}).size(), 5U);
  const Outcome unknown = run({"gradcheck", "--model", path, "--waive", "bias"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("no tensor is called 'bias'; there are: 0.weight, 0.bias"));
}

TEST_F(GradcheckModel, DamagedModelsAreClearErrors) {
  const std::string model = flowers(), bytes = read_text(model);
  expect_error({"--model", directory_ / "none"}, "none");
  expect_error({"--model", directory_ / ""}, "directory");
  expect_error({"--model", file("empty", "")}, "empty");
  expect_error({"--model", file("short", bytes.substr(0, bytes.size() / 2))}, "short");
  expect_error({"--model", file("text", "a,b\n1,2\n3,4\n")}, "text");
  expect_error({"--model", file("long", bytes + "more")}, "long: ");
  std::string huge = bytes;
  huge.replace(0, 8, "\xff\xff\xff\xff\xff\xff\xff\x7f");
  expect_error({"--model", file("huge", huge)}, "huge: a header of ");
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string copy = bytes;
    EXPECT_EQ(from.size(), to.size());
    return file("changed", copy.replace(copy.find(from), from.size(), to));
  };
  expect_error({"--model", changed("\"F32\"", "\"F99\"")}, "changed: ");
  expect_error({"--model", changed("format_version", "format_revised")}, "format_version");
  expect_error({"--model", changed("2.weight", "3.weight")}, "2.weight");
  expect_error({"--model", changed("tanh", "tank")}, "tank");
}

TEST_F(GradcheckModel, DataThatDoesNotFitIsAClearError) {
  const std::string model = flowers();
  expect_error({"--model", model, "--data", directory_ / "none.csv"}, "none.csv");
  expect_error({"--model", model, "--data", "digits"}, "64");
  expect_error({"--model", model, "--data", file("narrow.csv", "length,kind\n1,a\n2,b\n")},
               "width");
  expect_error({"--model", model, "--data", file("new.csv", "length,width,kind\n1,2,z\n3,1,a\n")},
               "'z'");
  expect_error({"--model", model, "--data", file("hole.csv", "length,width,kind\n1,,a\n")},
               "line 2");
  expect_error({"--model", model, "--data", file("header.csv", "length,width,kind\n")},
               "header.csv: no data rows, only a header");
  expect_error({"--model", model, "--data", file("big.csv", "length,width,kind\n1,1e400,a\n")},
               "line 2");
  expect_error({"--model", model, "--data", flower_data(), "--target", "colour"}, "'colour'");
  expect_error({"--model", model, "--data", flower_data(), "--weights", "kind"}, "kind");
  expect_error({"--model", model, "--data", flower_data(), "--offset", "none"}, "'none'");
}

TEST_F(GradcheckModel, BatchNormNeedsTwoRows) {
  const std::string model = save({Linear{2, 3}, BatchNorm{}, Linear{3, 1}}, Gaussian{});
  expect_error({"--model", model, "--samples", "1"}, "expected at least two");
  tensors({"--model", model, "--samples", "2"});
}

TEST_F(GradcheckModel, AModelWithInfiniteWeightsSaysSo) {
  Model model{Linear{2, 1}, Gaussian{}};
  model.parameters().mutable_view("0.weight").as<float>()(0, 0) =
      std::numeric_limits<float>::infinity();
  const Outcome outcome = run({"gradcheck", "--model", save(model)});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out + outcome.err, HasSubstr("finite"));
}

}  // namespace
}  // namespace chainrule::testing
