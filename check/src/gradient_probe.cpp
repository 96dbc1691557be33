// SPDX-License-Identifier: Apache-2.0
#include "gradient_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

// In units of float32's rounding: how far inputs move, and how often, to see how gradients do.
constexpr double kJiggle = 8;
constexpr std::uint64_t kJiggles = 4;
constexpr std::uint64_t kJiggleStream = 4;

Tensor converted(ConstTensorView view, DType dtype) {
  Tensor tensor(Shape{view.rows, view.columns}, dtype);
  copy_values(view, tensor.view());
  return tensor;
}

GraphPoint point_of(const Graph& graph, Value output, const Feed& feed, DType dtype) {
  GraphPoint point;
  const std::vector<bool> needed = ancestors(graph, output);
  for (const auto& [value, view] : feed.inputs) {
    if (!needed.at(static_cast<std::size_t>(value.id()))) continue;
    const bool index = view.dtype == DType::kInt32;
    point.inputs.emplace_back(value, converted(view, index ? DType::kInt32 : dtype));
  }
  point.has_parameters = feed.parameters != nullptr;
  if (point.has_parameters) point.parameters = feed.parameters->to(dtype);
  return point;
}

GraphPoint to_float64(const GraphPoint& point) {
  GraphPoint result;
  for (const auto& [value, tensor] : point.inputs) {
    const bool index = tensor.dtype() == DType::kInt32;
    result.inputs.emplace_back(value, index ? tensor : tensor.to(DType::kFloat64));
  }
  result.has_parameters = point.has_parameters;
  if (point.has_parameters) result.parameters = point.parameters.to(DType::kFloat64);
  return result;
}

void bind(const GraphPoint& point, RandomKey random, Bindings& bindings) {
  for (const auto& [value, tensor] : point.inputs) bindings.input(value, tensor.view());
  if (point.has_parameters) bindings.parameters(point.parameters);
  bindings.random(random);
}

ConstTensorView view_of(const GraphPoint& point, Value value) {
  if (value.node().kind == NodeKind::kParameter) return point.parameters.view(value);
  for (const auto& [input, tensor] : point.inputs) {
    if (input == value) return tensor.view();
  }
  throw ArgumentError(
      fmt::format("check_gradients: the feed has nothing for {}", describe(value.node())));
}

TensorView writable(GraphPoint& point, Value value) {
  if (value.node().kind == NodeKind::kParameter) return point.parameters.mutable_view(value);
  const ConstTensorView view = view_of(point, value);
  return {const_cast<void*>(view.data), view.dtype, view.rows, view.columns, view.ld};
}

Shape matrix_shape(const Value& value, Index rows) {
  const Shape& shape = value.shape();
  return {shape.is_batched() ? rows : shape.rows(), shape.columns()};
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

GradientProbe::Backward::Backward(const Graph& graph, const CompileOptions& options,
                                  const GraphPoint& point, RandomKey random, Value output,
                                  Index rows)
    : plan(compile(graph, options)),
      workspace(plan, rows),
      bindings(plan),
      cotangent(matrix_shape(output, rows), options.dtype) {
  bind(point, random, bindings);
  bindings.cotangent(output, cotangent);
}

void GradientProbe::Backward::run(std::span<const double> v, Workspace& in) {
  for (Index i = 0, k = 0; i < cotangent.rows(); ++i) {
    for (Index j = 0; j < cotangent.columns(); ++j, ++k) {
      set_element(cotangent, i, j, v[static_cast<std::size_t>(k)]);
    }
  }
  Executor().run(in, bindings);
}

std::vector<Tensor> GradientProbe::Backward::gradients(const std::vector<Variable>& variables,
                                                       const Workspace& in) const {
  std::vector<Tensor> result;
  for (const Variable& variable : variables) {
    const ConstTensorView view = in.gradient(variable.value);
    result.push_back(converted(view, view.dtype));
  }
  return result;
}

GradientProbe::GradientProbe(const Graph& graph, Value output, const Feed& feed,
                             const std::vector<Value>& values, const GradientCheckOptions& options)
    : graph_(&graph),
      output_(output),
      rows_(rows_of_feed(feed)),
      random_(feed.random),
      rounded_(point_of(graph, output, feed, options.dtype)),
      exact_(to_float64(rounded_)),
      moved_(exact_) {
  for (const Value& value : values) {
    view_of(exact_, value);  // throws when the feed has nothing for it
    variables_.push_back({value.node().name, filled_shape(value.shape(), rows_), value});
  }
  CompileOptions compile_options;
  compile_options.mode = feed.mode;
  compile_options.kernels = options.kernels;
  compile_options.dtype = DType::kFloat64;
  backward_options_ = compile_options;
  backward_options_.cotangents = {output};
  backward_options_.gradients = values;
  compile_options.outputs = {output};
  forward_ = compile(graph, compile_options);
  workspace_.emplace(*forward_, rows_);
  bindings_.emplace(*forward_);
  bind(moved_, random_, *bindings_);
  y0_.resize(static_cast<std::size_t>(matrix_shape(output, rows_).elements()));
  forward(y0_);
}

bool GradientProbe::output_is_finite() const {
  return std::all_of(y0_.begin(), y0_.end(), [](double y) { return std::isfinite(y); });
}

GradientProbe::Backward& GradientProbe::backward(DType dtype) {
  std::optional<Backward>& result = backward_[dtype_index(dtype)];
  if (!result) {
    CompileOptions options = backward_options_;
    options.dtype = dtype;
    const GraphPoint& point = dtype == DType::kFloat64 ? exact_ : rounded_;
    result.emplace(*graph_, options, point, random_, output_, rows_);
  }
  return *result;
}

std::vector<Tensor> GradientProbe::gradients(std::span<const double> v, DType dtype) {
  Backward& with = backward(dtype);
  with.run(v, with.workspace);
  return with.gradients(variables_, with.workspace);
}

bool GradientProbe::is_deterministic(std::span<const double> v, DType dtype) {
  Backward& with = backward(dtype);
  with.run(v, with.workspace);
  const std::vector<Tensor> first = with.gradients(variables_, with.workspace);
  Workspace fresh(with.plan, rows_);
  for (int run = 0; run < 2; ++run) {
    with.run(v, fresh);
    for (std::size_t k = 0; k < variables_.size(); ++k) {
      if (!same_bits(fresh.gradient(variables_[k].value), first[k].view())) return false;
    }
  }
  return true;
}

ConstTensorView GradientProbe::point(std::size_t variable) const {
  return view_of(exact_, variables_[variable].value);
}

void GradientProbe::forward(std::span<double> y) {
  Executor().run(*workspace_, *bindings_);
  const MatrixView<const double> view = workspace_->output(output_).as<double>();
  for (Index i = 0; i < view.rows; ++i) {
    std::copy_n(view.row(i), view.columns, y.data() + i * view.columns);
  }
}

double GradientProbe::move_element(std::size_t variable, Index row, Index column, double t,
                                   std::span<double> y) {
  const double x = element(point(variable), row, column), moved = x + t;
  moves_.push_back({variable, row, column});
  set_element(writable(moved_, variables_[variable].value), row, column, moved);
  forward(y);
  return moved - x;
}

void GradientProbe::move(std::span<const Move> moves, double t, std::span<double> y) {
  for (const Move& move : moves) {
    const MatrixView<const double> from = point(move.variable).as<double>();
    const MatrixView<double> to = writable(moved_, variables_[move.variable].value).as<double>();
    for (Index i = 0; i < to.rows; ++i) {
      const double* d = move.direction.data() + i * to.columns;
      for (Index j = 0; j < to.columns; ++j) to(i, j) = from(i, j) + t * d[j];
    }
    moves_.push_back({.variable = move.variable});
  }
  forward(y);
}

void GradientProbe::restore() {
  for (const Moved& moved : moves_) {
    const ConstTensorView from = point(moved.variable);
    const TensorView to = writable(moved_, variables_[moved.variable].value);
    if (moved.row < 0) {
      copy_values(from, to);
    } else {
      set_element(to, moved.row, moved.column, element(from, moved.row, moved.column));
    }
  }
  moves_.clear();
}

void GradientProbe::jiggle(RandomKey key) {
  const double unit = kJiggle * std::numeric_limits<float>::epsilon() / 2;
  const auto shake = [&](TensorView view, std::uint64_t stream) {
    const MatrixView<double> x = view.as<double>();
    const RandomKey own = derive(key, stream);
    for (Index i = 0; i < x.rows; ++i) {
      for (Index j = 0; j < x.columns; ++j) {
        x(i, j) *= 1 + unit * random_signed(own, i * x.columns + j);
      }
    }
  };
  std::uint64_t stream = 0;
  for (auto& [value, tensor] : exact_.inputs) {
    if (tensor.dtype() == DType::kFloat64) shake(tensor.view(), stream++);
  }
  if (!exact_.has_parameters) return;
  for (Index i = 0; i < exact_.parameters.size(); ++i) {
    if (exact_.parameters.layout().entries[static_cast<std::size_t>(i)].learned) {
      shake(exact_.parameters.mutable_view(i), stream++);
    }
  }
}

std::vector<Tensor> GradientProbe::float32_spread(std::span<const double> v) {
  const std::vector<Tensor> middle = gradients(v, DType::kFloat64);
  std::vector<Tensor> spread;
  for (const Tensor& tensor : middle) spread.emplace_back(tensor.shape(), DType::kFloat64);
  for (std::uint64_t run = 0; run < kJiggles; ++run) {
    jiggle({.seed = run, .stream = kJiggleStream});
    const std::vector<Tensor> moved = gradients(v, DType::kFloat64);
    for (std::size_t k = 0; k < moved.size(); ++k) {
      const MatrixView<double> to = spread[k].as<double>();
      for (Index i = 0; i < to.rows; ++i) {
        for (Index j = 0; j < to.columns; ++j) {
          const double change = element(moved[k].view(), i, j) - element(middle[k].view(), i, j);
          to(i, j) = std::max(to(i, j), std::abs(change));
        }
      }
    }
    // Copied in place: bindings hold the addresses.
    for (std::size_t k = 0; k < exact_.inputs.size(); ++k) {
      copy_values(moved_.inputs[k].second.view(), exact_.inputs[k].second.view());
    }
    if (exact_.has_parameters) exact_.parameters.assign(moved_.parameters);
  }
  return spread;
}

}  // namespace chainrule::internal
