// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/layers.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

// In the order of the variants' alternatives.
constexpr std::array<std::string_view, std::variant_size_v<Layer>> kLayerNames = {
    "linear",   "identity", "relu", "leaky_relu", "elu",     "sigmoid",    "tanh",
    "softplus", "silu",     "gelu", "gelu_tanh",  "dropout", "layer_norm", "batch_norm"};
constexpr std::array<std::string_view, std::variant_size_v<Likelihood>> kLikelihoodNames = {
    "softmax", "binary", "mse", "mae", "huber", "hinge", "poisson", "gamma", "negative-binomial"};

const std::array<Layer, 10>& activations() {
  static const std::array<Layer, 10> all = {Identity{}, Relu{},    LeakyRelu{}, Elu{},
                                            Sigmoid{},  Tanh{},    Softplus{},  Silu{},
                                            Gelu{},     GeluTanh{}};
  return all;
}

const std::array<Likelihood, 9>& likelihoods() {
  static const std::array<Likelihood, 9> all = {Categorical{}, Bernoulli{}, Gaussian{},
                                                Laplace{},     HuberLoss{}, HingeLoss{},
                                                Poisson{},     Gamma{},     NegativeBinomial{}};
  return all;
}

template <class All>
auto named(const All& all, std::string_view what, std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& one : all) {
    if (name_of(one) == name) return one;
    names.push_back(name_of(one));
  }
  throw ArgumentError(
      fmt::format("unknown {} '{}', expected one of: {}", what, name, fmt::join(names, ", ")));
}

}  // namespace

bool is_classification(const Likelihood& likelihood) noexcept {
  return std::holds_alternative<Categorical>(likelihood) ||
         std::holds_alternative<Bernoulli>(likelihood) ||
         std::holds_alternative<HingeLoss>(likelihood);
}

bool has_log_link(const Likelihood& likelihood) noexcept {
  return std::holds_alternative<Poisson>(likelihood) || std::holds_alternative<Gamma>(likelihood) ||
         std::holds_alternative<NegativeBinomial>(likelihood);
}

std::string_view name_of(const Layer& layer) noexcept { return kLayerNames[layer.index()]; }

std::string_view name_of(const Likelihood& likelihood) noexcept {
  return kLikelihoodNames[likelihood.index()];
}

Layer activation_named(std::string_view name) { return named(activations(), "activation", name); }
Likelihood likelihood_named(std::string_view name) { return named(likelihoods(), "loss", name); }

}  // namespace chainrule
