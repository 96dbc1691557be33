// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/model_file.hpp"
#include "chainrule/learn/posterior_file.hpp"
#include "probability.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::HasSubstr;

// Dobson 1990, p. 93, as help(glm) of R has it; "twice" is 2 in each row.
std::string dobson_csv(const Directory& directory) {
  return write_text(directory / "dobson.csv",
                    "outcome2,outcome3,treatment2,treatment3,twice,counts\n"
                    "0,0,0,0,2,18\n1,0,0,0,2,17\n0,1,0,0,2,15\n"
                    "0,0,1,0,2,20\n1,0,1,0,2,10\n0,1,1,0,2,20\n"
                    "0,0,0,1,2,25\n1,0,0,1,2,13\n0,1,0,1,2,12\n");
}

nlohmann::json fitted(std::vector<std::string> arguments) {
  arguments.insert(arguments.end(), {"--json", "/dev/stdout"});
  return nlohmann::json::parse(run_ok(arguments));
}

// The table without "twice", which is constant.
std::string dobson_without_constant(const Directory& directory) {
  CsvTable table = read_csv(dobson_csv(directory));
  table.names.erase(table.names.begin() + 4);
  table.columns.erase(table.columns.begin() + 4);
  write_csv(table, directory / "counts.csv");
  return directory / "counts.csv";
}

// The first layer's weights, as numbers of float64.
std::vector<double> first_weights(const std::string& path) {
  const Model model = load_model(path).to(DType::kFloat64);
  const ConstTensorView view = model.parameters().view("0.weight");
  std::vector<double> values;
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) values.push_back(element(view, i, j));
  }
  return values;
}

TEST(GlmCommand, PrintsWhatRPrintsOfDobsonsCounts) {
  const Directory directory;
  const std::string data = dobson_without_constant(directory), model = directory / "m.safetensors";
  const std::string text = run_ok(
      {"glm", "fit", "--data", data, "--target", "counts", "--family", "poisson", "--out", model});
  EXPECT_THAT(text, HasSubstr("9 rows, 4 features, target 'counts'\nfamily poisson, "));
  EXPECT_THAT(text, HasSubstr("(intercept)       3.04452      0.170899     17.815"));
  EXPECT_THAT(text, HasSubstr("outcome2        -0.454255      0.202171     -2.247     0.0246"));
  EXPECT_THAT(text, HasSubstr("outcome3        -0.292987      0.192742     -1.520     0.1285"));
  EXPECT_THAT(text, HasSubstr("AIC 56.76"));
  EXPECT_THAT(text, HasSubstr("deviance 5.12914 on 4 degrees of freedom, null deviance 10.5814 on "
                              "8\nwrote " +
                              model));
  // The group means are the fitted values of the first treatment: the margins of a table.
  const CsvTable table =
      parse_csv(run_ok({"predict", "--model", model, "--data", data, "--out", "-"}));
  EXPECT_NEAR(table.columns[0].numbers[0], 21, 1e-9);
  EXPECT_NEAR(table.columns[0].numbers[1], 40.0 / 3, 1e-9);
  EXPECT_THAT(run_ok({"evaluate", "--model", model, "--data", data}), HasSubstr("rmse"));
}

TEST(GlmCommand, TakesOffsetWeightsAndMethod) {
  const Directory directory;
  const std::string data = dobson_csv(directory);
  const std::vector<std::string> base{"glm",      "fit",    "--data",   data,
                                      "--target", "counts", "--family", "poisson",
                                      "--offset", "twice",  "--method", "lbfgs"};
  const auto json = fitted(base);
  EXPECT_EQ(json["family"], "poisson");
  EXPECT_TRUE(json["converged"]);
  EXPECT_EQ(json["coefficients"][0]["name"], "(intercept)");
  EXPECT_NEAR(json["coefficients"][0]["coefficient"].get<double>(), std::log(21.0) - 2, 1e-9);
  EXPECT_NEAR(json["deviance"].get<double>(), 5.1291, 5e-5);
  std::vector<std::string> alone = base;
  alone.emplace_back("--no-standard-errors");
  const auto coefficients = fitted(alone);
  EXPECT_EQ(coefficients["coefficients"][1]["coefficient"], json["coefficients"][1]["coefficient"]);
  EXPECT_TRUE(coefficients["coefficients"][1]["standard_error"].is_null());

  std::vector<std::string> weighted = base;
  weighted[9] = "outcome3";
  weighted.insert(weighted.end(), {"--weights", "twice"});
  EXPECT_EQ(fitted(weighted)["residual_degrees_of_freedom"], 14.0);  // 9 rows, each twice
  weighted.resize(weighted.size() - 2);
  // Without "outcome3" as a feature, and with "twice" constant as one: refused.
  const Outcome constant = run(weighted);
  EXPECT_EQ(constant.code, 1);
  EXPECT_THAT(constant.err, HasSubstr("feature 'twice' is constant or a linear combination"));
}

TEST(GlmCommand, FitsClassesAndFeaturesOfNetworks) {
  const Directory directory;
  const std::string data = CHAINRULE_TEST_DATA_DIR "/iris.csv";
  const Outcome separable = run({"glm", "fit", "--data", data});
  EXPECT_EQ(separable.code, 1);
  EXPECT_THAT(separable.err, HasSubstr("the likelihood has no maximum: features separate"));
  const std::string text = run_ok({"glm", "fit", "--data", data, "--l2", "1"});
  EXPECT_THAT(text, HasSubstr("family categorical, "));
  EXPECT_THAT(text, HasSubstr("class 2\n(intercept)"));
  EXPECT_THAT(text, HasSubstr("each class against class 0\n"));

  const std::string network = directory / "network.safetensors";
  const std::string out = directory / "glm.safetensors";
  run_ok({"train", "--data", data, "--model", "4-6-3", "--standardize", "--epochs", "30", "--out",
          network});
  for (const std::string layer : {"0", "1"}) {
    EXPECT_THAT(run_ok({"glm", "fit", "--data", data, "--model", network, "--layer", layer, "--l2",
                        "0.1", "--out", out}),
                HasSubstr("150 rows, 6 features, 3 classes"));
    EXPECT_EQ(load_model(out).layers().size(), layer == "0" ? 2U : 3U);
    EXPECT_EQ(first_weights(out), first_weights(network));
  }
  const auto json =
      nlohmann::json::parse(run_ok({"evaluate", "--model", out, "--data", data, "--json"}));
  EXPECT_GT(json["accuracy"].get<double>(), 0.96);
}

TEST(GlmCommand, EstimatesTheDispersionOfCounts) {
  const Directory directory;
  std::string csv = "x,y\n";
  for (int i = 0; i < 60; ++i)
    csv += std::to_string(i % 3) + "," + std::to_string(i * i % 23) + "\n";
  const std::string data = write_text(directory / "counts.csv", csv);
  const std::vector<std::string> base{"glm", "fit",      "--data",
                                      data,  "--family", "negative-binomial"};
  const auto best = fitted(base);
  const double dispersion = best["dispersion"].get<double>();
  EXPECT_GT(dispersion, 0.1);
  for (const double factor : {0.9, 1.1}) {
    std::vector<std::string> other = base;
    other.insert(other.end(), {"--dispersion", std::to_string(factor * dispersion)});
    const auto json = fitted(other);
    EXPECT_LT(json["log_likelihood"], best["log_likelihood"]);
  }
  EXPECT_NEAR(best["aic"].get<double>(), 6 - 2 * best["log_likelihood"].get<double>(), 1e-9);
}

TEST(GlmCommand, GivesPosteriors) {
  const Directory directory;
  const std::string out = directory / "bayes.safetensors";
  const std::string diabetes = CHAINRULE_TEST_DATA_DIR "/diabetes.csv";
  EXPECT_THAT(
      run_ok({"glm", "bayes", "--data", diabetes, "--standardize", "--optimize", "--out", out}),
      HasSubstr("442 rows, 10 features, target 'column_10'\nfamily gaussian\noptimized\n"));
  const CsvTable table =
      parse_csv(run_ok({"predict", "--model", out, "--data", diabetes, "--out", "-"}));
  ASSERT_EQ(table.names, (std::vector<std::string>{"mean", "variance"}));
  const auto posterior = load_posterior(out);
  ASSERT_TRUE(posterior);
  const auto& bayes = std::get<NeuralLinearModel>(*posterior);
  EXPECT_EQ(bayes.rows(), 442);
  EXPECT_NEAR(bayes.noise(), 2932.68, 100);  // the residual variance of least squares
  for (const double variance : table.columns[1].numbers) {
    EXPECT_GT(variance, 0);
    EXPECT_LT(variance, bayes.noise());
  }

  const std::string iris = CHAINRULE_TEST_DATA_DIR "/iris.csv";
  run_ok({"glm", "bayes", "--data", iris, "--optimize", "--restarts", "0", "--out", out});
  const CsvTable classes =
      parse_csv(run_ok({"predict", "--model", out, "--data", iris, "--out", "-"}));
  ASSERT_EQ(classes.names,
            (std::vector<std::string>{"class", "probability_0", "probability_1", "probability_2"}));
  for (std::size_t i = 0; i < 50; ++i) {
    EXPECT_EQ(classes.columns[0].numbers[i], 0);
    EXPECT_NEAR(classes.columns[1].numbers[i] + classes.columns[2].numbers[i] +
                    classes.columns[3].numbers[i],
                1, 1e-14);
  }
}

TEST(GlmCommand, SaysWhatIsWrong) {
  const std::string data = CHAINRULE_TEST_DATA_DIR "/iris.csv";
  const auto misuse = [&](const std::string& command, const std::vector<std::string>& more) {
    std::vector<std::string> all{"glm", command, "--data", data};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2);
    return outcome.err;
  };
  EXPECT_THAT(misuse("fit", {"--family", "weibull"}), HasSubstr("--family: unknown 'weibull'"));
  EXPECT_THAT(misuse("fit", {"--method", "sgd"}), HasSubstr("--method: unknown 'sgd'"));
  EXPECT_THAT(misuse("fit", {"--layer", "0"}), HasSubstr("--layer needs --model"));
  EXPECT_THAT(misuse("fit", {"--dispersion", "2"}), HasSubstr("for --family negative-binomial"));
  EXPECT_THAT(misuse("bayes", {"--noise", "-1"}), HasSubstr("--noise: -1, expected a finite"));
  EXPECT_THAT(misuse("bayes", {"--family", "poisson"}), HasSubstr("--family poisson: expected"));
  EXPECT_EQ(run({"glm"}).code, 2);
  const Outcome negative = run({"glm", "fit", "--data", data, "--family", "gamma"});
  EXPECT_EQ(negative.code, 1);
  EXPECT_THAT(negative.err, HasSubstr("target, row 1: 0, expected a number > 0"));
}

TEST(GlmCommand, ExplainsItselfWithExamples) {
  for (const std::string command : {"fit", "bayes"}) {
    EXPECT_THAT(run_ok({"glm", command, "--help"}),
                HasSubstr("Examples:\n  chainrule glm " + command));
  }
  EXPECT_THAT(run_ok({"gp", "evaluate", "--help"}),
              HasSubstr("Examples:\n  chainrule gp evaluate"));
}

// Closed forms for 1, 2 and 4 degrees of freedom, and published quantiles.
TEST(Probability, OfTails) {
  using tools::normal_p_value;
  using tools::student_p_value;
  EXPECT_NEAR(normal_p_value(1.959963984540054), 0.05, 1e-15);
  EXPECT_NEAR(normal_p_value(-3.2905267314918945), 0.001, 1e-16);
  for (const double t : {-30.0, -1.0, 0.0, 0.3, 2.0, 40.0}) {
    EXPECT_NEAR(student_p_value(t, 1), 1 - 2 * std::atan(std::abs(t)) / std::acos(-1.0), 1e-14);
    EXPECT_NEAR(student_p_value(t, 2), 1 - std::abs(t) / std::sqrt(2 + t * t), 1e-14);
    const double u = std::abs(t) / std::sqrt(4 + t * t);
    EXPECT_NEAR(student_p_value(t, 4), 1 - 1.5 * u + 0.5 * u * u * u, 1e-14);
  }
  EXPECT_NEAR(student_p_value(2.228138852, 10), 0.05, 1e-10);
  // With many degrees of freedom it is normal, to (t^3 + t) / (4 freedom) in t.
  EXPECT_NEAR(student_p_value(1.959963984540054 + 2.372271e-9, 1e9), 0.05, 1e-14);
  EXPECT_NEAR(student_p_value(2, 99999), student_p_value(2, 100001), 3e-9);
  EXPECT_NEAR(student_p_value(1.959963984540054 + 2.372271e-4, 1e4), 0.05, 1e-8);
}

}  // namespace
}  // namespace chainrule::testing
