// SPDX-License-Identifier: Apache-2.0
#include "gradient_probe.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

// How far inputs move, and how often, to see how gradients do: some units of float32's rounding.
constexpr double kJiggle = 4 * std::numeric_limits<float>::epsilon();
constexpr std::uint64_t kJiggles = 4;
constexpr std::uint64_t kJiggleStream = 4;

}  // namespace

GradientProbe::Backward::Backward(const Graph& graph, const CompileOptions& options,
                                  const GraphPoint& point, RandomKey random, Value output,
                                  Index rows)
    : plan(compile(graph, options)),
      workspace(plan, rows),
      bindings(plan),
      cotangent(matrix_shape(output, rows), options.dtype) {
  point.bind(random, bindings);
  bindings.cotangent(output, cotangent);
}

void GradientProbe::Backward::run(std::span<const double> v, Workspace& in) {
  assign(v, cotangent);
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
    : GraphSubject(graph, output, feed, values, options) {
  CompileOptions forward = this->options();
  forward.outputs = {output};
  start(forward, matrix_shape(output, rows()).elements());
}

void GradientProbe::read(const Workspace& workspace, std::span<double> y) const {
  copy_row_major(workspace.output(output()), y);
}

GradientProbe::Backward& GradientProbe::backward(DType dtype) {
  std::optional<Backward>& result = backward_[dtype_index(dtype)];
  if (!result) {
    CompileOptions options = this->options();
    options.dtype = dtype;
    options.cotangents = {output()};
    for (const Variable& variable : variables()) options.gradients.push_back(variable.value);
    const GraphPoint& point = dtype == DType::kFloat64 ? exact() : rounded();
    result.emplace(graph(), options, point, random(), output(), rows());
  }
  return *result;
}

std::vector<Tensor> GradientProbe::gradients(std::span<const double> v, DType dtype) {
  Backward& with = backward(dtype);
  with.run(v, with.workspace);
  return with.gradients(variables(), with.workspace);
}

bool GradientProbe::is_deterministic(std::span<const double> v, DType dtype) {
  Backward& with = backward(dtype);
  with.run(v, with.workspace);
  const std::vector<Tensor> first = with.gradients(variables(), with.workspace);
  Workspace fresh(with.plan, rows());
  for (int run = 0; run < 2; ++run) {
    with.run(v, fresh);
    for (std::size_t k = 0; k < variables().size(); ++k) {
      if (!same_bits(fresh.gradient(variables()[k].value), first[k].view())) return false;
    }
  }
  return true;
}

std::unique_ptr<ForwardProbe> GradientProbe::forward_mode(std::size_t variable) {
  try {
    return std::make_unique<ForwardProbe>(graph(), output(), variables()[variable].value, options(),
                                          exact(), rounded(), random(), rows());
  } catch (const UnsupportedError& error) {
    without_forward_mode_ = error.what();
    return nullptr;
  }
}

std::vector<Tensor> GradientProbe::float32_spread(std::span<const double> v) {
  const std::vector<Tensor> middle = gradients(v, DType::kFloat64);
  std::vector<Tensor> spread;
  for (const Tensor& tensor : middle) spread.emplace_back(tensor.shape(), DType::kFloat64);
  for (std::uint64_t run = 0; run < kJiggles; ++run) {
    jiggle({.seed = run, .stream = kJiggleStream}, kJiggle);
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
    reset();
  }
  return spread;
}

}  // namespace chainrule::internal
