// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/random_feed.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "chainrule/core/error.hpp"
#include "gradient_probe.hpp"

namespace chainrule {
namespace {

constexpr std::uint64_t kInputSalt = 31;
constexpr std::uint64_t kParameterSalt = 32;
constexpr RandomKey kDropoutKey{.seed = 11, .stream = 5};

// How many rows or classes the indices of `node` may name for this consumer.
std::optional<Index> index_limit(const Graph& graph, const Node& consumer) {
  std::optional<Index> table;
  for (const NodeId id : consumer.inputs) {
    const Node& operand = graph.node(id);
    if (operand.kind == NodeKind::kIndexInput) continue;
    if (operand.shape.is_batched()) return operand.shape.columns();
    if (!table) table = operand.shape.rows();
  }
  return table;
}

Index index_limit(const Graph& graph, NodeId indices) {
  Index limit = std::numeric_limits<std::int32_t>::max();
  bool found = false;
  for (NodeId id = 0; id < graph.size(); ++id) {
    const Node& node = graph.node(id);
    if (std::find(node.inputs.begin(), node.inputs.end(), indices) == node.inputs.end()) continue;
    if (const std::optional<Index> of_consumer = index_limit(graph, node)) {
      limit = std::min(limit, *of_consumer);
      found = true;
    }
  }
  return found ? limit : 1;
}

// fill(u) of numbers u uniform on [0, 1).
template <class Fill>
Tensor drawn(const Shape& shape, RandomKey key, Fill&& fill) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> x = tensor.as<double>();
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      x(i, j) = fill(random_uniform(key, static_cast<std::uint64_t>(i * x.columns + j)));
    }
  }
  return tensor;
}

bool is_finite(const Tensor& tensor) {
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) {
      if (!std::isfinite(element(tensor.view(), i, j))) return false;
    }
  }
  return true;
}

Parameters moved(const Graph& graph, std::uint64_t seed) {
  Parameters parameters(graph, DType::kFloat64, seed);
  for (const ParameterLayout::Entry& entry : parameters.layout().entries) {
    if (!entry.learned) continue;
    const RandomKey key =
        derive({.seed = seed, .stream = static_cast<std::uint64_t>(entry.node)}, kParameterSalt);
    const MatrixView<double> x = parameters.mutable_view(entry.name).as<double>();
    const double width = 1 / std::sqrt(static_cast<double>(std::max<Index>(1, x.rows)));
    for (Index i = 0; i < x.rows; ++i) {
      for (Index j = 0; j < x.columns; ++j) {
        const auto k = static_cast<std::uint64_t>(i * x.columns + j);
        x(i, j) += width * (random_uniform(key, k) - 0.5);
      }
    }
  }
  return parameters;
}

}  // namespace

RandomFeed::RandomFeed(const Value& output, const RandomFeedOptions& options)
    : output_(output), options_(options) {
  if (!output) throw ArgumentError("RandomFeed: the output is an empty value");
  if (options.rows < 1) {
    throw ArgumentError(fmt::format("RandomFeed: {} rows, expected at least 1", options.rows));
  }
  parameters_ = moved(*output.graph(), options.seed);
  draw(-2, 2);
  if (!is_finite(evaluate(*output.graph(), output, feed()))) draw(0.25, 2);
}

void RandomFeed::draw(double low, double high) {
  inputs_.clear();
  Graph& graph = *output_.graph();
  for (NodeId id = 0; id < graph.size(); ++id) {
    const NodeKind kind = graph.node(id).kind;
    if (kind != NodeKind::kInput && kind != NodeKind::kIndexInput) continue;
    const Value value(&graph, id);
    const Shape shape = internal::filled_shape(value.shape(), options_.rows);
    const RandomKey key =
        derive({.seed = options_.seed, .stream = static_cast<std::uint64_t>(id)}, kInputSalt);
    if (kind == NodeKind::kInput) {
      inputs_.emplace_back(value,
                           drawn(shape, key, [&](double u) { return low + u * (high - low); }));
      continue;
    }
    const auto limit = static_cast<double>(index_limit(graph, id));
    inputs_.emplace_back(value, drawn(shape, key, [&](double u) {
                                  return std::floor(u * limit);
                                }).to(DType::kInt32));
  }
}

Feed RandomFeed::feed() const {
  Feed feed;
  for (const auto& [value, tensor] : inputs_) feed.inputs.emplace_back(value, tensor.view());
  feed.parameters = &parameters_;
  feed.mode = options_.mode;
  feed.random = kDropoutKey;
  return feed;
}

}  // namespace chainrule
