// SPDX-License-Identifier: Apache-2.0
#include "forward_probe.hpp"

#include <algorithm>
#include <cmath>

namespace chainrule::internal {
namespace {

double norm_of(ConstTensorView view) {
  double sum = 0;
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) sum = std::hypot(sum, element(view, i, j));
  }
  return sum;
}

// What moves with `value` and has a gradient, in between and the output included.
std::vector<Value> values_between(const Graph& graph, Value output, Value value) {
  const std::vector<bool> reached = reached_by_gradient(graph, output);
  std::vector<bool> moves(reached.size());
  moves[static_cast<std::size_t>(value.id())] = true;
  std::vector<Value> result;
  for (NodeId id = value.id() + 1; id <= output.id(); ++id) {
    const Node& node = graph.node(id);
    const auto k = static_cast<std::size_t>(id);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const bool differentiable = ((node.op->traits.differentiable_inputs >> i) & 1U) != 0;
      if (differentiable && moves[static_cast<std::size_t>(node.inputs[i])]) moves[k] = true;
    }
    if (moves[k] && reached[k]) result.emplace_back(output.graph(), id);
  }
  return result;
}

// J u is linear in u: smaller by this, nothing in between overflows.
double harmless_scale(DType dtype) { return dtype == DType::kFloat32 ? 0x1p-60 : 0x1p-300; }

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); });
}

std::vector<double> multiplied(std::span<const double> values, double factor) {
  std::vector<double> result(values.begin(), values.end());
  for (double& value : result) value *= factor;
  return result;
}

}  // namespace

ForwardProbe::Program::Program(const ForwardProbe& probe, const CompileOptions& options,
                               const GraphPoint& point)
    : plan(compile(probe.graph_, options)),
      workspace(plan, probe.rows_),
      bindings(plan),
      tangent(matrix_shape(probe.value_, probe.rows_), options.dtype) {
  point.bind(probe.random_, bindings);
  bindings.tangent(probe.value_, tangent);
}

ForwardProbe::ForwardProbe(const Graph& graph, Value output, Value value,
                           const CompileOptions& options, const GraphPoint& exact,
                           const GraphPoint& rounded, RandomKey random, Index rows)
    : graph_(graph),
      output_(output),
      value_(value),
      options_(options),
      exact_(exact),
      rounded_(rounded),
      random_(random),
      rows_(rows) {
  options_.tangents = {value};
  options_.output_tangents = {output};
  program(DType::kFloat64);
}

ForwardProbe::Program& ForwardProbe::program(DType dtype) {
  std::optional<Program>& result = programs_[dtype_index(dtype)];
  if (!result) {
    CompileOptions options = options_;
    options.dtype = dtype;
    result.emplace(*this, options, dtype == DType::kFloat64 ? exact_ : rounded_);
  }
  return *result;
}

std::vector<double> ForwardProbe::product(std::span<const double> u, DType dtype) {
  Program& with = program(dtype);
  const auto run = [&](std::span<const double> direction) {
    assign(direction, with.tangent);
    Executor().run(with.workspace, with.bindings);
    const ConstTensorView tangent = with.workspace.tangent(output_);
    std::vector<double> result(static_cast<std::size_t>(tangent.rows * tangent.columns));
    copy_row_major(tangent, result);
    return result;
  };
  std::vector<double> result = run(u);
  if (all_finite(result)) return result;
  const double scale = harmless_scale(dtype);
  return multiplied(run(multiplied(u, scale)), 1 / scale);
}

ForwardProbe::Program& ForwardProbe::both() {
  if (both_) return *both_;
  between_ = values_between(graph_, output_, value_);
  CompileOptions options = options_;
  options.dtype = DType::kFloat64;
  options.cotangents = {output_};
  options.gradients = between_;
  options.output_tangents = between_;
  both_.emplace(*this, options, exact_);
  cotangent_ = Tensor(matrix_shape(output_, rows_), DType::kFloat64);
  both_->bindings.cotangent(output_, cotangent_);
  return *both_;
}

double ForwardProbe::terms(std::span<const double> v, std::span<const double> u,
                           bool slopes_of_one) {
  Program& with = both();
  const double scale = harmless_scale(DType::kFloat64);
  assign(multiplied(u, scale), with.tangent);
  assign(v, cotangent_);
  Executor().run(with.workspace, with.bindings);
  double sum = 0;
  for (const Value& value : between_) {
    double tangents = norm_of(with.workspace.tangent(value));
    if (slopes_of_one && !value.node().op->traits.linear) tangents += input_tangents(value.node());
    sum += norm_of(with.workspace.gradient(value)) * (tangents / scale);
  }
  return std::isfinite(sum) ? sum : 0;
}

double ForwardProbe::input_tangents(const Node& node) const {
  double sum = 0;
  for (const NodeId id : node.inputs) {
    if (id == value_.id()) sum += norm_of(both_->tangent);
    const auto is_input = [id](const Value& value) { return value.id() == id; };
    if (std::any_of(between_.begin(), between_.end(), is_input)) {
      sum += norm_of(both_->workspace.tangent(Value(value_.graph(), id)));
    }
  }
  return sum;
}

}  // namespace chainrule::internal
