// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/deep_kernel.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/gaussian_process_file.hpp"
#include "chainrule/learn/kernel_text.hpp"
#include "chainrule/ops/gp_nll.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "diabetes.hpp"
#include "file_support.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::bits;
using ::testing::HasSubstr;
using testing::message_of;
using testing::noise;

struct Samples {
  Tensor x;
  Tensor y;
};

// A step: no stationary kernel has a length scale for it.
Samples step(Index rows, std::uint64_t seed) {
  Samples samples{noise(rows, 2, seed), noise(rows, 1, seed + 1)};
  for (Index i = 0; i < rows; ++i) {
    double& y = samples.y.as<double>()(i, 0);
    y = 0.05 * y + (samples.x.as<double>()(i, 0) > 0.2 ? 3 : 2);
  }
  return samples;
}

Model small_model(DType dtype = DType::kFloat64) {
  return Model({Linear{2, 12}, Tanh{}, Linear{12, 2}}, Gaussian{}, dtype, 4);
}

TEST(DeepKernel, IsTheKernelOfTheModelsOutputs) {
  const Model model = small_model();
  const Tensor x = noise(7, 2, 1), z = noise(4, 2, 2);
  const auto outputs = [&](const Tensor& inputs) {
    return Predictor(model).predict(inputs);  // of a Gaussian, the last layer's outputs
  };
  const CovarianceKernel inner = scaled(matern32_kernel(0.7), 2) + linear_kernel();
  const CovarianceKernel deep = deep_kernel(inner, model);
  EXPECT_EQ(bits(deep.gram(x, z)), bits(inner.gram(outputs(x), outputs(z))));
  EXPECT_EQ(bits(deep.diagonal(x)), bits(inner.diagonal(outputs(x))));
  EXPECT_EQ(deep.hyperparameters(), inner.hyperparameters());
  const Tensor weights = inner.gram(outputs(x));
  EXPECT_EQ(deep.contract(x, weights.as<double>()),
            inner.contract(outputs(x), weights.as<double>()));
  EXPECT_EQ(deep.name(), "deep(variance * matern32 + linear)");
}

TEST(DeepKernel, HasAFormula) {
  const Model model = small_model();
  const std::string text = "2 * deep(ard_rbf(0.1, 3) + 0.5 * linear) + rbf(1)";
  EXPECT_EQ(to_text(parse_kernel(text, 2, &model)), text);
  const auto error = [&](std::string_view formula, const Model* with) {
    return message_of<ArgumentError>([&] { parse_kernel(formula, 2, with); });
  };
  EXPECT_THAT(error("deep(rbf)", nullptr), HasSubstr("column 1: deep needs a model"));
  EXPECT_THAT(error("deep", &model), HasSubstr("column 5: expected ("));
  EXPECT_THAT(error("deep(rbf", &model), HasSubstr("column 9: expected )"));
  EXPECT_THAT(error("deep(ard_rbf(1))", &model), HasSubstr("got 1 length scales for 2 columns"));
}

// The reference's deterministic weights.
class Weights {
 public:
  /// A matrix [rows, columns], drawn column by column.
  Tensor next(Index rows, Index columns, double scale) {
    Tensor matrix({rows, columns}, DType::kFloat64);
    for (Index j = 0; j < columns; ++j) {
      for (Index i = 0; i < rows; ++i) matrix.as<double>()(i, j) = scale * draw();
    }
    return matrix;
  }
  Tensor next(Index length, double scale) {
    std::vector<double> values;
    for (Index i = 0; i < length; ++i) values.push_back(scale * draw());
    return Tensor::from<double>({length}, values);
  }

 private:
  double draw() {
    state_ = (1103515245 * state_ + 12345) % (std::uint64_t{1} << 31);
    return std::ldexp(static_cast<double>(state_), -31) - 0.5;
  }

  std::uint64_t state_ = 777;
};

// tests/data/sklearn_reference.json, H_deep_kernel: written out in numpy, checked there against
// differences in 80-bit floats. There h(x) = W2 tanh(W1 x + b1) + b2, so its matrices are ours
// transposed.
TEST(RbfGpNll, HasTheReferencesGradientsThroughANetwork) {
  const nlohmann::json& expected = testing::sklearn_reference()["H_deep_kernel"];
  Weights weights;
  const testing::Standardized data = testing::diabetes();
  Graph graph;
  const Value x = graph.input("x", {kBatch, 10}), y = graph.input("y", {kBatch, 1});
  const Value w1 = graph.input("w1", {10, 8}), b1 = graph.input("b1", {8});
  const Value w2 = graph.input("w2", {8, 2}), b2 = graph.input("b2", {2});
  const Value ls2 = graph.input("ls2", {1}), ll = graph.input("ll", {1}),
              ln = graph.input("ln", {1});
  const Value h = add_bias(matmul(tanh(add_bias(matmul(x, w1), b1)), w2), b2);
  const Value nll = rbf_gp_nll(h, y, ls2, ll, ln, {.reduction = Reduction::kSum});
  const Tensor x60 = testing::rows_of(data.train.x, 0, 60),
               y60 = testing::rows_of(data.train.y, 0, 60);
  const auto scalar = [](double value) {
    return Tensor::from<double>({1}, std::vector<double>{value});
  };
  const Tensor tensors[] = {weights.next(10, 8, 1),
                            weights.next(8, 1),
                            weights.next(8, 2, 2),
                            weights.next(2, 1),
                            scalar(0.2),
                            scalar(-0.1),
                            scalar(-1)};
  const Value inputs[] = {w1, b1, w2, b2, ls2, ll, ln};
  Feed feed{.inputs = {{x, x60.view()}, {y, y60.view()}}, .dtype = DType::kFloat64};
  for (std::size_t i = 0; i < std::size(inputs); ++i) {
    feed.inputs.emplace_back(inputs[i], tensors[i].view());
  }
  EXPECT_NEAR(element(tensors[0], 0, 0), expected["W1_first3"][0].get<double>(), 1e-16);
  EXPECT_NEAR(-element(evaluate(graph, nll, feed), 0, 0) / expected["lml"].get<double>(), 1, 1e-12);
  const char* const names[] = {"W1", "b1", "W2", "b2", "ls2", "ll", "ln"};
  for (std::size_t i = 0; i < std::size(inputs); ++i) {
    const Tensor got = gradient(graph, nll, inputs[i], feed);
    nlohmann::json want = expected[std::string("grad_") + names[i]];
    if (!want.is_array()) want = nlohmann::json::array({want});
    const ConstTensorView view = got.view();
    ASSERT_EQ(static_cast<std::size_t>(view.rows * view.columns), want.size()) << names[i];
    for (std::size_t k = 0; k < want.size(); ++k) {
      const auto at = static_cast<Index>(k);
      const double value = i % 2 == 0 && i < 4 ? -element(view, at % view.rows, at / view.rows)
                                               : -element(view, 0, at);
      const double target = want[k].get<double>();
      // The kernel does not see b2: its derivative is 0, of terms of the size of W2's.
      EXPECT_NEAR(value, target, i == 3 ? 1e-12 : 1e-9 * std::abs(target)) << names[i] << k;
    }
  }
}

TEST(FitDeepKernel, TrainsByTheLikelihoodOfItsGaussianProcess) {
  const Samples train = step(60, 5);
  const Model model = small_model();
  const DeepKernelOptions options{.steps = 1, .variance = 0.8, .length_scale = 0.6, .noise = 0.05};
  const DeepKernelFit first = fit_deep_kernel(model, train.x, train.y, options);
  GaussianProcess start(scaled(deep_kernel(rbf_kernel(0.6), model), 0.8),
                        {.noise = 0.05, .center_targets = true});
  start.fit(train.x, train.y);
  ASSERT_EQ(first.losses.size(), 1U);
  EXPECT_NEAR(first.losses[0], -start.log_marginal_likelihood().value / 60, 1e-11);
  // The step went downhill, in the network and in the hyperparameters.
  EXPECT_GT(first.log_marginal_likelihood, start.log_marginal_likelihood().value);
  EXPECT_NE(bits(first.model.parameters()), bits(model.parameters()));
  EXPECT_NE(first.gp.noise(), 0.05);
  EXPECT_NE(first.gp.kernel().hyperparameter("length_scale"), 0.6);
  EXPECT_NE(first.gp.kernel().hyperparameter("variance"), 0.8);
}

// A kernel of the columns as they are, optimized.
GaussianProcess flat_process(const Samples& train) {
  GaussianProcess flat(
      scaled(ard_rbf_kernel(std::vector<double>(static_cast<std::size_t>(train.x.columns()), 1.0)),
             1),
      {.noise = 0.1, .center_targets = true});
  flat.fit(train.x, train.y);
  flat.optimize();
  return flat;
}

TEST(FitDeepKernel, LearnsWhatAStationaryKernelCannot) {
  // A function of one direction, askew to all columns.
  const auto ridge = [](Index rows, std::uint64_t seed) {
    Samples samples{noise(rows, 6, seed), noise(rows, 1, seed + 1)};
    for (Index i = 0; i < rows; ++i) {
      double along = 0;
      for (Index c = 0; c < 6; ++c) along += (c % 2 == 0 ? 0.8 : -0.6) * element(samples.x, i, c);
      double& y = samples.y.as<double>()(i, 0);
      y = std::sin(along) + 0.05 * y;
    }
    return samples;
  };
  const Samples train = ridge(80, 11), test = ridge(200, 13);
  const Model projection({Linear{6, 1}}, Gaussian{}, DType::kFloat64, 1);
  const DeepKernelFit deep = fit_deep_kernel(projection, train.x, train.y, {.steps = 400});
  const GaussianProcess flat = flat_process(train);
  EXPECT_LT(deep.losses.back(), deep.losses.front());
  EXPECT_GT(deep.log_marginal_likelihood, flat.log_marginal_likelihood().value + 20);
  EXPECT_LT(deep.gp.negative_log_predictive_density(test.x, test.y),
            flat.negative_log_predictive_density(test.x, test.y) - 0.5);
}

TEST(FitDeepKernel, OverfitsWithANetworkThatIsLargeForItsData) {
  const Samples train = step(80, 11), test = step(200, 13);
  const DeepKernelFit deep = fit_deep_kernel(small_model(), train.x, train.y, {.steps = 400});
  const GaussianProcess flat = flat_process(train);
  EXPECT_GT(deep.log_marginal_likelihood, flat.log_marginal_likelihood().value + 10);
  const double unseen = deep.gp.negative_log_predictive_density(test.x, test.y);
  EXPECT_GT(unseen, -deep.log_marginal_likelihood / 80 + 1);
  EXPECT_GT(unseen, flat.negative_log_predictive_density(test.x, test.y) + 1);
}

TEST(FitDeepKernel, HasALengthScaleForEachOutputIfAsked) {
  const Samples train = step(30, 3);
  const DeepKernelFit fit =
      fit_deep_kernel(small_model(), train.x, train.y, {.steps = 3, .ard = true});
  EXPECT_EQ(fit.gp.kernel().name(), "variance * deep(ard_rbf)");
  EXPECT_NE(fit.gp.kernel().hyperparameter("length_scale_0"),
            fit.gp.kernel().hyperparameter("length_scale_1"));
}

TEST(FitDeepKernel, HasTheSameBitsOnAnyNumberOfThreadsAndInAFile) {
  const Samples train = step(140, 21);
  const ScopedThreadLimit limit(3);
  const DeepKernelFit one =
      fit_deep_kernel(small_model(), train.x, train.y, {.steps = 4, .threads = 1});
  DeepKernelFit three =
      fit_deep_kernel(small_model(), train.x, train.y, {.steps = 4, .threads = 3});
  EXPECT_EQ(one.losses, three.losses);
  EXPECT_EQ(bits(one.model.parameters()), bits(three.model.parameters()));
  const Tensor at = noise(9, 2, 30);
  const GaussianProcessPrediction expected = one.gp.predict(at);

  const testing::TemporaryDirectory directory;
  const auto path = directory.path() / "deep.safetensors";
  save({.gp = std::move(three.gp), .schema = {}, .model = three.model}, path);
  const GaussianProcessPrediction got = load_gaussian_process(path).gp.predict(at);
  EXPECT_EQ(bits(got.mean), bits(expected.mean));
  EXPECT_EQ(bits(got.variance), bits(expected.variance));
}

TEST(FitDeepKernel, TakesSinglePrecisionModelsAndAnyOptimizer) {
  const Samples train = step(40, 7);
  for (const Optimizer& optimizer : {Optimizer(Sgd{.learning_rate = 0.05, .momentum = 0.9}),
                                     Optimizer(AdamW{.learning_rate = 0.01})}) {
    const DeepKernelFit fit = fit_deep_kernel(small_model(DType::kFloat32), train.x, train.y,
                                              {.optimizer = optimizer, .steps = 30});
    EXPECT_EQ(fit.model.dtype(), DType::kFloat32);
    EXPECT_LT(fit.losses.back(), fit.losses.front());
    // Training rounded the hyperparameters and targets to float32, the process did not.
    EXPECT_NEAR(-fit.log_marginal_likelihood / 40, fit.losses.back(), 0.2);
  }
}

TEST(FitDeepKernel, StopsWhenItIsTold) {
  const Samples train = step(20, 7);
  DeepKernelOptions options{.steps = 50};
  options.progress = [](Index step, double loss) { return step < 3 && std::isfinite(loss); };
  EXPECT_EQ(fit_deep_kernel(small_model(), train.x, train.y, options).losses.size(), 3U);
  std::stop_source source;
  source.request_stop();
  options.stop = source.get_token();
  EXPECT_TRUE(fit_deep_kernel(small_model(), train.x, train.y, options).losses.empty());
}

TEST(FitDeepKernel, SaysWhatIsWrong) {
  const Samples train = step(20, 7);
  const Model model = small_model();
  EXPECT_THROW(fit_deep_kernel(model, noise(20, 3, 1), train.y), ShapeError);
  EXPECT_THROW(fit_deep_kernel(model, train.x, noise(19, 1, 1)), ShapeError);
  EXPECT_THROW(fit_deep_kernel(model, train.x, train.y, {.steps = -1}), ArgumentError);
  EXPECT_THROW(fit_deep_kernel(model, train.x, train.y, {.noise = 0.0}), ArgumentError);
  EXPECT_THROW(fit_deep_kernel(model, train.x, train.y, {.max_jitter = -1}), ArgumentError);
  Samples hole = train;
  hole.x.as<double>()(3, 1) = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(fit_deep_kernel(model, hole.x, hole.y), ArgumentError);
  EXPECT_THROW(fit_deep_kernel(model, hole.x, hole.y, {.length_scale = 1}), ArgumentError);
  EXPECT_THROW(fit_deep_kernel(model, hole.y, hole.x), ShapeError);
  // Twice the same row, and as good as no noise.
  Samples twice = train;
  for (Index j = 0; j < 2; ++j) twice.x.as<double>()(9, j) = twice.x.as<double>()(4, j);
  EXPECT_THAT(message_of<Error>(
                  [&] { fit_deep_kernel(model, twice.x, twice.y, {.steps = 1, .noise = 1e-30}); }),
              HasSubstr("the pivot of row"));
  // A step as large as that has no finite second one.
  EXPECT_THAT(message_of<NonFiniteError>([&] {
                fit_deep_kernel(model, train.x, train.y,
                                {.optimizer = Sgd{.learning_rate = 1e300}, .steps = 5});
              }),
              HasSubstr("step 2: the loss 'gp_nll' is not finite"));
}

}  // namespace
}  // namespace chainrule
