// SPDX-License-Identifier: Apache-2.0
#include "graph_subject.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

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

}  // namespace

GraphSubject::GraphSubject(const Graph& graph, Value output, const Feed& feed,
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
  options_.mode = feed.mode;
  options_.kernels = options.kernels;
  options_.dtype = DType::kFloat64;
}

void GraphSubject::start(const CompileOptions& options, Index outputs) {
  plan_ = compile(*graph_, options);
  workspace_.emplace(*plan_, rows_);
  bindings_.emplace(*plan_);
  moved_.bind(random_, *bindings_);
  y0_.resize(static_cast<std::size_t>(outputs));
  run(y0_);
}

void GraphSubject::run(std::span<double> y) {
  Executor().run(*workspace_, *bindings_);
  read(*workspace_, y);
}

bool GraphSubject::output_is_finite() const {
  return std::all_of(y0_.begin(), y0_.end(), [](double y) { return std::isfinite(y); });
}

ConstTensorView GraphSubject::point(std::size_t variable) const {
  return view_of(exact_, variables_[variable].value);
}

double GraphSubject::move_element(std::size_t variable, Index row, Index column, double t,
                                  std::span<double> y) {
  const double x = element(point(variable), row, column), moved = x + t;
  moves_.push_back({variable, row, column});
  set_element(writable(moved_, variables_[variable].value), row, column, moved);
  run(y);
  return moved - x;
}

void GraphSubject::move(std::span<const Move> moves, double t, std::span<double> y) {
  for (const Move& move : moves) {
    const MatrixView<const double> from = point(move.variable).as<double>();
    const MatrixView<double> to = writable(moved_, variables_[move.variable].value).as<double>();
    for (Index i = 0; i < to.rows; ++i) {
      const double* d = move.direction.data() + i * to.columns;
      for (Index j = 0; j < to.columns; ++j) to(i, j) = from(i, j) + t * d[j];
    }
    moves_.push_back({.variable = move.variable});
  }
  run(y);
}

void GraphSubject::restore() {
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

void GraphSubject::jiggle(RandomKey key, double size) {
  const auto shake = [&](TensorView view, std::uint64_t stream) {
    const MatrixView<double> x = view.as<double>();
    const RandomKey own = derive(key, stream);
    for (Index i = 0; i < x.rows; ++i) {
      for (Index j = 0; j < x.columns; ++j) {
        x(i, j) *= 1 + size * random_signed(own, i * x.columns + j);
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

// Copied in place: bindings hold the addresses.
void GraphSubject::reset() {
  for (std::size_t k = 0; k < exact_.inputs.size(); ++k) {
    copy_values(moved_.inputs[k].second.view(), exact_.inputs[k].second.view());
  }
  if (exact_.has_parameters) exact_.parameters.assign(moved_.parameters);
}

}  // namespace chainrule::internal
