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

Value add_linear(Graph& graph, const std::string& name, const Linear& layer, Value x, Where where) {
  if (layer.in < 1 || layer.out < 1) {
    throw ArgumentError(fmt::format("layer {}: Linear{{{}, {}}}, expected two sizes >= 1", name,
                                    layer.in, layer.out));
  }
  if (x.shape().columns() != layer.in) {
    throw ShapeError(fmt::format("layer {}: Linear{{{}, {}}} gets {} columns, expected {}", name,
                                 layer.in, layer.out, x.shape().columns(), layer.in));
  }
  const Value w = graph.parameter(name + ".weight", {layer.in, layer.out},
                                  layer.weight_initializer.value_or(glorot(layer)), where);
  const Value z = matmul(x, w, where);
  if (!layer.bias) return z;
  return add_bias(z,
                  graph.parameter(name + ".bias", {layer.out},
                                  layer.bias_initializer.value_or(glorot(layer)), where),
                  where);
}

Value add_norm(Graph& graph, const std::string& name, const LayerNorm& layer, Value x,
               Where where) {
  const Shape shape{x.shape().columns()};
  return layer_norm(x, graph.parameter(name + ".weight", shape, ones(), where),
                    graph.parameter(name + ".bias", shape, zeros(), where), layer.epsilon, where);
}

Value add_norm(Graph& graph, const std::string& name, const BatchNorm& layer, Value x,
               Where where) {
  const Shape shape{x.shape().columns()};
  return batch_norm(x, graph.parameter(name + ".weight", shape, ones(), where),
                    graph.parameter(name + ".bias", shape, zeros(), where),
                    graph.state(name + ".running_mean", shape, zeros(), where),
                    graph.state(name + ".running_var", shape, ones(), where),
                    {.momentum = layer.momentum, .epsilon = layer.epsilon}, where);
}

// The loss of raw outputs z, with the extras that are not empty.
Value add_loss(const Likelihood& likelihood, Value z, Value target, Value weights, Value offset,
               Where where) {
  return std::visit(
      Overloaded{[&](const Categorical& l) {
                   return softmax_cross_entropy(
                       z, target, {.label_smoothing = l.label_smoothing, .weights = weights},
                       where);
                 },
                 [&](const Bernoulli&) {
                   return binary_cross_entropy(z, target, {.weights = weights}, where);
                 },
                 [&](const Gaussian&) {
                   return mean_squared_error(z, target, {.weights = weights}, where);
                 },
                 [&](const Laplace&) {
                   return mean_absolute_error(z, target, {.weights = weights}, where);
                 },
                 [&](const HuberLoss& l) {
                   return huber(z, target, {.delta = l.delta, .weights = weights}, where);
                 },
                 [&](const HingeLoss&) { return hinge(z, target, {.weights = weights}, where); },
                 [&](const Poisson&) {
                   return poisson_nll(z, target, {.offset = offset, .weights = weights}, where);
                 },
                 [&](const Gamma& l) {
                   return gamma_nll(
                       z, target, {.shape = l.shape, .offset = offset, .weights = weights}, where);
                 },
                 [&](const NegativeBinomial& l) {
                   return negative_binomial_nll(
                       z, target,
                       {.dispersion = l.dispersion, .offset = offset, .weights = weights}, where);
                 }},
      likelihood);
}

Value add_prediction(const Likelihood& likelihood, Value z, Where where) {
  if (std::holds_alternative<Categorical>(likelihood)) return softmax(z, where);
  if (std::holds_alternative<Bernoulli>(likelihood)) return sigmoid(z, where);
  if (has_log_link(likelihood)) return exp(z, where);
  return identity(z, where);
}

}  // namespace

Network::Network(std::vector<Layer> layers, Likelihood likelihood, Index inputs, Where where)
    : x_(graph_.input("x", {kBatch, inputs}, where)), logits_(x_), features_(x_) {
  for (std::size_t i = 0; i < layers.size(); ++i) add_layer(layers[i], i, where);
  add_likelihood(likelihood, where);
}

void Network::add_layer(const Layer& layer, std::size_t position, Where where) {
  const std::string name = std::to_string(position);
  const Value x = logits_;
  logits_ = std::visit(
      Overloaded{[&](const Linear& l) {
                   features_ = x;
                   return add_linear(graph_, name, l, x, where);
                 },
                 [&](const Identity&) { return identity(x, where); },
                 [&](const Relu&) { return relu(x, where); },
                 [&](const LeakyRelu& l) { return leaky_relu(x, l.slope, where); },
                 [&](const Elu& l) { return elu(x, l.alpha, where); },
                 [&](const Sigmoid&) { return sigmoid(x, where); },
                 [&](const Tanh&) { return tanh(x, where); },
                 [&](const Softplus&) { return softplus(x, where); },
                 [&](const Silu&) { return silu(x, where); },
                 [&](const Gelu&) { return gelu(x, where); },
                 [&](const GeluTanh&) { return gelu_tanh(x, where); },
                 [&](const Dropout& l) { return dropout(x, l.rate, where); },
                 [&](const LayerNorm& l) { return add_norm(graph_, name, l, x, where); },
                 [&](const BatchNorm& l) { return add_norm(graph_, name, l, x, where); }},
      layer);
  graph_.rename(logits_, fmt::format("layer {} ({})", position, name_of(layer)));
  outputs_.push_back(logits_);
}

void Network::add_likelihood(const Likelihood& likelihood, Where where) {
  const Index outputs = logits_.shape().columns();
  const bool one_output = std::holds_alternative<Bernoulli>(likelihood) ||
                          std::holds_alternative<HingeLoss>(likelihood);
  if (one_output && outputs != 1) {
    throw ShapeError(fmt::format("likelihood '{}' needs one output, the last layer has {}",
                                 name_of(likelihood), outputs));
  }
  if (std::holds_alternative<Categorical>(likelihood)) {
    if (outputs < 2) throw ShapeError("likelihood 'softmax' needs at least two outputs, got 1");
    target_ = graph_.labels("target", where);
  } else {
    target_ = graph_.input("target", {kBatch, outputs}, where);
  }
  weights_ = graph_.input("weights", {kBatch, 1}, where);
  if (has_log_link(likelihood) && outputs == 1)
    offset_ = graph_.input("offset", {kBatch, 1}, where);

  for (const bool weighted : {false, true}) {
    for (const bool with_offset : {false, true}) {
      if (with_offset && !offset_) continue;
      const Extras extras{.weights = weighted, .offset = with_offset};
      loss_[index(extras)] = graph_.rename(
          add_loss(likelihood, logits_, target_, weighted ? weights_ : Value(),
                   with_offset ? offset_ : Value(), where),
          fmt::format("{} loss{}{}", name_of(likelihood), weighted ? ", weighted" : "",
                      with_offset ? ", with offset" : ""));
    }
  }
  prediction_[0] = add_prediction(likelihood, logits_, where);
  if (offset_) prediction_[1] = add_prediction(likelihood, add(logits_, offset_, where), where);
}

}  // namespace chainrule
