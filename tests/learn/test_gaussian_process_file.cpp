// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/gaussian_process_file.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <variant>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/deep_kernel.hpp"
#include "chainrule/learn/infinite_kernel.hpp"
#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/learn/model_file.hpp"
#include "file_support.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

TEST(KernelText, ReadsWhatItWrites) {
  const Model model({Linear{3, 4}, Tanh{}, Linear{4, 1}}, Gaussian{}, DType::kFloat64, 1);
  const Tensor x = noise(5, 3, 1);
  const std::vector<CovarianceKernel> kernels{
      rbf_kernel(0.1),
      ard_rbf_kernel({0.1, 1.0 / 3, 3}),
      matern32_kernel(1e-300),
      ard_matern32_kernel({1, 2, 3}),
      matern52_kernel(2),
      ard_matern52_kernel({1, 2, 3}),
      constant_kernel(1.0 / 7),
      linear_kernel(),
      polynomial_kernel(3, 0),
      polynomial_kernel(1, 0.7),
      arc_cosine_kernel(0, 1.0 / 3, 0.1),
      arc_cosine_kernel(1),
      nngp_kernel(2, "erf", {.weight = 1.0 / 3, .bias = 0.1}),
      ntk_kernel(1, "relu", {.weight = 2, .bias = 0}),
      learned_kernel(model),
      learned_kernel(model, 1),
      deep_kernel(scaled(rbf_kernel(0.3), 2) + linear_kernel(), model) * matern32_kernel(),
      scaled(scaled(rbf_kernel(2), 1.0 / 3), 3) + (linear_kernel() + constant_kernel(1)),
      scaled(rbf_kernel(2) + linear_kernel(), 0.1) * (matern32_kernel() * linear_kernel()),
  };
  for (const CovarianceKernel& kernel : kernels) {
    const std::string text = to_text(kernel);
    SCOPED_TRACE(text);
    const CovarianceKernel again = parse_kernel(text, 3, &model);
    EXPECT_EQ(to_text(again), text);
    EXPECT_EQ(again.name(), kernel.name());
    EXPECT_EQ(again.hyperparameters(), kernel.hyperparameters());
    EXPECT_EQ(testing::bits(again.gram(x)), testing::bits(kernel.gram(x)));
  }
}

TEST(KernelText, FillsInWhatIsLeftOut) {
  EXPECT_EQ(to_text(parse_kernel("rbf", 2)), "rbf(1)");
  EXPECT_EQ(to_text(parse_kernel(" 2*ard_rbf+linear ", 2)), "2 * ard_rbf(1, 1) + linear");
  EXPECT_EQ(to_text(parse_kernel("nngp", 2)), "nngp_relu(1, 2, 0.1)");
  EXPECT_EQ(to_text(parse_kernel("polynomial", 2)), "polynomial(2, 1)");
  EXPECT_EQ(to_text(parse_kernel("(constant + linear) * arc_cosine(0)", 2)),
            "(constant(1) + linear) * arc_cosine(0, 1, 0)");
}

TEST(KernelText, SaysWhereItIsWrong) {
  const auto error = [](std::string_view text) {
    return message_of<ArgumentError>([&] { parse_kernel(text, 2); });
  };
  EXPECT_THAT(error("rbf +"), HasSubstr("'rbf +', column 6: expected a number, a name or ("));
  EXPECT_THAT(error("2 * rbff"), HasSubstr("column 5: no kernel 'rbff'; there are: rbf, "));
  EXPECT_THAT(error("rbf(1"), HasSubstr("column 6: expected , or )"));
  EXPECT_THAT(error("rbf(x)"), HasSubstr("column 5: expected a number"));
  EXPECT_THAT(error("rbf(1, 2)"), HasSubstr("rbf takes at most 1 arguments, got 2"));
  EXPECT_THAT(error("linear rbf"), HasSubstr("column 8: expected + or * or the end"));
  EXPECT_THAT(error("rbf(-1)"), HasSubstr("column 1: rbf: got length scale -1"));
  EXPECT_THAT(error("-1 * rbf"), HasSubstr("column 1"));
  EXPECT_THAT(error("nan * rbf"), HasSubstr("column 1"));
  EXPECT_THAT(error("ard_rbf(1, 2, 3)"), HasSubstr("got 3 length scales for 2 columns"));
  EXPECT_THAT(error("polynomial(1.5)"), HasSubstr("got 1.5, expected a whole number"));
  EXPECT_THAT(error("nngp_relux"), HasSubstr("relux"));
  EXPECT_THAT(error("learned"), HasSubstr("learned needs a model"));
  EXPECT_THAT(error(std::string(1000, '(')), HasSubstr("too many parentheses"));
  EXPECT_THAT(error(""), HasSubstr("column 1"));
}

TEST(GaussianProcessFile, ComesBackWithTheSameBits) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "gp.safetensors";
  const Model model({Linear{2, 4}, Tanh{}, Linear{4, 1}}, Gaussian{}, DType::kFloat32, 1);
  GaussianProcessFile file{
      .gp = GaussianProcess(learned_kernel(model) + scaled(rbf_kernel(0.7), 1.0 / 3),
                            {.noise = 0.1, .center_targets = true}),
      .schema = {.feature_names = {"a", "b"},
                 .class_names = {},
                 .target_name = "c",
                 .standardizer = Standardizer::fit(noise(5, 2, 7))},
      .model = model};
  EXPECT_THROW(save(file, path), ArgumentError);  // not fitted
  const Tensor x = noise(30, 2, 1), at = noise(5, 2, 3);
  file.gp.fit(x, noise(30, 2, 2));
  save(file, path);
  const GaussianProcessFile again = load_gaussian_process(path);
  EXPECT_EQ(testing::bits(again.gp.predict(at).mean), testing::bits(file.gp.predict(at).mean));
  EXPECT_EQ(testing::bits(again.gp.predict(at).variance),
            testing::bits(file.gp.predict(at).variance));
  EXPECT_EQ(again.schema, file.schema);
  EXPECT_EQ(again.gp.noise(), 0.1);
}

void fill_identity(MatrixView<double> k) {
  for (Index i = 0; i < k.rows; ++i) {
    for (Index j = 0; j < k.columns; ++j) k(i, j) = i == j ? 1 : 0;
  }
}

TEST(GaussianProcessFile, RefusesWhatItCannotHold) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "gp.safetensors";
  const Model model({Linear{2, 1}}, Gaussian{});
  GaussianProcessFile file{.gp = GaussianProcess(learned_kernel(model))};
  file.gp.fit(noise(4, 2, 1), noise(4, 1, 2));
  EXPECT_THAT(message_of<UnsupportedError>([&] { save(file, path); }),
              HasSubstr("learned needs a model"));
  const CovarianceKernel namesake = function_kernel(
      {.name = "rbf",
       .gram = [](MatrixView<const double>, MatrixView<const double>,
                  MatrixView<double> k) { fill_identity(k); },
       .diagonal = [](MatrixView<const double>, std::span<double> k) { std::ranges::fill(k, 1); }});
  GaussianProcessFile other{.gp = GaussianProcess(namesake)};
  other.gp.fit(noise(4, 2, 1), noise(4, 1, 2));
  EXPECT_THAT(message_of<UnsupportedError>([&] { save(other, path); }),
              HasSubstr("no kernel 'function'"));
  save(model, path);
  EXPECT_THAT(message_of<FormatError>([&] { load_gaussian_process(path); }),
              HasSubstr("without a Gaussian process"));
}

SparseGaussianProcessFile sparse_file(const Model& model) {
  SparseGaussianProcessFile file{
      .gp = SparseGaussianProcess(learned_kernel(model) + scaled(rbf_kernel(0.7), 1.0 / 3),
                                  noise(6, 2, 4), 2, {.noise = 0.1, .means = {1.5, -2}}),
      .schema = {.feature_names = {"a", "b"},
                 .class_names = {"no", "yes"},
                 .target_name = "c",
                 .standardizer = Standardizer::fit(noise(5, 2, 7))},
      .model = model};
  file.gp.add(noise(1500, 2, 1), noise(1500, 2, 2));
  return file;
}

TEST(GaussianProcessFile, KeepsASparseOne) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "gp.safetensors";
  const Model model({Linear{2, 4}, Tanh{}, Linear{4, 1}}, Gaussian{}, DType::kFloat32, 1);
  const SparseGaussianProcessFile file = sparse_file(model);
  save(file, path);
  const AnyGaussianProcessFile loaded = load_any_gaussian_process(path);
  const auto& again = std::get<SparseGaussianProcessFile>(loaded);
  const Tensor at = noise(5, 2, 3);
  EXPECT_EQ(testing::bits(again.gp.predict(at).mean), testing::bits(file.gp.predict(at).mean));
  EXPECT_EQ(testing::bits(again.gp.predict(at).variance),
            testing::bits(file.gp.predict(at).variance));
  EXPECT_EQ(again.gp.lower_bound(), file.gp.lower_bound());
  EXPECT_EQ(again.gp.rows(), 1500);
  EXPECT_EQ(again.schema, file.schema);
  EXPECT_THAT(message_of<FormatError>([&] { load_gaussian_process(path); }),
              HasSubstr("a sparse Gaussian process, expected an exact one"));
}

TEST(GaussianProcessFile, SaysWhatIsDamagedInASparseOne) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "gp.safetensors";
  const Model model({Linear{2, 4}, Tanh{}, Linear{4, 1}}, Gaussian{}, DType::kFloat32, 1);
  save(sparse_file(model), path);
  const TensorFile good = read_safetensors(path);
  const auto error = [&](const std::string& name, const Tensor& tensor) {
    TensorFile bad = good;
    for (auto& [of, old] : bad.tensors) {
      if (of == name) old = tensor;
    }
    write_safetensors(bad, path);
    return message_of<FormatError>([&] { load_any_gaussian_process(path); });
  };
  EXPECT_THAT(error("squares", noise(5, 5, 1)), HasSubstr("got sums [5, 5]"));
  EXPECT_THAT(error("products", noise(6, 3, 1)), HasSubstr("got 2 means, expected 3"));
  EXPECT_THAT(error("inducing", noise(6, 3, 1)), HasSubstr("inputs of 3 columns"));
  EXPECT_THAT(error("products", noise(6, 2, 1).to(DType::kFloat32)),
              HasSubstr("tensor 'products' is float32 [6, 2], expected a float64 matrix"));
  Tensor infinite = noise(6, 2, 1);
  infinite.as<double>()(1, 1) = std::numeric_limits<double>::infinity();
  EXPECT_THAT(error("products", infinite), HasSubstr("element [1, 1] is inf"));
}

TEST(GaussianProcessFile, SaysWhatIsDamaged) {
  const testing::TemporaryDirectory directory;
  const auto path = directory / "gp.safetensors";
  GaussianProcessFile file{.gp = GaussianProcess(rbf_kernel())};
  file.gp.fit(noise(4, 2, 1), noise(4, 1, 2));
  save(file, path);
  const TensorFile good = read_safetensors(path);
  const auto error = [&](const std::string& from, const std::string& to) {
    TensorFile bad = good;
    std::string& text = bad.metadata["chainrule_gp"];
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos);
    text.replace(at, from.size(), to);
    write_safetensors(bad, path);
    return message_of<FormatError>([&] { load_gaussian_process(path); });
  };
  EXPECT_THAT(error("rbf(1)", "rbf(0)"), HasSubstr("length scale 0"));
  EXPECT_THAT(error("\"noise\":0.01", "\"noise\":-1"), HasSubstr("noise -1"));
  EXPECT_THAT(error("\"noise\":0.01", "\"noise\":\"x\""), HasSubstr("damaged"));
  EXPECT_THAT(error("{", "["), HasSubstr("damaged"));
  EXPECT_THAT(error("\"format_version\":1", "\"format_version\":3"),
              HasSubstr("format version 3, this library reads 1 to 2"));
  EXPECT_THAT(error("\"feature_names\":[]", "\"feature_names\":[\"a\"]"),
              HasSubstr("inputs of 2 columns, their description has another number"));
  TensorFile bad = good;
  bad.tensors.pop_back();
  write_safetensors(bad, path);
  EXPECT_THROW(load_gaussian_process(path), FormatError);
}

}  // namespace
}  // namespace chainrule
