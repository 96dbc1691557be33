// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/model_file.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Arguments = std::vector<std::string>;

Arguments operator+(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

const Arguments kDigits{"train",    "--data",  "digits", "--model", "64-32-10",
                        "--epochs", "5",       "--seed", "7",       "--learning-rate",
                        "0.005",    "--batch", "64"};

const std::vector<double>& numbers(const CsvTable& table, std::string_view name) {
  return table.columns[static_cast<std::size_t>(find_column(table, name))].numbers;
}

// The number behind the word that begins a line.
double value_of(const std::string& text, const std::string& word) {
  for (const std::string& line : lines_of(text)) {
    if (line.rfind(word + " ", 0) == 0) return std::stod(line.substr(word.size() + 1));
  }
  ADD_FAILURE() << "no line '" << word << "' in:\n" << text;
  return NAN;
}

TEST(Train, DigitsRoundTrip) {
  Directory directory;
  const std::string model = directory / "digits.safetensors";
  const std::string predictions = directory / "predictions.csv";
  const std::string trained = run_ok(kDigits + Arguments{"--out", model});
  EXPECT_THAT(trained, HasSubstr("1437 rows, 64 features, 10 classes"));
  EXPECT_THAT(trained, HasSubstr("rows i % 5 != 0"));

  const std::string text = run_ok({"evaluate", "--model", model, "--data", "digits"});
  const auto json =
      nlohmann::json::parse(run_ok({"evaluate", "--model", model, "--data", "digits", "--json"}));
  run_ok({"predict", "--model", model, "--data", "digits", "--out", predictions});

  // Counted here from the predictions.
  const Dataset test = load_digits().split_every(5).test;
  const CsvTable table = read_csv(predictions);
  ASSERT_EQ(table.rows, test.rows());
  std::vector<std::vector<Index>> confusion(10, std::vector<Index>(10));
  double loss = 0;
  Index correct = 0;
  for (std::size_t i = 0; i < test.labels.size(); ++i) {
    const auto truth = static_cast<std::size_t>(test.labels[i]);
    const auto guess = static_cast<std::size_t>(numbers(table, "class")[i]);
    ++confusion[truth][guess];
    correct += truth == guess ? 1 : 0;
    loss -= std::log(numbers(table, "probability_" + std::to_string(truth))[i]);
  }
  const double accuracy = static_cast<double>(correct) / static_cast<double>(test.rows());
  EXPECT_GT(accuracy, 0.9);
  EXPECT_EQ(json.at("rows"), 360);
  EXPECT_EQ(json.at("accuracy"), accuracy);
  EXPECT_EQ(json.at("confusion"), confusion);
  EXPECT_NEAR(json.at("loss"), loss / static_cast<double>(test.rows()), 1e-5);
  EXPECT_NEAR(value_of(text, "accuracy"), accuracy, 5e-5);
  EXPECT_THAT(text, HasSubstr("confusion matrix"));
  EXPECT_THAT(trained, HasSubstr("test accuracy " + std::to_string(accuracy).substr(0, 4)));
}

TEST(Train, ThreadsDoNotChangeABit) {
  Directory directory;
  std::string model, predictions;
  for (const std::string threads : {"1", "2", "3", "8"}) {
    const std::string file = directory / ("model-" + threads);
    const std::string csv = directory / ("predictions-" + threads);
    run_ok(kDigits + Arguments{"--threads", threads, "--out", file, "--quiet"});
    run_ok({"predict", "--model", file, "--data", "digits", "--out", csv, "--threads", threads});
    if (threads == "1") {
      model = read_text(file);
      predictions = read_text(csv);
      ASSERT_FALSE(model.empty() || predictions.empty());
    }
    EXPECT_EQ(read_text(file), model) << threads << " threads";
    EXPECT_EQ(read_text(csv), predictions) << threads << " threads";
  }
}

TEST(Train, PredictionsAreThoseOfTheReloadedModelAndOfARowAlone) {
  Directory directory;
  const std::string model = directory / "model";
  run_ok(kDigits + Arguments{"--out", model});
  run_ok({"predict", "--model", model, "--data", "digits", "--out", directory / "all.csv"});
  const Tensor x = load_digits().split_every(5).test.x;
  Predictor predictor(load_model(model));
  const Tensor expected = predictor.predict(x);
  const CsvTable table = read_csv(directory / "all.csv");
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < 10; ++j) {
      ASSERT_EQ(numbers(table, "probability_" + std::to_string(j))[static_cast<std::size_t>(i)],
                element(expected.view(), i, j));
    }
  }
  CsvTable alone{.has_header = false, .rows = 1};
  for (Index j = 0; j < 64; ++j) alone.columns.push_back({.numbers = {element(x.view(), 17, j)}});
  write_csv(alone, directory / "alone-in.csv");
  run_ok({"predict", "--model", model, "--data", directory / "alone-in.csv", "--out",
          directory / "alone.csv"});
  EXPECT_EQ(lines_of(read_text(directory / "alone.csv")).at(1),
            lines_of(read_text(directory / "all.csv")).at(18));
}

// Three species apart in two measures; `order` gives the columns.
std::string flowers(const Arguments& order) {
  const Arguments species{"setosa", "versicolor", "red, \"wild\""};
  std::string text;
  for (std::size_t j = 0; j < order.size(); ++j) text += (j > 0 ? "," : "") + order[j];
  text += "\n";
  for (int i = 0; i < 90; ++i) {
    const int kind = i * 7 % 3;
    for (std::size_t j = 0; j < order.size(); ++j) {
      if (j > 0) text += ",";
      if (order[j] == "length") text += std::to_string(1000 + 40 * kind + i * 13 % 20);
      if (order[j] == "width")
        text += std::to_string(0.01 * (3 * (kind % 2) + 0.1 * (i * 11 % 17)));
      if (order[j] == "species")
        text += kind == 2 ? "\"red, \"\"wild\"\"\"" : species[static_cast<std::size_t>(kind)];
      if (order[j] == "note") text += std::to_string(i) + "n";
    }
    text += "\n";
  }
  return text;
}

TEST(Train, ColumnsAreFoundByNameInAnyOrder) {
  Directory directory;
  const std::string data =
      write_text(directory / "flowers.csv", flowers({"length", "width", "species"}));
  const std::string mixed =
      write_text(directory / "mixed.csv", flowers({"note", "width", "species", "length"}));
  const std::string unlabelled = write_text(directory / "new.csv", flowers({"width", "length"}));
  const std::string model = directory / "model";
  const std::string trained =
      run_ok({"train",           "--data",  data,        "--target",
              "species",         "--model", "2-16-3",    "--standardize",
              "--epochs",        "60",      "--batch",   "8",
              "--learning-rate", "0.02",    "--out",     model,
              "--validation",    "0.1",     "--history", directory / "history.csv"});
  EXPECT_THAT(trained, HasSubstr("81 rows, 2 features, 3 classes; 9 more for validation"));
  EXPECT_THAT(trained, HasSubstr("epoch 60/60 loss "));

  const auto json =
      nlohmann::json::parse(run_ok({"evaluate", "--model", model, "--data", mixed, "--json"}));
  EXPECT_GT(json.at("accuracy"), 0.95);
  EXPECT_THAT(json.at("classes"), ElementsAre("red, \"wild\"", "setosa", "versicolor"));

  for (const auto& file : {data, mixed, unlabelled}) {
    run_ok({"predict", "--model", model, "--data", file, "--out", file + ".out"});
  }
  const std::string predictions = read_text(data + ".out");
  EXPECT_EQ(run_ok({"predict", "--model", model, "--data", data, "--out", "-"}), predictions);
  EXPECT_EQ(read_text(mixed + ".out"), predictions);
  EXPECT_EQ(read_text(unlabelled + ".out"), predictions);
  EXPECT_EQ(lines_of(predictions).at(0),
            "class,\"probability_red, \"\"wild\"\"\",probability_setosa,probability_versicolor");

  const CsvTable history = read_csv(directory / "history.csv");
  EXPECT_EQ(history.rows, 60);
  EXPECT_THAT(history.names,
              ElementsAre("epoch", "loss", "learning_rate", "seconds", "samples_per_second",
                          "validation_loss", "validation_accuracy"));
  EXPECT_LT(numbers(history, "loss").back(), numbers(history, "loss").front());

  const std::string short_ = write_text(directory / "short.csv", flowers({"note", "length"}));
  const Outcome missing =
      run({"predict", "--model", model, "--data", short_, "--out", data + ".x"});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, HasSubstr("'width'"));
}

TEST(Train, RegressionReachesLeastSquares) {
  Directory directory;
  const std::string data = CHAINRULE_TEST_DATA_DIR "/diabetes.csv";
  const std::string model = directory / "model";
  run_ok({"train", "--data", data, "--model", "10-1", "--standardize", "--dtype", "float64",
          "--epochs", "1500", "--batch", "442", "--learning-rate", "1", "--schedule", "cosine",
          "--out", model, "--quiet"});
  // Efron et al. 2004: residual variance of the full least-squares fit is 2859.69.
  const double least = std::sqrt(2859.69);
  const std::string text = run_ok({"evaluate", "--model", model, "--data", data});
  EXPECT_GT(value_of(text, "rmse"), least - 0.01);
  EXPECT_LT(value_of(text, "rmse"), least + 0.5);

  // Without header, with and without the target column.
  CsvTable table = read_csv(data);
  ASSERT_FALSE(table.has_header);
  table.columns.pop_back();
  write_csv(table, directory / "features.csv");
  run_ok({"predict", "--model", model, "--data", data, "--out", directory / "with.csv"});
  run_ok({"predict", "--model", model, "--data", directory / "features.csv", "--out",
          directory / "without.csv"});
  EXPECT_EQ(read_text(directory / "with.csv"), read_text(directory / "without.csv"));
  const CsvTable means = read_csv(directory / "with.csv");
  EXPECT_THAT(means.names, ElementsAre("mean"));
  EXPECT_EQ(means.rows, 442);
}

// Counts 1, 2, 3 at x = 0 and 6, 7, 8, 7 at x = 1, with exposures log 1 and log 2.
std::string counts(bool exposure) {
  std::string text = exposure ? "x,log_exposure,count\n" : "x,count\n";
  const std::vector<std::pair<int, int>> rows{{0, 1}, {0, 2}, {0, 3}, {1, 6},
                                              {1, 7}, {1, 8}, {1, 7}};
  for (const auto& [x, count] : rows) {
    text += std::to_string(x) + "," + (exposure ? "0.69314718055994529," : "") +
            std::to_string(count) + "\n";
  }
  return text;
}

TEST(Train, PoissonCountsFitTheGroupMeans) {
  Directory directory;
  const Arguments common{"--model",    "1-1",     "--dtype", "float64",         "--epochs",
                         "4000",       "--batch", "7",       "--learning-rate", "0.05",
                         "--schedule", "cosine",  "--quiet"};
  for (const std::string loss : {"poisson", "negative-binomial", "gamma"}) {
    SCOPED_TRACE(loss);
    for (const bool exposure : {false, true}) {
      const std::string data = write_text(directory / "counts.csv", counts(exposure));
      const std::string model = directory / "model";
      const Arguments offset = exposure ? Arguments{"--offset", "log_exposure"} : Arguments{};
      run_ok(Arguments{"train", "--data", data, "--loss", loss, "--out", model} + common + offset);
      run_ok(Arguments{"predict", "--model", model, "--data", data, "--out", directory / "p.csv"} +
             offset);
      const CsvTable table = read_csv(directory / "p.csv");
      // With a log link and a parameter for each group, the fitted means are the groups'.
      EXPECT_NEAR(numbers(table, "mean").front(), 2, 0.01);
      EXPECT_NEAR(numbers(table, "mean").back(), 7, 0.03);
      const std::string text =
          run_ok(Arguments{"evaluate", "--model", model, "--data", data} + offset);
      EXPECT_NEAR(value_of(text, "rmse"), std::sqrt(4.0 / 7), 0.01);
    }
  }
}

TEST(Train, BundledDataNeedsNoModel) {
  const std::string text = run_ok({"train", "--data", "digits", "--epochs", "1"});
  // 64 x 64 + 64 and 64 x 10 + 10
  EXPECT_THAT(text, HasSubstr("model  64-64-10, relu, loss softmax, float32, 4810 parameters"));
  const std::string help = run_ok({"train", "--help"});
  EXPECT_THAT(help, HasSubstr("784-256-128-10"));
  Directory directory;
  const std::string data = write_text(directory / "d.csv", "a,y\n1,0.5\n2,1.5\n");
  const Outcome outcome = run({"train", "--data", data});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--model is required"));
}

TEST(Train, TheModelRemembersItsOffset) {
  Directory directory;
  const std::string data = write_text(directory / "counts.csv", counts(true));
  const std::string model = directory / "model";
  run_ok({"train", "--data", data, "--loss", "poisson", "--offset", "1", "--model", "1-1",
          "--epochs", "3", "--out", model});
  const auto predict = [&](const std::string& table, const Arguments& rest) {
    run_ok(Arguments{"predict", "--model", model, "--data", table, "--out", directory / "p.csv"} +
           rest);
    return numbers(read_csv(directory / "p.csv"), "mean");
  };
  const std::vector<double> means = predict(data, {});
  EXPECT_EQ(predict(data, {"--offset", "log_exposure"}), means);
  // The same rows with an offset of 0 beside: the exposure was 2.
  const std::string zero =
      write_text(directory / "zero.csv", "x,log_exposure,zero\n0,0.69314718055994529,0\n");
  EXPECT_NEAR(predict(zero, {"--offset", "zero"}).front(), means.front() / 2, 1e-5);
  const Arguments evaluate{"evaluate", "--model", model, "--data", data};
  EXPECT_EQ(run_ok(evaluate), run_ok(evaluate + Arguments{"--offset", "log_exposure"}));

  const std::string without = write_text(directory / "without.csv", counts(false));
  for (const Arguments& command :
       {Arguments{"evaluate", "--model", model, "--data", without},
        Arguments{"predict", "--model", model, "--data", without, "--out", directory / "p.csv"}}) {
    const Outcome outcome = run(command);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, HasSubstr("no column 'log_exposure'"));
    EXPECT_THAT(outcome.err, HasSubstr("wanted as the offset"));
  }
}

TEST(Train, SampleWeightsSelect) {
  Directory directory;
  const std::string data =
      write_text(directory / "w.csv", "weight,x,y\n1,0,1.5\n1,0,2.5\n0,0,100.25\n2,0,5\n");
  const std::string model = directory / "model";
  run_ok({"train", "--data", data, "--weights", "weight", "--loss", "mse", "--model", "1-1",
          "--epochs", "800", "--learning-rate", "0.05", "--schedule", "cosine", "--dtype",
          "float64", "--out", model});
  run_ok({"predict", "--model", model, "--data", data, "--out", directory / "p.csv"});
  EXPECT_NEAR(numbers(read_csv(directory / "p.csv"), "mean").front(), 3.5, 0.01);
}

TEST(Train, CountsOfOneOutputAreNumbers) {
  Directory directory;
  std::string text;
  for (int i = 0; i < 12; ++i) text += std::to_string(i) + "," + std::to_string(i % 3) + "\n";
  const std::string data = write_text(directory / "d.csv", text);
  EXPECT_THAT(run_ok({"train", "--data", data, "--model", "1-1", "--epochs", "1"}),
              HasSubstr("loss mse"));
  EXPECT_THAT(run_ok({"train", "--data", data, "--model", "1-3", "--epochs", "1"}),
              HasSubstr("loss softmax"));
}

TEST(Train, InterruptedItSavesAndSaysSo) {
  Directory directory;
  const std::string model = directory / "model";
  Process process({"train", "--data", "digits", "--model", "64-10", "--epochs", "100000000",
                   "--out", model, "--history", directory / "history.csv"});
  for (int i = 0; i < 600 && process.output_so_far().find("epoch 2/") == std::string::npos; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  process.send(SIGINT);
  const Outcome outcome = process.wait();
  EXPECT_EQ(outcome.code, 130) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("interrupted after "));
  EXPECT_THAT(outcome.out, HasSubstr("saved " + model));
  EXPECT_GE(read_csv(directory / "history.csv").rows, 2);
  EXPECT_GT(value_of(run_ok({"evaluate", "--model", model, "--data", "digits"}), "accuracy"), 0.5);
}

}  // namespace
}  // namespace chainrule::testing
