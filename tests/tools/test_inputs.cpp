// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "chainrule/learn/array_files.hpp"
#include "chainrule/learn/model_file.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

using Arguments = std::vector<std::string>;

void expect_error(const Arguments& arguments, const std::string& fragment) {
  SCOPED_TRACE(::testing::PrintToString(arguments));
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment)));
  EXPECT_EQ(lines_of(outcome.err).size(), 1U) << outcome.err;
}

// An IDX file of unsigned bytes.
std::string idx(const std::vector<int>& dimensions, std::string_view bytes) {
  std::string text("\0\0\x08", 3);
  text += static_cast<char>(dimensions.size());
  for (const int dimension : dimensions) {
    text += std::string(3, '\0') + static_cast<char>(dimension);
  }
  return text + std::string(bytes);
}

class Inputs : public ::testing::Test {
 protected:
  std::string file(const std::string& name, std::string_view text) {
    return write_text(directory_ / name, text);
  }

  Arguments train(const std::string& data, const std::string& model) {
    return {"train", "--data", data, "--model", model};
  }

  Directory directory_;
};

TEST_F(Inputs, BrokenDataIsAClearError) {
  const auto broken = [&](const std::string& name, std::string_view text) {
    return train(file(name, text), "2-2");
  };
  expect_error(train(directory_ / "none.csv", "2-2"), "none.csv");
  expect_error(train(directory_ / "", "2-2"), "directory");
  expect_error(broken("empty.csv", ""), "empty.csv");
  expect_error(broken("header.csv", "a,b,c\n"), "header.csv: no data rows, only a header");
  expect_error(broken("ragged.csv", "a,b,c\n1,2,x\n1,2\n"), "line 3");
  expect_error(broken("quote.csv", "a,b,c\n1,\"2,x\n"), "quot");
  expect_error(broken("hole.csv", "a,b,c\n1,,x\n2,1,y\n"), "line 2");
  expect_error(broken("nan.csv", "a,b,c\n1,nan,x\n2,1,y\n"), "'nan' is not a finite number");
  expect_error(broken("text.csv", "a,b,c\n1,2,x\n2,green,y\n"), "'green' is not a finite number");
  expect_error(broken("one.csv", "c\nx\ny\n"), "no feature column");
  expect_error(broken("bad.gz", "\x1f\x8b\x08 no gzip"), "gzip");
  expect_error(broken("bytes.csv", "a,b,c\n1,2,\xff\xfe\n"), "UTF-8");
  expect_error(broken("bad.npy", "\x93NUMPY\x01"), "bad.npy");
  expect_error(broken("empty.npy", ""), "empty.npy: the file is empty");
  write_npy(Tensor({0, 3}, DType::kFloat64), directory_ / "no_rows.npy");
  expect_error(train(directory_ / "no_rows.npy", "2-1"), "no_rows.npy: no rows");
  Tensor matrix({2, 3}, DType::kFloat64);
  for (Index i = 0; i < 6; ++i) matrix.as<double>()(i / 3, i % 3) = static_cast<double>(i % 3);
  matrix.as<double>()(1, 1) = NAN;
  write_npy(matrix, directory_ / "nan.npy");
  expect_error(train(directory_ / "nan.npy", "2-1"), "row 2, column 2");
}

// Rows of numbers, and a header of numbers: --header decides.
TEST_F(Inputs, TheHeaderIsGuessedOrGiven) {
  const std::string years = file("years.csv", "2020,2021,2022\n1,2,0.5\n3,1,1.5\n2,2,2.5\n");
  const std::string model = directory_ / "model", p = directory_ / "p.csv";
  const auto with = [](Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  EXPECT_THAT(run_ok(train(years, "2-1")), HasSubstr("4 rows, 2 features"));
  EXPECT_THAT(run_ok(with(train(years, "2-1"), {"--header", "yes", "--out", model})),
              HasSubstr("3 rows, 2 features, target '2022'"));
  EXPECT_THAT(run_ok({"evaluate", "--model", model, "--data", years, "--header", "yes"}),
              HasSubstr(": 3 rows"));
  EXPECT_THAT(run_ok({"predict", "--model", model, "--data", years, "--out", p, "--header", "yes"}),
              HasSubstr("wrote 3 predictions"));
  run_ok({"gradcheck", "--model", model, "--data", years, "--header", "yes"});
  const std::string names = file("names.csv", "a,b,y\n1,2,0.5\n3,1,1.5\n");
  expect_error(with(train(names, "2-1"), {"--header", "no"}), "'a' is not a finite number");
  expect_error(with(train(file("one.csv", "1,2,3\n"), "2-1"), {"--header", "yes"}),
               "one.csv: no data rows, only a header");
}

TEST_F(Inputs, ImagesWithoutLabelsArePredicted) {
  // Three images of 2 x 2 pixels, and their labels 0, 1, 0.
  constexpr std::string_view kPixels("\x00\xff\x80\x01\x40\x41\x42\x43\xff\xfe\xfd\xfc", 12);
  const std::string images = file("some-images-idx3-ubyte", idx({3, 2, 2}, kPixels));
  file("some-labels-idx1-ubyte", idx({3}, std::string_view("\0\1\0", 3)));
  const std::string model = directory_ / "model";
  Arguments arguments = train(images, "4-2");
  arguments.insert(arguments.end(), {"--out", model});
  run_ok(arguments);
  const std::string alone = file("pictures", read_text(images));
  EXPECT_THAT(run_ok({"predict", "--model", model, "--data", alone, "--out", directory_ / "p.csv"}),
              HasSubstr("wrote 3 predictions"));
  ASSERT_EQ(lines_of(read_text(directory_ / "p.csv")).size(), 4U);
  EXPECT_THAT(lines_of(read_text(directory_ / "p.csv"))[0], StartsWith("class,probability_0"));
  expect_error({"predict", "--model", model, "--data", file("wide", idx({1, 6}, "abcdef")), "--out",
                directory_ / "p.csv"},
               "wide: 6 columns, expected 4 features");
  expect_error({"predict", "--model", model, "--data", file("cut", idx({3, 2, 2}, "abc")), "--out",
                directory_ / "p.csv"},
               "cut: ");
}

TEST_F(Inputs, OutputsDoNotOverwriteInputs) {
  const std::string data = file("d.csv", "a,y\n1,0.5\n2,1.5\n");
  Arguments arguments = train(data, "1-1");
  arguments.insert(arguments.end(), {"--out", data});
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--out " + data + ": that is also the file of --data"));
  EXPECT_EQ(run({"predict", "--model", data, "--data", "digits", "--out", data}).code, 2);
}

TEST_F(Inputs, DamagedStandardizersNameTheFile) {
  Model model{Linear{2, 1}, Gaussian{}};
  model.schema().standardizer = Standardizer{.mean = {0.5, 1}, .scale = {2, 3}};
  const std::string path = directory_ / "model";
  save(model, path);
  const std::string bytes = read_text(path);
  // Numbers of the same length, so that the rest of the file stays where it is.
  const auto damaged = [&](const std::string& from, const std::string& to) {
    std::string copy = bytes;
    EXPECT_EQ(from.size(), to.size());
    const std::size_t at = copy.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return file("damaged", copy.replace(at, from.size(), to));
  };
  const std::string data = file("d.csv", "1,2,0.5\n3,1,1.5\n");
  const auto expect_damage = [&](const std::string& from, const std::string& to,
                                 const std::string& fragment) {
    const std::string damage = damaged(from, to);
    for (const std::string command : {"evaluate", "gradcheck"}) {
      expect_error({command, "--model", damage, "--data", data}, damage + ": ");
      expect_error({command, "--model", damage, "--data", data}, fragment);
    }
  };
  expect_damage("[2.0,3.0]", "[2.0,0.0]", "the scale of column 1 is 0, expected a number > 0");
  expect_damage("[2.0,3.0]", "[-2.,3.0]", "");
  expect_damage("[2.0,3.0]", "[-2,3.00]", "the scale of column 0 is -2, expected a number > 0");
  expect_damage("[2.0,3.0]", "[NaN,3.0]", "damaged");
  expect_damage("[2.0,3.0]", "[null, 3]", "null");
  expect_damage("[2.0,3.0]", "[1e999,3]", "damaged");
  expect_damage("[2.0,3.0]", "[2.000  ]", "2 means and 1 scales");
  expect_damage("[0.5,1.0]", "[0.50   ]", "1 means and 2 scales");
}

TEST_F(Inputs, ATargetOfOneClassIsAnError) {
  for (const std::string model : {"1-1", "1-2"}) {
    expect_error(train(file("text.csv", "a,kind\n1,x\n2,x\n"), model),
                 "the target 'kind' has 1 class, expected at least 2");
    expect_error(train(file("zeros.csv", "a,kind\n1,0\n2,0\n"), model), "1 class");
  }
}

TEST_F(Inputs, OptionsThatDoNotFitTheDataAreErrors) {
  expect_error(train("digits", "63-10"), "expected 64");
  expect_error(train("digits", "64-9"), "expected 10, the classes of digits");
  expect_error(train("digits", "64-99999999999-10"), "");
  const std::string data = file("d.csv", "a,b,kind\n1,2,x\n3,1,y\n2,2,z\n");
  expect_error(train(data, "2-1"), "expected 3, the classes of");
  expect_error(train(data, "3-3"), "expected 2, the features of");
  Arguments arguments = train(data, "2-1");
  arguments.insert(arguments.end(), {"--loss", "binary"});
  expect_error(arguments, "3 classes");
  arguments.back() = "mse";
  expect_error(arguments, "'x' is not a finite number");
  arguments = train(data, "2-3");
  arguments.insert(arguments.end(), {"--target", "colour"});
  expect_error(arguments, "no column 'colour'");
  arguments = train("digits", "64-1");
  arguments.insert(arguments.end(), {"--loss", "hinge"});
  expect_error(arguments, "10 classes");
}

TEST_F(Inputs, WhatCannotBeWrittenIsFoundBeforeTraining) {
  for (const std::string option : {"--out", "--history"}) {
    for (const std::string& path :
         {directory_ / "no/where", directory_ / "", std::string("/proc/x")}) {
      Arguments arguments = train("digits", "64-10");
      arguments.insert(arguments.end(), {option, path});
      expect_error(arguments, path);
      EXPECT_EQ(run(arguments).out, "");
    }
  }
  Arguments arguments = train("digits", "64-10");
  arguments.insert(arguments.end(), {"--out", directory_ / "model"});
  run_ok(arguments);
  EXPECT_TRUE(std::filesystem::exists(directory_ / "model"));
  for (const auto& entry : std::filesystem::directory_iterator(directory_ / "")) {
    EXPECT_EQ(entry.path().filename(), "model") << "left behind";
  }
}

TEST_F(Inputs, PredictionsGoStraightToDescriptorsAndThroughLinks) {
  const std::string model = directory_ / "model";
  Arguments arguments = train("digits", "64-10");
  arguments.insert(arguments.end(), {"--epochs", "1", "--out", model});
  run_ok(arguments);
  const auto predict = [&](const std::string& out) {
    return run_ok({"predict", "--model", model, "--data", "digits", "--out", out});
  };
  const std::string path = directory_ / "p.csv";
  predict(path);
  const std::string expected = read_text(path);
  ASSERT_EQ(lines_of(expected).size(), 361U);
  // Here standard output is a file; the predictions are all that comes.
  const std::string link = directory_ / "link.csv";
  std::filesystem::create_symlink("/dev/stdout", link);
  for (const std::string& out : {std::string("/dev/stdout"), std::string("/dev/fd/1"),
                                 std::string("/proc/self/fd/1"), link}) {
    EXPECT_EQ(predict(out), expected) << out;
  }
  expect_error({"predict", "--model", model, "--data", "digits", "--out", "/dev/fd/987"}, "987");
  EXPECT_EQ(predict("/dev/null"), "");

  // A link whose directory has no room for a file beside it, to a file that is written.
  std::filesystem::create_directory(directory_ / "closed");
  std::filesystem::create_symlink(directory_ / "target.csv", directory_ / "closed/link.csv");
  std::filesystem::permissions(directory_ / "closed", std::filesystem::perms::owner_read |
                                                          std::filesystem::perms::owner_exec);
  predict(directory_ / "closed/link.csv");
  std::filesystem::permissions(directory_ / "closed", std::filesystem::perms::owner_all);
  EXPECT_TRUE(std::filesystem::is_symlink(directory_ / "closed/link.csv"));
  EXPECT_EQ(read_text(directory_ / "target.csv"), expected);
}

TEST_F(Inputs, TrainingThatDivergesStopsWithTheBatch) {
  std::string text = "a,y\n";
  for (int i = 1; i < 40; ++i)
    text += std::to_string(1000.5 * i) + "," + std::to_string(0.25 + i) + "\n";
  Arguments arguments = train(file("d.csv", text), "1-1");
  arguments.insert(arguments.end(), {"--optimizer", "sgd", "--learning-rate", "1", "--batch", "1",
                                     "--out", directory_ / "model"});
  expect_error(arguments, "epoch 1, batch ");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "model"));
}

TEST_F(Inputs, NumbersThatDoNotFitTheModelAreErrors) {
  const std::string model = directory_ / "model";
  Arguments arguments = train(file("d.csv", "a,b,y\n1,2,0.5\n3,1,1.5\n2,2,2.5\n"), "2-1");
  arguments.insert(arguments.end(), {"--out", model});
  run_ok(arguments);
  const std::string p = directory_ / "p.csv";
  const std::string big = file("big.csv", "a,b,y\n1,2,0.5\n3,1e39,1.5\n");
  expect_error(train(big, "2-1"), "features, row 2, column 2: 1e+39 does not fit float32");
  expect_error({"evaluate", "--model", model, "--data", big}, "row 2, column 2: 1e+39");
  expect_error({"predict", "--model", model, "--data", big, "--out", p}, "row 2, column 2: 1e+39");
  EXPECT_FALSE(std::filesystem::exists(p));
  expect_error({"evaluate", "--model", model, "--data", file("t.csv", "a,b,y\n1,2,1e39\n")},
               "target, row 1, column 1: 1e+39 does not fit float32");
  // Squared, the error of row 3 is too large.
  expect_error({"evaluate", "--model", model, "--data",
                file("e.csv", "a,b,y\n1,2,0.5\n1,2,1\n1,2,1e30\n1,2,2\n1,2,3\n")},
               "row 3: the loss is inf");
}

TEST_F(Inputs, PredictionsThatAreNotFiniteAreErrors) {
  const std::string model = directory_ / "model";
  Model exponential({Linear{.in = 1, .out = 1, .bias = false}}, Poisson{}, DType::kFloat32, 1);
  Tensor weight({1, 1});
  weight.as<float>()(0, 0) = 1;
  copy_values(weight.view(), exponential.parameters().mutable_view(0));
  save(exponential, model);
  // exp(100) exceeds float32.
  const std::string data = file("d.csv", "a,y\n1,2\n2,3\n100,4\n");
  expect_error({"predict", "--model", model, "--data", data, "--out", directory_ / "p.csv"},
               "predictions: row 3, column 1 is inf");
  EXPECT_FALSE(std::filesystem::exists(directory_ / "p.csv"));
  expect_error({"evaluate", "--model", model, "--data", data}, "row 3: the loss is");
}

TEST_F(Inputs, DamagedModelsAreClearErrors) {
  const std::string model = directory_ / "model";
  Arguments arguments = train("digits", "64-10");
  arguments.insert(arguments.end(), {"--out", model});
  run_ok(arguments);
  const std::string bytes = read_text(model);
  const auto expect_both = [&](const std::string& path, const std::string& fragment) {
    expect_error({"evaluate", "--model", path, "--data", "digits"}, fragment);
    expect_error({"predict", "--model", path, "--data", "digits", "--out", directory_ / "p.csv"},
                 fragment);
    EXPECT_FALSE(std::filesystem::exists(directory_ / "p.csv"));
  };
  expect_both(directory_ / "none", "none");
  expect_both(file("empty", ""), "empty");
  expect_both(file("short", bytes.substr(0, bytes.size() / 2)), "short");
  expect_both(file("long", "\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes.substr(8)), "long");
  expect_both(file("text.csv", "a,b\n1,2\n3,4\n"), "text.csv: a header of ");
  expect_both(directory_ / "text.csv", "is it a safetensors file?");
  std::string newer = bytes;
  const std::size_t at = newer.find("format_version");
  ASSERT_NE(at, std::string::npos);
  const std::size_t digit = newer.find('1', at);
  newer[digit] = '9';
  expect_both(file("newer", newer), "version 9");

  const std::string wide = file("wide.csv", "a,b,c\n1,2,3\n4,5,6\n");
  expect_error({"predict", "--model", model, "--data", wide, "--out", directory_ / "p.csv"}, "64");
  expect_error({"evaluate", "--model", model, "--data", wide}, "");
}

}  // namespace
}  // namespace chainrule::testing
