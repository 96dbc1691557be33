// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/ops/ops.hpp"
#include "overloaded.hpp"

namespace chainrule {
namespace {

using internal::Overloaded;

// Uniform within +-sqrt(6 / (in + out)) for weight and bias alike.
Initializer glorot(const Linear& layer) {
  Initializer initializer = glorot_uniform();
  initializer.fan_in = layer.in;
  initializer.fan_out = layer.out;
  return initializer;
}

Value add_linear(Graph& graph, const std::string& name, const Linear& layer, Value x) {
  if (layer.in < 1 || layer.out < 1) {
    throw ArgumentError(fmt::format("layer {}: Linear{{{}, {}}}, expected two sizes >= 1", name,
                                    layer.in, layer.out));
  }
  if (x.shape().columns() != layer.in) {
    throw ShapeError(fmt::format("layer {}: Linear{{{}, {}}} gets {} columns, expected {}", name,
                                 layer.in, layer.out, x.shape().columns(), layer.in));
  }
  const Value w = graph.parameter(name + ".weight", {layer.in, layer.out},
                                  layer.weight_initializer.value_or(glorot(layer)));
  const Value z = matmul(x, w);
  if (!layer.bias) return z;
  return add_bias(z, graph.parameter(name + ".bias", {layer.out},
                                     layer.bias_initializer.value_or(glorot(layer))));
}

Value add_norm(Graph& graph, const std::string& name, const LayerNorm& layer, Value x) {
  const Shape shape{x.shape().columns()};
  return layer_norm(x, graph.parameter(name + ".weight", shape, ones()),
                    graph.parameter(name + ".bias", shape, zeros()), layer.epsilon);
}

Value add_norm(Graph& graph, const std::string& name, const BatchNorm& layer, Value x) {
  const Shape shape{x.shape().columns()};
  return batch_norm(x, graph.parameter(name + ".weight", shape, ones()),
                    graph.parameter(name + ".bias", shape, zeros()),
                    graph.state(name + ".running_mean", shape, zeros()),
                    graph.state(name + ".running_var", shape, ones()),
                    {.momentum = layer.momentum, .epsilon = layer.epsilon});
}

// The loss of raw outputs z, with the extras that are not empty.
Value add_loss(const Likelihood& likelihood, Value z, Value target, Value weights, Value offset) {
  return std::visit(
      Overloaded{
          [&](const Categorical& l) {
            return softmax_cross_entropy(
                z, target, {.label_smoothing = l.label_smoothing, .weights = weights});
          },
          [&](const Bernoulli&) { return binary_cross_entropy(z, target, {.weights = weights}); },
          [&](const Gaussian&) { return mean_squared_error(z, target, {.weights = weights}); },
          [&](const Laplace&) { return mean_absolute_error(z, target, {.weights = weights}); },
          [&](const HuberLoss& l) {
            return huber(z, target, {.delta = l.delta, .weights = weights});
          },
          [&](const HingeLoss&) { return hinge(z, target, {.weights = weights}); },
          [&](const Poisson&) {
            return poisson_nll(z, target, {.offset = offset, .weights = weights});
          },
          [&](const Gamma& l) {
            return gamma_nll(z, target, {.shape = l.shape, .offset = offset, .weights = weights});
          },
          [&](const NegativeBinomial& l) {
            return negative_binomial_nll(
                z, target, {.dispersion = l.dispersion, .offset = offset, .weights = weights});
          }},
      likelihood);
}

Value add_prediction(const Likelihood& likelihood, Value z) {
  if (std::holds_alternative<Categorical>(likelihood)) return softmax(z);
  if (std::holds_alternative<Bernoulli>(likelihood)) return sigmoid(z);
  if (has_log_link(likelihood)) return exp(z);
  return identity(z);
}

}  // namespace

Network::Network(std::vector<Layer> layers, Likelihood likelihood, Index inputs)
    : x_(graph_.input("x", {kBatch, inputs})), logits_(x_), features_(x_) {
  for (std::size_t i = 0; i < layers.size(); ++i) add_layer(layers[i], i);
  add_likelihood(likelihood);
}

void Network::add_layer(const Layer& layer, std::size_t position) {
  const std::string name = std::to_string(position);
  const Value x = logits_;
  logits_ = std::visit(
      Overloaded{[&](const Linear& l) {
                   features_ = x;
                   return add_linear(graph_, name, l, x);
                 },
                 [&](const Identity&) { return identity(x); }, [&](const Relu&) { return relu(x); },
                 [&](const LeakyRelu& l) { return leaky_relu(x, l.slope); },
                 [&](const Elu& l) { return elu(x, l.alpha); },
                 [&](const Sigmoid&) { return sigmoid(x); }, [&](const Tanh&) { return tanh(x); },
                 [&](const Softplus&) { return softplus(x); }, [&](const Silu&) { return silu(x); },
                 [&](const Gelu&) { return gelu(x); },
                 [&](const GeluTanh&) { return gelu_tanh(x); },
                 [&](const Dropout& l) { return dropout(x, l.rate); },
                 [&](const LayerNorm& l) { return add_norm(graph_, name, l, x); },
                 [&](const BatchNorm& l) { return add_norm(graph_, name, l, x); }},
      layer);
  graph_.rename(logits_, fmt::format("layer {} ({})", position, name_of(layer)));
  outputs_.push_back(logits_);
}

void Network::add_likelihood(const Likelihood& likelihood) {
  const Index outputs = logits_.shape().columns();
  const bool one_output = std::holds_alternative<Bernoulli>(likelihood) ||
                          std::holds_alternative<HingeLoss>(likelihood);
  if (one_output && outputs != 1) {
    throw ShapeError(fmt::format("likelihood '{}' needs one output, the last layer has {}",
                                 name_of(likelihood), outputs));
  }
  if (std::holds_alternative<Categorical>(likelihood)) {
    if (outputs < 2) throw ShapeError("likelihood 'softmax' needs at least two outputs, got 1");
    target_ = graph_.labels("target");
  } else {
    target_ = graph_.input("target", {kBatch, outputs});
  }
  weights_ = graph_.input("weights", {kBatch, 1});
  if (has_log_link(likelihood) && outputs == 1) offset_ = graph_.input("offset", {kBatch, 1});

  for (const bool weighted : {false, true}) {
    for (const bool with_offset : {false, true}) {
      if (with_offset && !offset_) continue;
      const Extras extras{.weights = weighted, .offset = with_offset};
      loss_[index(extras)] = graph_.rename(
          add_loss(likelihood, logits_, target_, weighted ? weights_ : Value(),
                   with_offset ? offset_ : Value()),
          fmt::format("{} loss{}{}", name_of(likelihood), weighted ? ", weighted" : "",
                      with_offset ? ", with offset" : ""));
    }
  }
  prediction_[0] = add_prediction(likelihood, logits_);
  if (offset_) prediction_[1] = add_prediction(likelihood, add(logits_, offset_));
}

}  // namespace chainrule
