// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/deep_kernel.hpp"
#include "chainrule/learn/gaussian_process_file.hpp"
#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/learn/load.hpp"
#include "markup.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::HasSubstr;

// Snelson's data as a table.
std::string snelson_csv(const Directory& directory) {
  std::ifstream inputs(CHAINRULE_TEST_DATA_DIR "/snelson_train_inputs.dat");
  std::ifstream outputs(CHAINRULE_TEST_DATA_DIR "/snelson_train_outputs.dat");
  std::string text = "x,y\n", x, y;
  while (inputs >> x && outputs >> y) text += x + "," + y + "\n";
  return write_text(directory / "snelson.csv", text);
}

TEST(GpCommand, FindsSnelsonsOptimumAndPredicts) {
  const Directory directory;
  const std::string data = snelson_csv(directory), gp = directory / "gp.safetensors";
  std::ifstream stream(CHAINRULE_TEST_DATA_DIR "/sklearn_reference.json");
  const auto expected = nlohmann::json::parse(stream)["E_gp_snelson"]["results"]["centred_targets"];
  const auto json = nlohmann::json::parse(
      run_ok({"gp", "fit", "--data", data, "--optimize", "--out", gp, "--json"}));
  EXPECT_EQ(json["rows"], 200);
  EXPECT_NEAR(json["log_marginal_likelihood"].get<double>(), expected["lml"].get<double>(), 1e-8);
  EXPECT_NEAR(json["hyperparameters"]["length_scale"].get<double>(), expected["l"].get<double>(),
              1e-4);
  const std::string points = write_text(directory / "points.csv", "x\n0\n3\n-1\n");
  const CsvTable table =
      parse_csv(run_ok({"gp", "predict", "--model", gp, "--data", points, "--out", "-"}));
  ASSERT_EQ(table.names, (std::vector<std::string>{"mean", "variance"}));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(table.columns[1].numbers[i], expected["var_at_0_3_m1"][i].get<double>(), 1e-5);
  }
  // The same data from Python had the mean of the targets subtracted.
  EXPECT_NEAR(table.columns[0].numbers[1] - table.columns[0].numbers[0],
              expected["mu_at_0_3_m1"][1].get<double>() - expected["mu_at_0_3_m1"][0].get<double>(),
              1e-5);
  EXPECT_EQ(to_text(load_gaussian_process(gp).gp.kernel()), json["kernel"]);
}

TEST(GpCommand, ClassifiesWithLearnedFeatures) {
  const Directory directory;
  const std::string model = directory / "iris.safetensors", gp = directory / "gp.safetensors";
  const std::string out = directory / "classes.csv";
  const std::string data = CHAINRULE_TEST_DATA_DIR "/iris.csv";
  run_ok({"train", "--data", data, "--model", "4-8-3", "--standardize", "--epochs", "30", "--out",
          model});
  EXPECT_THAT(run_ok({"gp", "fit", "--data", data, "--kernel", "learned", "--features", model,
                      "--noise", "0.1", "--out", gp}),
              HasSubstr("150 rows, 4 features, 3 classes"));
  EXPECT_EQ(run_ok({"gp", "predict", "--model", gp, "--data", data, "--out", out}),
            "wrote 150 predictions to " + out + "\n");
  const CsvTable table = read_csv(out);
  EXPECT_EQ(table.names,
            (std::vector<std::string>{"class", "mean_0", "mean_1", "mean_2", "variance"}));
  // The file has the features with it: the first 50 flowers are easily told.
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(table.columns[0].numbers[i], 0);
}

// Counted here from what gp predict writes.
TEST(GpCommand, EvaluatesClasses) {
  const Directory directory;
  const std::string gp = directory / "gp.safetensors", out = directory / "classes.csv";
  run_ok({"gp", "fit", "--data", "digits", "--rows", "200", "--kernel", "nngp_relu(1, 2, 0.1)",
          "--noise", "0.01", "--out", gp});
  run_ok({"gp", "predict", "--model", gp, "--data", "digits", "--out", out});
  const CsvTable table = read_csv(out);
  const Dataset test = load_digits().split_every(5).test;
  Index errors = 0;
  double squares = 0, density = 0;
  for (std::size_t i = 0; i < test.labels.size(); ++i) {
    errors += table.columns[0].numbers[i] == test.labels[i] ? 0 : 1;
    const double variance = table.columns[11].numbers[i] + 0.01;
    for (std::size_t k = 0; k < 10; ++k) {
      const double target = static_cast<std::size_t>(test.labels[i]) == k ? 0.9 : -0.1;
      const double square = std::pow(target - table.columns[1 + k].numbers[i], 2);
      squares += square;
      density += 0.5 * (square / variance + std::log(2 * std::acos(-1.0) * variance));
    }
  }
  EXPECT_LT(errors, 60);
  const auto json = nlohmann::json::parse(
      run_ok({"gp", "evaluate", "--model", gp, "--data", "digits", "--json"}));
  EXPECT_EQ(json["rows"], 360);
  EXPECT_EQ(json["errors"], errors);
  EXPECT_NEAR(json["accuracy"].get<double>(), 1 - static_cast<double>(errors) / 360, 1e-12);
  EXPECT_NEAR(json["rmse"].get<double>(), std::sqrt(squares / 3600), 1e-12);
  EXPECT_NEAR(json["negative_log_predictive_density"].get<double>(), density / 3600, 1e-10);
  EXPECT_THAT(run_ok({"gp", "evaluate", "--model", gp, "--data", "digits"}),
              HasSubstr(std::to_string(errors) + " errors\nrmse "));
}

TEST(GpCommand, EvaluatesRegressionByTheColumnsOfTheFit) {
  const Directory directory;
  const std::string data = snelson_csv(directory), gp = directory / "gp.safetensors";
  run_ok({"gp", "fit", "--data", data, "--out", gp});
  const std::string swapped = write_text(directory / "swapped.csv", "y,x\n0.5,1\n-0.5,2\n");
  const auto json =
      nlohmann::json::parse(run_ok({"gp", "evaluate", "--model", gp, "--data", swapped, "--json"}));
  const GaussianProcessFile file = load_gaussian_process(gp);
  const Tensor x = Tensor::from<double>({2, 1}, std::vector<double>{1, 2}),
               y = Tensor::from<double>({2, 1}, std::vector<double>{0.5, -0.5});
  EXPECT_NEAR(json["negative_log_predictive_density"].get<double>(),
              file.gp.negative_log_predictive_density(x, y), 1e-12);
  EXPECT_FALSE(json.contains("accuracy"));
  const Outcome unknown =
      run({"gp", "evaluate", "--model", gp, "--data", swapped, "--target", "z"});
  EXPECT_EQ(unknown.code, 1);
}

TEST(GpCommand, PrintsTheSameForAnyNumberOfThreads) {
  const Directory directory;
  const std::string data = snelson_csv(directory);
  const auto fitted = [&](const std::string& threads) {
    return run_ok({"gp", "fit", "--data", data, "--kernel", "2 * matern52(0.5) + linear",
                   "--threads", threads, "--json"});
  };
  EXPECT_EQ(fitted("1"), fitted("3"));
}

TEST(GpCommand, TakesTheFirstRows) {
  const Directory directory;
  EXPECT_THAT(run_ok({"gp", "fit", "--data", snelson_csv(directory), "--rows", "50"}),
              HasSubstr("50 rows, 1 features"));
}

// With enough inducing points the bound is as good as the likelihood, and so is what maximizes it.
TEST(GpCommand, FindsSnelsonsOptimumOnInducingPoints) {
  const Directory directory;
  const std::string data = snelson_csv(directory), gp = directory / "gp.safetensors";
  std::ifstream stream(CHAINRULE_TEST_DATA_DIR "/sklearn_reference.json");
  const auto expected = nlohmann::json::parse(stream)["E_gp_snelson"]["results"]["centred_targets"];
  const auto json = nlohmann::json::parse(run_ok(
      {"gp", "fit", "--data", data, "--inducing", "25", "--optimize", "--out", gp, "--json"}));
  EXPECT_EQ(json["inducing_points"], 25);
  EXPECT_LT(json["lower_bound"].get<double>(), expected["lml"].get<double>());
  EXPECT_NEAR(json["lower_bound"].get<double>(), expected["lml"].get<double>(), 1e-3);
  EXPECT_NEAR(json["hyperparameters"]["length_scale"].get<double>(), expected["l"].get<double>(),
              1e-2);
  const std::string points = write_text(directory / "points.csv", "x\n0\n3\n-1\n");
  const CsvTable table =
      parse_csv(run_ok({"gp", "predict", "--model", gp, "--data", points, "--out", "-"}));
  double mean = 0;  // of the targets, which the reference's predictions lack
  for (const double y : read_csv(data).columns[1].numbers) mean += y / 200;
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(table.columns[0].numbers[i], mean + expected["mu_at_0_3_m1"][i].get<double>(),
                1e-2);
    EXPECT_NEAR(table.columns[1].numbers[i], expected["var_at_0_3_m1"][i].get<double>(), 1e-3);
  }
  EXPECT_THAT(run_ok({"gp", "evaluate", "--model", gp, "--data", data}), HasSubstr("200 rows"));
  const std::string plot = directory / "gp.html";
  run_ok({"gp", "predict", "--model", gp, "--data", points, "--out", directory / "out.csv",
          "--plot", plot});
  const std::string page = read_text(plot);
  EXPECT_THAT(page, HasSubstr("inducing points"));
  EXPECT_THAT(page, HasSubstr("lower bound of the log marginal likelihood"));
}

// One value of the target is a number; of text or where classes were asked for it is too few.
TEST(GpCommand, TakesATargetOfOneValueAsANumber) {
  const Directory directory;
  const std::string data = write_text(directory / "same.csv", "1,2\n2,2\n3,2\n");
  EXPECT_THAT(run_ok({"gp", "fit", "--data", data}), HasSubstr("3 rows, 1 features, target"));
  const Outcome classes = run({"gp", "fit", "--data", data, "--task", "classification"});
  EXPECT_EQ(classes.code, 1);
  EXPECT_THAT(classes.err, HasSubstr("has 1 class, expected at least 2"));
}

TEST(GpCommand, TakesInducingPointsOfClasses) {
  const Directory directory;
  const std::string gp = directory / "gp.safetensors";
  EXPECT_THAT(run_ok({"gp", "fit", "--data", "digits", "--kernel", "nngp_relu(1, 2, 0.1)",
                      "--noise", "0.01", "--inducing", "150", "--out", gp}),
              HasSubstr("150 inducing points\n"));
  const auto json = nlohmann::json::parse(
      run_ok({"gp", "evaluate", "--model", gp, "--data", "digits", "--json"}));
  EXPECT_GT(json["accuracy"].get<double>(), 0.9);
  const Outcome deep =
      run({"gp", "fit", "--data", "digits", "--kernel", "deep", "--inducing", "5"});
  EXPECT_EQ(deep.code, 2);
  EXPECT_THAT(deep.err, HasSubstr("--inducing: a deep kernel is trained exactly"));
}

TEST(GpCommand, TrainsADeepKernelAndPredictsWithItsFile) {
  const Directory directory;
  const std::string data = snelson_csv(directory), gp = directory / "deep.safetensors";
  const std::vector<std::string> fit{"gp",      "fit",   "--data", data,     "--kernel", "deep",
                                     "--model", "1-6-2", "--ard",  "--seed", "3",        "--steps",
                                     "25",      "--out", gp,       "--json"};
  const auto json = nlohmann::json::parse(run_ok(fit));

  // The same by the library.
  const CsvTable table = read_csv(data);
  Tensor x({200, 1}, DType::kFloat64), y({200, 1}, DType::kFloat64);
  for (Index i = 0; i < 200; ++i) {
    x.as<double>()(i, 0) = table.columns[0].numbers[static_cast<std::size_t>(i)];
    y.as<double>()(i, 0) = table.columns[1].numbers[static_cast<std::size_t>(i)];
  }
  const Model model(mlp_layers("1-6-2", Tanh{}), Gaussian{}, DType::kFloat64, 3);
  const DeepKernelFit expected = fit_deep_kernel(model, x, y, {.steps = 25, .ard = true});
  EXPECT_EQ(json["losses"].get<std::vector<double>>(), expected.losses);
  EXPECT_EQ(json["log_marginal_likelihood"].get<double>(), expected.log_marginal_likelihood);
  EXPECT_EQ(json["kernel"], to_text(expected.gp.kernel()));

  // And the same from the file, to the last bit.
  const CsvTable predicted =
      parse_csv(run_ok({"gp", "predict", "--model", gp, "--data", data, "--out", "-"}));
  const GaussianProcessPrediction at = expected.gp.predict(x);
  for (Index i = 0; i < 200; ++i) {
    const auto row = static_cast<std::size_t>(i);
    EXPECT_EQ(predicted.columns[0].numbers[row], element(at.mean, i, 0));
    EXPECT_EQ(predicted.columns[1].numbers[row], element(at.variance, i, 0));
  }
}

TEST(GpCommand, ReportsThePredictiveDensityOfRowsHeldOut) {
  const Directory directory;
  const std::string data = snelson_csv(directory);
  const std::string text = run_ok({"gp", "fit", "--data", data, "--kernel", "deep", "--steps", "20",
                                   "--standardize", "--validation", "0.25"});
  EXPECT_THAT(text, HasSubstr("150 rows, 1 features"));
  EXPECT_THAT(text, HasSubstr("kernel variance * deep(rbf)"));
  EXPECT_THAT(text, HasSubstr("trained 20 steps, from "));
  EXPECT_THAT(text, HasSubstr("negative log predictive density "));
  const auto json = nlohmann::json::parse(
      run_ok({"gp", "fit", "--data", data, "--validation", "0.25", "--optimize", "--json"}));
  EXPECT_EQ(json["rows"], 150);
  // Of targets of variance 0.9 with noise of 0.08: better than not to know x.
  EXPECT_LT(json["validation_negative_log_predictive_density"].get<double>(), 0.6);
}

TEST(GpCommand, StartsADeepKernelFromATrainedNetwork) {
  const Directory directory;
  const std::string data = snelson_csv(directory), model = directory / "net.safetensors";
  run_ok({"train", "--data", data, "--model", "1-8-1", "--activation", "tanh", "--epochs", "2",
          "--out", model, "--quiet"});
  EXPECT_THAT(run_ok({"gp", "fit", "--data", data, "--kernel", "deep", "--features", model,
                      "--steps", "5"}),
              HasSubstr("trained 5 steps"));
  // Or leaves it as it is.
  EXPECT_THAT(run_ok({"gp", "fit", "--data", data, "--kernel", "2 * deep(rbf)", "--features", model,
                      "--optimize"}),
              HasSubstr("kernel variance * deep(rbf)"));
}

TEST(GpCommand, DrawsMeanAndBand) {
  const Directory directory;
  const std::string data = snelson_csv(directory), gp = directory / "gp.safetensors";
  const std::string page = directory / "gp.html";
  run_ok({"gp", "fit", "--data", data, "--standardize", "--out", gp});
  const std::string points = write_text(directory / "points.csv", "x\n0\n9\n");
  EXPECT_THAT(run_ok({"gp", "predict", "--model", gp, "--data", points, "--out",
                      directory / "p.csv", "--plot", page}),
              HasSubstr("wrote " + page));
  const Element root = parse_markup(read_text(page));
  ASSERT_EQ(root.all("svg").size(), 1U);
  EXPECT_EQ(root.all("polyline").size(), 1U);
  EXPECT_EQ(root.all("polygon").size(), 1U);
  EXPECT_EQ(root.all("circle").size(), 201U);  // the data, and one in the legend
  EXPECT_EQ(read_text(page).find("http"), std::string::npos);
  // The axis reaches to the inputs predicted, in their own units.
  bool eight = false;
  for (const Element* text : root.all("text")) eight = eight || text->text == "8";
  EXPECT_TRUE(eight);
}

TEST(GpCommand, SaysWhatIsWrong) {
  const Directory directory;
  const std::string data = snelson_csv(directory);
  const auto misuse = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all{"gp", "fit", "--data", data};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run(all);
    EXPECT_EQ(outcome.code, 2);
    return outcome.err;
  };
  EXPECT_THAT(misuse({"--kernel", "2 * rbff"}), HasSubstr("column 5: no kernel 'rbff'"));
  EXPECT_THAT(misuse({"--task", "ranking"}), HasSubstr("--task: got 'ranking'"));
  EXPECT_THAT(misuse({"--kernel", "learned"}),
              HasSubstr("column 1: learned needs a model: --features FILE"));
  EXPECT_THAT(misuse({"--noise", "0"}), HasSubstr("--noise: 0, expected a finite number > 0"));
  EXPECT_THAT(misuse({"--max-jitter", "nan"}),
              HasSubstr("--max-jitter: nan, expected a finite number >= 0"));
  EXPECT_THAT(misuse({"--steps", "5"}), HasSubstr("--steps is for --kernel deep"));
  EXPECT_THAT(misuse({"--kernel", "deep", "--model", "2-4-1"}), HasSubstr("reads 2 features"));
  EXPECT_THAT(misuse({"--kernel", "deep", "--activation", "cube"}), HasSubstr("--activation"));
  EXPECT_THAT(misuse({"--kernel", "deep", "--optimizer", "newton"}), HasSubstr("'newton'"));
  EXPECT_THAT(misuse({"--kernel", "deep(rbf)"}), HasSubstr("deep needs a model"));
  EXPECT_THAT(misuse({"--validation", "1"}), HasSubstr("expected 0 <= share < 1"));
  EXPECT_EQ(run({"gp"}).code, 2);
  const Outcome other = run({"gp", "predict", "--model", data, "--data", data, "--out", "-"});
  EXPECT_EQ(other.code, 1);
}

}  // namespace
}  // namespace chainrule::testing
