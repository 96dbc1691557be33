// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <optional>

#include "chainrule/learn/infinite_width.hpp"
#include "chainrule/learn/model_file.hpp"
#include "kernel.hpp"

namespace chainrule::tools {
namespace {

struct InfiniteOptions {
  GramOptions gram;
  std::string model;
  Index depth = 1;
  std::string activation = "relu";
  double negative_slope = 0.01;
  WeightPrior prior{};
  CLI::Option* slope_option = nullptr;
};

constexpr Index kMostLayers = 10'000;

InfiniteNetwork described_network(const InfiniteOptions& options) {
  if (options.slope_option->count() > 0 && options.activation != "leaky_relu") {
    throw UsageError("--negative-slope is for --activation leaky_relu");
  }
  const DualActivation activation = parse_option("--activation", [&] {
    return DualActivation::named(options.activation, options.negative_slope);
  });
  return {options.depth, activation, options.prior};
}

int infinite_kernel(const InfiniteOptions& options, bool tangent) {
  std::optional<Model> model;
  if (!options.model.empty()) model = load_model(options.model).to(DType::kFloat64);
  const InfiniteNetwork network =
      model ? infinite_network(*model, options.prior) : described_network(options);
  const auto compute = [&](const Tensor& x, const Tensor* z) {
    const Executor executor(options.gram.compute().threads());
    const auto prepared = [&](const Tensor& inputs) {
      return model ? model->prepare_inputs(inputs) : inputs;
    };
    if (z == nullptr) {
      return tangent ? ntk(network, prepared(x), executor) : nngp(network, prepared(x), executor);
    }
    return tangent ? ntk(network, prepared(x), prepared(*z), executor)
                   : nngp(network, prepared(x), prepared(*z), executor);
  };
  return options.gram.run({{"--model", options.model}}, compute);
}

constexpr const char* kConvention =
    R"(The network: z0 = b0 + W0 x, zl = bl + Wl phi(z(l-1)) for l = 1 to the depth L, W normal with the
variance WEIGHT / fan-in, b with the variance BIAS, all L hidden layers infinitely wide. nngp is the
covariance of its output over random networks (Lee et al. 2018), ntk the kernel by which gradient
descent moves it (Jacot et al. 2018, all weights and biases trained).

Activations: identity relu leaky_relu abs erf sin gelu tanh sigmoid softplus silu gelu_tanh
)";

}  // namespace

Command add_infinite_kernel(CLI::App& kernel, const std::string& kind) {
  const bool tangent = kind == "ntk";
  CLI::App* const sub =
      kernel.add_subcommand(kind, tangent ? "Neural tangent kernel of an infinitely wide network"
                                          : "Covariance of an infinitely wide random network");
  const auto options = std::make_shared<InfiniteOptions>();
  options->gram.add_to(*sub);
  auto* const model =
      sub->add_option("--model", options->model,
                      "Model file whose layers to take, in place of depth and activation; inputs "
                      "are standardized as it says");
  sub->add_option("--depth", options->depth, "Hidden layers")
      ->check(CLI::Range(Index{0}, kMostLayers))
      ->capture_default_str()
      ->excludes(model);
  sub->add_option("--activation", options->activation, "Activation of the hidden layers")
      ->capture_default_str()
      ->excludes(model);
  options->slope_option =
      sub->add_option("--negative-slope", options->negative_slope, "Slope of leaky_relu below 0")
          ->capture_default_str()
          ->excludes(model);
  const CLI::Validator variance(not_negative_text, "", "variance");
  sub->add_option("--weight-variance", options->prior.weight,
                  "Variance of a weight times its fan-in")
      ->check(variance)
      ->capture_default_str();
  sub->add_option("--bias-variance", options->prior.bias, "Variance of a bias")
      ->check(variance)
      ->capture_default_str();
  sub->footer(kConvention + fmt::format(R"(
Examples:
  chainrule kernel {0} --data x.csv --depth 3 --activation relu --weight-variance 2 \
    --bias-variance 0.1 --out k.csv
  chainrule kernel {0} --data train.csv --other test.csv --activation leaky_relu \
    --negative-slope 0.1 --out k.csv
  chainrule kernel {0} --data x.csv --model digits.safetensors --out k.csv)",
                                        kind));
  return [options, tangent] { return infinite_kernel(*options, tangent); };
}

}  // namespace chainrule::tools
