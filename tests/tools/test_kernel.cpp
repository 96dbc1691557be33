// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numbers>
#include <sstream>

#include "chainrule/learn/deep_kernel.hpp"
#include "chainrule/learn/infinite_width.hpp"
#include "chainrule/learn/model_file.hpp"
#include "markup.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

using Arguments = std::vector<std::string>;
using Rows = std::vector<std::vector<double>>;

Rows numbers_of(const std::string& csv) {
  Rows rows;
  for (const std::string& line : lines_of(csv)) {
    auto& row = rows.emplace_back();
    std::stringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(std::stod(cell));
  }
  return rows;
}

class KernelCommand : public ::testing::Test {
 protected:
  Directory directory_;
  const std::string x_ = write_text(directory_ / "x.csv", "1,0\n3,4\n-2,0.5\n");
  const std::string out_ = directory_ / "k.csv";

  Rows kernel(const Arguments& more) {
    Arguments arguments{"kernel"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.insert(arguments.end(), {"--data", x_, "--out", out_});
    run_ok(arguments);
    return numbers_of(read_text(out_));
  }
};

const Tensor& inputs() {
  static const Tensor x = Tensor::from<double>({3, 2}, std::vector<double>{1, 0, 3, 4, -2, 0.5});
  return x;
}

void expect_bits(const Rows& rows, const Tensor& expected) {
  ASSERT_EQ(static_cast<Index>(rows.size()), expected.rows());
  for (Index i = 0; i < expected.rows(); ++i) {
    const auto& row = rows[static_cast<std::size_t>(i)];
    ASSERT_EQ(static_cast<Index>(row.size()), expected.columns());
    for (Index j = 0; j < expected.columns(); ++j) {
      EXPECT_EQ(row[static_cast<std::size_t>(j)], element(expected, i, j)) << i << " " << j;
    }
  }
}

TEST_F(KernelCommand, OneReluLayerByHand) {
  const Rows k = kernel({"nngp", "--weight-variance", "2", "--bias-variance", "0"});
  // K0 = <x, z>: 1, 25 and 3 / 5 for the cosine; then sqrt(25) J(acos 0.6) / pi.
  const double angle = std::acos(0.6);
  const double pi = std::numbers::pi;
  EXPECT_NEAR(k[0][0], 1, 1e-15);
  EXPECT_NEAR(k[1][1], 25, 1e-14);
  EXPECT_NEAR(k[0][1], 5 / pi * (std::sin(angle) + (pi - angle) * 0.6), 1e-14);
  EXPECT_EQ(k[0][1], k[1][0]);
}

TEST_F(KernelCommand, WritesWhatTheLibraryComputes) {
  for (const std::string& name : DualActivation::names()) {
    const InfiniteNetwork network(3, DualActivation::named(name, 0.1),
                                  {.weight = 1.6, .bias = 0.1});
    Arguments options{"--depth",           "3",   "--activation",    name,
                      "--weight-variance", "1.6", "--bias-variance", "0.1"};
    if (name == "leaky_relu") options.insert(options.end(), {"--negative-slope", "0.1"});
    Arguments nngp_options = options, ntk_options = options;
    nngp_options.insert(nngp_options.begin(), "nngp");
    ntk_options.insert(ntk_options.begin(), "ntk");
    expect_bits(kernel(nngp_options), nngp(network, inputs()));
    expect_bits(kernel(ntk_options), ntk(network, inputs()));
  }
}

TEST_F(KernelCommand, AgainstOtherRowsAndToStandardOutput) {
  const std::string other = write_text(directory_ / "z.csv", "a,b\n0.5,1\n1,0\n");
  const Tensor z = Tensor::from<double>({2, 2}, std::vector<double>{0.5, 1, 1, 0});
  const InfiniteNetwork network(1, DualActivation::relu(), {});
  const Tensor expected = ntk(network, inputs(), z);
  expect_bits(kernel({"ntk", "--other", other}), expected);
  expect_bits(numbers_of(run_ok({"kernel", "ntk", "--data", x_, "--other", other, "--out", "-"})),
              expected);
}

TEST_F(KernelCommand, TakesTheLayersOfAModelFile) {
  Model model{Linear{2, 4}, Tanh{}, Linear{4, 4}, Relu{}, Linear{4, 2}, Categorical{}};
  const std::string file = directory_ / "model.safetensors";
  save(model, file);
  expect_bits(kernel({"nngp", "--model", file, "--bias-variance", "0.3"}),
              nngp(infinite_network(model, {.weight = 2, .bias = 0.3}), inputs()));
}

TEST_F(KernelCommand, OfEveryCovarianceFunction) {
  const Tensor z = Tensor::from<double>({2, 2}, std::vector<double>{0.5, 1, 1, 0});
  const std::string other = write_text(directory_ / "z.csv", "a,b\n0.5,1\n1,0\n");
  const std::vector<std::pair<Arguments, CovarianceKernel>> kinds{
      {{"rbf", "--length-scale", "0.7"}, rbf_kernel(0.7)},
      {{"ard-rbf", "--length-scales", "0.7,3"}, ard_rbf_kernel({0.7, 3})},
      {{"matern32", "--length-scale", "0.7"}, matern32_kernel(0.7)},
      {{"ard-matern32", "--length-scales", "0.7,3"}, ard_matern32_kernel({0.7, 3})},
      {{"matern52"}, matern52_kernel(1)},
      {{"ard-matern52", "--length-scales", "0.7,3"}, ard_matern52_kernel({0.7, 3})},
      {{"linear", "--variance", "1.5"}, scaled(linear_kernel(), 1.5)},
      {{"polynomial", "--degree", "3", "--offset", "0.5"}, polynomial_kernel(3, 0.5)},
      {{"arc-cosine", "--order", "0", "--weight-variance", "2", "--bias-variance", "0.1"},
       arc_cosine_kernel(0, 2, 0.1)},
      {{"formula", "--formula", "2 * rbf(0.5) + linear"},
       scaled(rbf_kernel(0.5), 2) + linear_kernel()},
  };
  for (const auto& [arguments, expected] : kinds) {
    SCOPED_TRACE(arguments[0]);
    expect_bits(kernel(arguments), expected.gram(inputs()));
    Arguments against = arguments;
    against.insert(against.end(), {"--other", other, "--threads", "2"});
    expect_bits(kernel(against), expected.gram(inputs(), z));
  }
}

TEST_F(KernelCommand, OfWhatAModelHasLearned) {
  Model model({Linear{2, 4}, Tanh{}, Linear{4, 3}, Relu{}, Linear{3, 2}}, Categorical{},
              DType::kFloat32, 3);
  model.schema().standardizer = Standardizer{.mean = {0.5, 1}, .scale = {2, 0.5}};
  const std::string file = directory_ / "model.safetensors";
  save(model, file);
  expect_bits(kernel({"learned", "--model", file}), learned_kernel(model).gram(inputs()));
  expect_bits(kernel({"learned", "--model", file, "--layer", "1"}),
              learned_kernel(model, 1).gram(inputs()));
  expect_bits(kernel({"formula", "--formula", "deep(rbf(2))", "--model", file}),
              deep_kernel(rbf_kernel(2), model).gram(inputs()));
}

TEST_F(KernelCommand, DrawsTheMatrix) {
  const std::string page = directory_ / "k.html";
  kernel({"linear", "--plot", page});
  const std::string text = read_text(page);
  const Element root = parse_markup(text);
  EXPECT_EQ(root.all("svg").size(), 1U);
  EXPECT_EQ(text.find("http"), std::string::npos);
  auto cells = root.all("rect");  // of the matrix, a row after the other, then the scale's
  constexpr std::size_t kSide = 3;
  ASSERT_GT(cells.size(), kSide * kSide);
  cells.resize(kSide * kSide);
  // x . z is 25 at the most, in the middle, and -6 + 2 = -4 at the least, in a row's last third.
  EXPECT_THAT(text, HasSubstr("colours -4 to 25"));
  std::map<std::string, Index> colours;
  for (const Element* cell : cells) ++colours[cell->at("fill")];
  // 1, 3, -2, 25, -4 and 4.25, of which the mirror images share the colour.
  EXPECT_EQ(colours.size(), 6U);
  // The last row is drawn first, from the left: -2, -4, 4.25.
  EXPECT_EQ(cells[0]->at("fill"), cells[kSide * kSide - 1]->at("fill"));
  EXPECT_NE(cells[0]->at("fill"), cells[kSide - 1]->at("fill"));
}

TEST_F(KernelCommand, MisuseExitsWithTwo) {
  const std::vector<std::pair<Arguments, std::string>> cases{
      {{}, "subcommand"},
      {{"nngpp"}, "nngpp"},
      {{"nngp"}, "--data is required"},
      {{"nngp", "--data", x_}, "--out is required"},
      {{"nngp", "--data", x_, "--out", x_}, "that is also the file of --data"},
      {{"nngp", "--data", x_, "--out", out_, "--depth", "-1"}, "--depth"},
      {{"nngp", "--data", x_, "--out", out_, "--activation", "elu"}, "expected one of identity"},
      {{"nngp", "--data", x_, "--out", out_, "--weight-variance", "-1"},
       "-1, expected a finite number >= 0"},
      {{"ntk", "--data", x_, "--out", out_, "--bias-variance", "inf"},
       "inf, expected a finite number >= 0"},
      {{"ntk", "--data", x_, "--out", out_, "--negative-slope", "0.1"},
       "--negative-slope is for --activation leaky_relu"},
      {{"ntk", "--data", x_, "--out", out_, "--model", "m", "--depth", "2"}, "--model"},
      {{"rbf", "--data", x_, "--out", out_, "--length-scale", "-1"},
       "--length-scale: rbf: got length scale -1"},
      {{"ard-rbf", "--data", x_, "--out", out_}, "--length-scales is required"},
      {{"ard-rbf", "--data", x_, "--out", out_, "--length-scales", "1,2,3"},
       "--length-scales: got 3 of them for 2 columns"},
      {{"polynomial", "--data", x_, "--out", out_, "--degree", "0"}, "got degree 0"},
      {{"arc-cosine", "--data", x_, "--out", out_, "--order", "3"}, "order 3"},
      {{"linear", "--data", x_, "--out", out_, "--variance", "0"}, "--variance: "},
      {{"learned", "--data", x_, "--out", out_}, "--model is required"},
      {{"formula", "--data", x_, "--out", out_, "--formula", "2 * rbff"},
       "column 5: no kernel 'rbff'"},
      {{"rbf", "--data", x_, "--out", out_, "--plot", x_}, "that is also the file of --data"},
  };
  for (const auto& [options, fragment] : cases) {
    Arguments arguments{"kernel"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment),
                                   HasSubstr("(see chainrule kernel")));
  }
}

TEST_F(KernelCommand, BadFilesExitWithOne) {
  const auto expect_error = [](const Arguments& arguments, const std::string& fragment) {
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 1) << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment)));
  };
  const std::string words = write_text(directory_ / "words.csv", "a,b\n1,2\n3,x\n");
  const std::string wide = write_text(directory_ / "wide.csv", "1,2,3\n");
  expect_error({"kernel", "nngp", "--data", words, "--out", out_},
               "words.csv: line 3, column 'b' is not a finite number");
  expect_error({"kernel", "nngp", "--data", x_, "--other", wide, "--out", out_},
               "has 2 columns and");
  expect_error({"kernel", "nngp", "--data", directory_ / "none.csv", "--out", out_}, "none.csv");
  const std::string file = directory_ / "dropout.safetensors";
  save(Model{Linear{2, 4}, Relu{}, Dropout{}, Linear{4, 1}, Gaussian{}}, file);
  expect_error({"kernel", "ntk", "--data", x_, "--model", file, "--out", out_},
               "layer 2 (dropout) has no infinite-width limit");
}

}  // namespace
}  // namespace chainrule::testing
