// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/infinite_width.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <optional>
#include <utility>

#include "chainrule/core/error.hpp"
#include "infinite_gram.hpp"
#include "overloaded.hpp"

namespace chainrule {
namespace {

using internal::InfiniteKernel;
using internal::InfiniteSamples;
using internal::Overloaded;

std::optional<DualActivation> dual_of(const Layer& layer) {
  using Dual = std::optional<DualActivation>;
  return std::visit(
      Overloaded{[](const Relu&) -> Dual { return DualActivation::relu(); },
                 [](const LeakyRelu& l) -> Dual { return DualActivation::leaky_relu(l.slope); },
                 [](const Sigmoid&) -> Dual { return DualActivation::sigmoid(); },
                 [](const Tanh&) -> Dual { return DualActivation::tanh(); },
                 [](const Softplus&) -> Dual { return DualActivation::softplus(); },
                 [](const Silu&) -> Dual { return DualActivation::silu(); },
                 [](const Gelu&) -> Dual { return DualActivation::gelu(); },
                 [](const GeluTanh&) -> Dual { return DualActivation::gelu_tanh(); },
                 [](const auto&) -> Dual { return std::nullopt; }},
      layer);
}

[[noreturn]] void refuse(std::size_t position, const Layer& layer, std::string_view why) {
  throw UnsupportedError(
      fmt::format("infinite_network: layer {} ({}) {}", position, name_of(layer), why));
}

std::vector<double> diagonal(const InfiniteNetwork& network, const Tensor& x,
                             InfiniteKernel kernel) {
  const Executor serial;
  const InfiniteSamples samples(network, x, "x", serial);
  std::vector<double> result;
  for (Index i = 0; i < samples.rows(); ++i) {
    result.push_back(internal::pair_kernel(network, samples, i, samples, i, kernel));
  }
  return result;
}

Tensor gram(const InfiniteNetwork& network, const Tensor& x, const Tensor& z,
            const Executor& executor, InfiniteKernel kernel) {
  if (x.columns() != z.columns()) {
    throw ShapeError(fmt::format("infinite width: x has {} columns and z has {}, expected the same",
                                 x.columns(), z.columns()));
  }
  const InfiniteSamples rows(network, x, "x", executor);
  const InfiniteSamples columns(network, z, "z", executor);
  Tensor k({x.rows(), z.rows()}, DType::kFloat64);
  internal::infinite_gram(network, rows, 0, columns, kernel, k.as<double>(), executor);
  return k;
}

Tensor gram(const InfiniteNetwork& network, const Tensor& x, const Executor& executor,
            InfiniteKernel kernel) {
  const InfiniteSamples samples(network, x, "x", executor);
  Tensor k({x.rows(), x.rows()}, DType::kFloat64);
  internal::infinite_gram(network, samples, 0, samples, kernel, k.as<double>(), executor);
  return k;
}

}  // namespace

InfiniteNetwork::InfiniteNetwork(Index depth, const DualActivation& activation, WeightPrior prior) {
  if (depth < 0) {
    throw ArgumentError(fmt::format("InfiniteNetwork: got {} hidden layers, expected >= 0", depth));
  }
  const auto layers = static_cast<std::size_t>(depth);
  *this = InfiniteNetwork(std::vector<WeightPrior>(layers + 1, prior),
                          std::vector<DualActivation>(layers, activation));
}

InfiniteNetwork::InfiniteNetwork(std::vector<WeightPrior> dense_,
                                 std::vector<DualActivation> hidden_)
    : dense(std::move(dense_)), hidden(std::move(hidden_)) {
  if (dense.size() != hidden.size() + 1) {
    throw ArgumentError(
        fmt::format("InfiniteNetwork: got {} dense layers and {} activations, expected one more",
                    dense.size(), hidden.size()));
  }
  for (const WeightPrior& prior : dense) {
    if (!(prior.weight >= 0) || !(prior.bias >= 0) || !std::isfinite(prior.weight + prior.bias)) {
      throw ArgumentError(fmt::format(
          "InfiniteNetwork: got weight variance {} and bias variance {}, expected finite ones >= 0",
          prior.weight, prior.bias));
    }
  }
}

InfiniteNetwork infinite_network(const Model& model, WeightPrior prior) {
  return infinite_network(model.layers(), prior);
}

InfiniteNetwork infinite_network(std::span<const Layer> layers, WeightPrior prior) {
  std::vector<WeightPrior> dense;
  std::vector<DualActivation> hidden;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool activated = hidden.size() == dense.size();
    if (const auto* linear = std::get_if<Linear>(&layers[i])) {
      if (!activated) hidden.push_back(DualActivation::identity());
      dense.push_back({.weight = prior.weight, .bias = linear->bias ? prior.bias : 0});
    } else if (!std::holds_alternative<Identity>(layers[i])) {
      const std::optional<DualActivation> dual = dual_of(layers[i]);
      if (!dual) refuse(i, layers[i], "has no infinite-width limit here");
      if (dense.empty()) refuse(i, layers[i], "stands before the first linear layer");
      if (activated) refuse(i, layers[i], "follows another activation; expected linear between");
      hidden.push_back(*dual);
      const auto rest = layers.subspan(i + 1);
      bool last = true;
      for (const Layer& layer : rest) last &= !std::holds_alternative<Linear>(layer);
      if (last) refuse(i, layers[i], "has no linear layer behind it, expected one as the readout");
    }
  }
  if (dense.empty()) throw UnsupportedError("infinite_network: got no linear layer, expected one");
  return {std::move(dense), std::move(hidden)};
}

Tensor nngp(const InfiniteNetwork& network, const Tensor& x, const Executor& executor) {
  return gram(network, x, executor, InfiniteKernel::kNngp);
}
Tensor nngp(const InfiniteNetwork& network, const Tensor& x, const Tensor& z,
            const Executor& executor) {
  return gram(network, x, z, executor, InfiniteKernel::kNngp);
}
Tensor ntk(const InfiniteNetwork& network, const Tensor& x, const Executor& executor) {
  return gram(network, x, executor, InfiniteKernel::kNtk);
}
Tensor ntk(const InfiniteNetwork& network, const Tensor& x, const Tensor& z,
           const Executor& executor) {
  return gram(network, x, z, executor, InfiniteKernel::kNtk);
}

std::vector<double> nngp_diagonal(const InfiniteNetwork& network, const Tensor& x) {
  return diagonal(network, x, InfiniteKernel::kNngp);
}
std::vector<double> ntk_diagonal(const InfiniteNetwork& network, const Tensor& x) {
  return diagonal(network, x, InfiniteKernel::kNtk);
}

}  // namespace chainrule
