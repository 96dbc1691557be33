// SPDX-License-Identifier: Apache-2.0
#include "gradient_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

constexpr std::uint64_t kWeightStream = 1;

void set_element(TensorView view, Index i, Index j, double value) {
  if (view.dtype == DType::kFloat64) {
    view.as<double>()(i, j) = value;
  } else {
    view.as<float>()(i, j) = static_cast<float>(value);
  }
}

Tensor converted(ConstTensorView view, DType dtype) {
  Tensor tensor(Shape{view.rows, view.columns}, dtype);
  copy_values(view, tensor.view());
  return tensor;
}

// Bit patterns, so that NaN equals itself and 0 differs from -0.
bool same_bits(ConstTensorView a, ConstTensorView b) {
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.columns; ++j) {
      if (std::bit_cast<std::uint64_t>(element(a, i, j)) !=
          std::bit_cast<std::uint64_t>(element(b, i, j))) {
        return false;
      }
    }
  }
  return true;
}

}  // namespace

std::vector<bool> ancestors(const Graph& graph, Value output) {
  std::vector<bool> marked(static_cast<std::size_t>(graph.size()));
  marked.at(static_cast<std::size_t>(output.id())) = true;
  for (NodeId id = output.id(); id >= 0; --id) {
    if (!marked[static_cast<std::size_t>(id)]) continue;
    for (const NodeId i : graph.node(id).inputs) marked[static_cast<std::size_t>(i)] = true;
  }
  return marked;
}

std::vector<Value> differentiable_leaves(const Graph& graph, Value output) {
  std::vector<bool> reached(static_cast<std::size_t>(graph.size()));
  reached.at(static_cast<std::size_t>(output.id())) = true;
  std::vector<Value> leaves;
  for (NodeId id = output.id(); id >= 0; --id) {
    if (!reached[static_cast<std::size_t>(id)]) continue;
    const Node& node = graph.node(id);
    if (node.kind == NodeKind::kInput || node.kind == NodeKind::kParameter) {
      leaves.emplace_back(output.graph(), id);
    }
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (((node.op->traits.differentiable_inputs >> i) & 1U) == 0) continue;
      reached[static_cast<std::size_t>(node.inputs[i])] = true;
    }
  }
  std::reverse(leaves.begin(), leaves.end());
  return leaves;
}

Index rows_of_feed(const Feed& feed) {
  for (const auto& [value, view] : feed.inputs) {
    if (value.shape().is_batched()) return view.rows;
  }
  return 0;
}

Shape filled_shape(const Shape& shape, Index rows) {
  if (!shape.is_batched()) return shape;
  return shape.rank() == 1 ? Shape{rows, 1} : shape.with_batch(rows);
}

double random_signed(RandomKey key, Index index) {
  const double u = random_uniform(key, static_cast<std::uint64_t>(index));
  return u < 0.5 ? u - 1 : u;  // [-1, -1/2) or [1/2, 1)
}

GradientProbe::GradientProbe(const Graph& graph, Value output, const Feed& feed,
                             std::vector<Value> values, const GradientCheckOptions& options)
    : output_(output), values_(std::move(values)), rows_(rows_of_feed(feed)) {
  fill(graph, feed, options);
  CompileOptions compile_options;
  compile_options.mode = feed.mode;
  compile_options.kernels = options.kernels;
  compile_options.dtype = DType::kFloat64;
  compile_options.outputs = {output};
  forward_ = compile(graph, compile_options);
  compile_options.dtype = options.dtype;
  compile_options.outputs.clear();
  compile_options.cotangents = {output};
  compile_options.gradients = values_;
  backward_ = compile(graph, compile_options);

  workspace_.emplace(*forward_, rows_);
  forward_bindings_.emplace(*forward_);
  bind(feed, *forward_bindings_, true);
  Executor().run(*workspace_, *forward_bindings_);
  const ConstTensorView y = workspace_->output(output_);
  cotangent_ = Tensor(Shape{y.rows, y.columns}, options.dtype);
  const RandomKey key{.seed = options.seed, .stream = kWeightStream};
  for (Index i = 0; i < y.rows; ++i) {
    for (Index j = 0; j < y.columns; ++j) {
      set_element(cotangent_, i, j, random_signed(key, i * y.columns + j));
      weights_.push_back(element(cotangent_.view(), i, j));
      y0_.push_back(element(y, i, j));
    }
  }
  backward_bindings_.emplace(*backward_);
  bind(feed, *backward_bindings_, false);
  backward_bindings_->cotangent(output_, cotangent_);
}

void GradientProbe::fill(const Graph& graph, const Feed& feed,
                         const GradientCheckOptions& options) {
  const std::vector<bool> needed = ancestors(graph, output_);
  for (const auto& [value, view] : feed.inputs) {
    if (!needed.at(static_cast<std::size_t>(value.id()))) continue;
    if (view.dtype == DType::kInt32) {
      exact_.emplace_back(value, converted(view, DType::kInt32));
      rounded_.emplace_back(value, converted(view, DType::kInt32));
      continue;
    }
    rounded_.emplace_back(value, converted(view, options.dtype));
    exact_.emplace_back(value, rounded_.back().second.to(DType::kFloat64));
  }
  if (feed.parameters == nullptr) return;
  has_parameters_ = true;
  rounded_parameters_ = feed.parameters->to(options.dtype);
  exact_parameters_ = rounded_parameters_.to(DType::kFloat64);
}

void GradientProbe::bind(const Feed& feed, Bindings& bindings, bool float64) const {
  for (const auto& [value, tensor] : float64 ? exact_ : rounded_) {
    bindings.input(value, tensor.view());
  }
  if (has_parameters_) bindings.parameters(float64 ? exact_parameters_ : rounded_parameters_);
  bindings.random(feed.random);
}

bool GradientProbe::output_is_finite() const {
  return std::all_of(y0_.begin(), y0_.end(), [](double y) { return std::isfinite(y); });
}

std::vector<Tensor> GradientProbe::gradients() {
  Workspace workspace(*backward_, rows_);
  Executor().run(workspace, *backward_bindings_);
  std::vector<Tensor> result;
  for (const Value& value : values_) {
    const ConstTensorView view = workspace.gradient(value);
    result.push_back(converted(view, view.dtype));
  }
  return result;
}

bool GradientProbe::is_deterministic() {
  const std::vector<Tensor> fresh = gradients();
  Workspace workspace(*backward_, rows_);
  for (int run = 0; run < 2; ++run) {
    Executor().run(workspace, *backward_bindings_);
    for (std::size_t k = 0; k < values_.size(); ++k) {
      if (!same_bits(workspace.gradient(values_[k]), fresh[k].view())) return false;
    }
  }
  return true;
}

ConstTensorView GradientProbe::point(Value value) const {
  if (value.node().kind == NodeKind::kParameter) return exact_parameters_.view(value);
  for (const auto& [input, tensor] : exact_) {
    if (input == value) return tensor.view();
  }
  throw ArgumentError(
      fmt::format("check_gradients: the feed has nothing for {}", describe(value.node())));
}

TensorView GradientProbe::writable(Value value) {
  if (value.node().kind == NodeKind::kParameter) return exact_parameters_.mutable_view(value);
  const ConstTensorView view = point(value);
  return {const_cast<void*>(view.data), view.dtype, view.rows, view.columns, view.ld};
}

void GradientProbe::forward(std::span<double> y) {
  Executor().run(*workspace_, *forward_bindings_);
  const MatrixView<const double> view = workspace_->output(output_).as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    std::copy_n(view.row(i), view.columns, y.data() + i * view.columns);
  }
}

NumericDerivative GradientProbe::along_element(Value value, Index row, Index column,
                                               double first_step) {
  const double x = element(point(value), row, column);
  const NumericDerivative result = differentiate(
      [&](double t, std::span<double> y) {
        set_element(writable(value), row, column, x + t);
        forward(y);
      },
      weights_, y0_, first_step);
  set_element(writable(value), row, column, x);
  return result;
}

NumericDerivative GradientProbe::along(Value value, std::span<const double> direction,
                                       double first_step) {
  const Tensor x = converted(point(value), DType::kFloat64);
  const MatrixView<const double> from = x.as<double>();
  const auto move = [&](double t) {
    const MatrixView<double> to = writable(value).as<double>();
    for (Index i = 0; i < to.rows; ++i) {
      const double* d = direction.data() + i * to.columns;
      for (Index j = 0; j < to.columns; ++j) to(i, j) = from(i, j) + t * d[j];
    }
  };
  const NumericDerivative result = differentiate(
      [&](double t, std::span<double> y) {
        move(t);
        forward(y);
      },
      weights_, y0_, first_step);
  move(0);
  return result;
}

}  // namespace chainrule::internal
