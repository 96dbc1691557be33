// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/gaussian_process_file.hpp"
#include "chainrule/learn/kernel_text.hpp"
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
  EXPECT_THAT(misuse({"--kernel", "learned"}), HasSubstr("learned needs a model"));
  EXPECT_EQ(run({"gp"}).code, 2);
  const Outcome negative = run({"gp", "fit", "--data", data, "--noise", "-1"});
  EXPECT_EQ(negative.code, 1);
  EXPECT_THAT(negative.err, HasSubstr("got noise -1"));
  const Outcome other = run({"gp", "predict", "--model", data, "--data", data, "--out", "-"});
  EXPECT_EQ(other.code, 1);
}

}  // namespace
}  // namespace chainrule::testing
