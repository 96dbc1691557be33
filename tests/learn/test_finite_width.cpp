// SPDX-License-Identifier: Apache-2.0
//
// Random networks of finite width, drawn by Model, against their limits.

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>

#include "chainrule/learn/infinite_width.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::noise;

Linear dense(Index in, Index out, const WeightPrior& prior, bool bias = true) {
  return {.in = in,
          .out = out,
          .bias = bias,
          .weight_initializer = normal(std::sqrt(prior.weight / static_cast<double>(in))),
          .bias_initializer = normal(std::sqrt(prior.bias))};
}

// `depth` hidden layers.
std::vector<Layer> layers(Index inputs, Index width, Index depth, const Layer& activation,
                          const WeightPrior& prior) {
  std::vector<Layer> result{dense(inputs, width, prior)};
  for (Index l = 1; l <= depth; ++l) {
    result.push_back(activation);
    result.push_back(dense(width, l == depth ? 1 : width, prior));
  }
  return result;
}

Model draw(const std::vector<Layer>& layers, std::uint64_t seed) {
  return {layers, Gaussian{}, DType::kFloat64, seed};
}

double dot(const double* a, const double* b, Index count) {
  return std::inner_product(a, a + count, b, 0.0);
}

// bias + weight <phi(x), phi(z)> / width: the covariance of the outputs given the layers before.
Tensor empirical_nngp(const Model& model, const Tensor& x, const WeightPrior& prior) {
  const Tensor phi = model.features(x);
  Tensor k({x.rows(), x.rows()}, DType::kFloat64);
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.rows(); ++j) {
      const double sum = dot(phi.as<double>().row(i), phi.as<double>().row(j), phi.columns());
      k.as<double>()(i, j) = prior.bias + prior.weight * sum / static_cast<double>(phi.columns());
    }
  }
  return k;
}

// <df(x), df(z)> over parameters of variance 1, which weights and biases are multiples of.
Tensor empirical_ntk(const Model& model, const Tensor& x, const WeightPrior& prior) {
  Tensor theta({x.rows(), x.rows()}, DType::kFloat64);
  const Tensor one = testing::matrix(1, 1, std::vector<double>{1});
  for (const auto& entry : model.parameters().layout().entries) {
    std::vector<Tensor> gradients;
    for (Index i = 0; i < x.rows(); ++i) {
      const Tensor row = testing::rows_of(x, i, 1);
      gradients.push_back(vector_jacobian_product(
          model.network().graph(), model.network().logits(),
          Value(model.network().x().graph(), entry.node), one,
          {.inputs = {{model.network().x(), row}}, .parameters = &model.parameters()}));
    }
    // A bias is a row, or a column of one.
    const bool is_weight = entry.name.find("weight") != std::string::npos;
    const double scale =
        is_weight ? prior.weight / static_cast<double>(gradients[0].rows()) : prior.bias;
    for (Index i = 0; i < x.rows(); ++i) {
      for (Index j = 0; j <= i; ++j) {
        const Tensor& a = gradients[static_cast<std::size_t>(i)];
        const Tensor& b = gradients[static_cast<std::size_t>(j)];
        double sum = 0;
        for (Index r = 0; r < a.rows(); ++r) {
          sum += dot(a.as<double>().row(r), b.as<double>().row(r), a.columns());
        }
        theta.as<double>()(i, j) += scale * sum;
        if (j < i) theta.as<double>()(j, i) += scale * sum;
      }
    }
  }
  return theta;
}

double squared_distance(const Tensor& a, const Tensor& b) {
  double difference = 0;
  double size = 0;
  for (Index i = 0; i < a.rows(); ++i) {
    for (Index j = 0; j < a.columns(); ++j) {
      difference += std::pow(element(a, i, j) - element(b, i, j), 2);
      size += std::pow(element(b, i, j), 2);
    }
  }
  return difference / size;
}

// The slope of log error against log width, by least squares.
double rate(const std::vector<double>& widths, const std::vector<double>& errors) {
  const auto count = static_cast<double>(widths.size());
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const double x = std::log(widths[i]);
    const double y = std::log(errors[i]);
    sx += x;
    sy += y;
    sxx += x * x;
    sxy += x * y;
  }
  return (count * sxy - sx * sy) / (count * sxx - sx * sx);
}

struct Convergence {
  const char* name;
  Layer activation;
};

class FiniteWidth : public ::testing::TestWithParam<Convergence> {};

TEST_P(FiniteWidth, KernelsConvergeAtOneOverRootWidth) {
  const WeightPrior prior{.weight = 1.6, .bias = 0.1};
  const Tensor x = noise(3, 5, 21);
  std::vector<double> widths;
  std::vector<double> nngp_errors;
  std::vector<double> ntk_errors;
  constexpr Index kDepth = 2;
  for (const Index width : {64, 128, 256, 512, 1024}) {
    const std::vector<Layer> description = layers(5, width, kDepth, GetParam().activation, prior);
    const InfiniteNetwork limit = infinite_network(description, prior);
    const Tensor k = nngp(limit, x);
    const Tensor theta = ntk(limit, x);
    double nngp_error = 0;
    double ntk_error = 0;
    const Index networks = width <= 256 ? 24 : 6;
    for (Index s = 0; s < networks; ++s) {
      const Model model = draw(description, static_cast<std::uint64_t>(1000 * width + s));
      nngp_error += squared_distance(empirical_nngp(model, x, prior), k);
      ntk_error += squared_distance(empirical_ntk(model, x, prior), theta);
    }
    widths.push_back(static_cast<double>(width));
    nngp_errors.push_back(std::sqrt(nngp_error / static_cast<double>(networks)));
    ntk_errors.push_back(std::sqrt(ntk_error / static_cast<double>(networks)));
  }
  EXPECT_NEAR(rate(widths, nngp_errors), -0.5, 0.15);
  EXPECT_NEAR(rate(widths, ntk_errors), -0.5, 0.15);
  EXPECT_LT(nngp_errors.back(), 0.15);
  EXPECT_LT(ntk_errors.back(), 0.15);
}

INSTANTIATE_TEST_SUITE_P(Activations, FiniteWidth,
                         ::testing::Values(Convergence{"relu", Relu{}}, Convergence{"tanh", Tanh{}},
                                           Convergence{"gelu", Gelu{}}),
                         [](const auto& info) { return std::string(info.param.name); });

// Without biases and at weight variance 2 every relu layer multiplies the kernel's diagonal by an
// independent factor of mean 1 and variance 5 / n. Hence Var[K(x, x)] / E[K(x, x)]^2 =
// (1 + 5 / n)^L - 1, and as the outputs are normal given K, their excess kurtosis is three times
// that.
TEST(FiniteWidthLaw, OfReluWithoutBiases) {
  constexpr Index kWidth = 32;
  constexpr Index kOutputs = 64;
  constexpr Index kNetworks = 4000;
  const WeightPrior prior{.weight = 2, .bias = 0};
  const Tensor x = noise(1, 7, 5);
  for (const Index depth : {1, 3}) {
    std::vector<Layer> description{dense(7, kWidth, prior, false)};
    for (Index l = 1; l <= depth; ++l) {
      description.emplace_back(Relu{});
      description.emplace_back(dense(kWidth, l == depth ? kOutputs : kWidth, prior, false));
    }
    Model model = draw(description, 0);
    const Network& network = model.network();
    double sum = 0, squares = 0, second = 0, fourth = 0;
    for (Index s = 0; s < kNetworks; ++s) {
      model.initialize(static_cast<std::uint64_t>(s));
      const Feed feed{.inputs = {{network.x(), x}}, .parameters = &model.parameters()};
      const Tensor phi = evaluate(network.graph(), network.features(), feed);
      const Tensor outputs = evaluate(network.graph(), network.logits(), feed);
      double k = 0;
      for (Index c = 0; c < kWidth; ++c) k += 2 * std::pow(element(phi, 0, c), 2) / kWidth;
      sum += k;
      squares += k * k;
      for (Index c = 0; c < kOutputs; ++c) {
        const double square = std::pow(element(outputs, 0, c), 2);
        second += square;
        fourth += square * square;
      }
    }
    const double mean = sum / kNetworks;
    const double variance = squares / kNetworks - mean * mean;
    second /= kNetworks * kOutputs;
    fourth /= kNetworks * kOutputs;
    const InfiniteNetwork limit = infinite_network(model, prior);
    const double law = std::pow(1 + 5.0 / kWidth, static_cast<double>(depth)) - 1;
    const double standard_error = std::sqrt(law / kNetworks);
    EXPECT_NEAR(mean / nngp_diagonal(limit, x)[0], 1, 4 * standard_error);
    EXPECT_NEAR(second / nngp_diagonal(limit, x)[0], 1, 5 * standard_error);
    EXPECT_NEAR(variance / (mean * mean), law, 0.2 * law);
    EXPECT_NEAR(fourth / (second * second) - 3, 3 * law, 0.25 * 3 * law);
  }
}

}  // namespace
}  // namespace chainrule
