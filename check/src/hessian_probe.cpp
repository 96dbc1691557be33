// SPDX-License-Identifier: Apache-2.0
#include "hessian_probe.hpp"

#include "chainrule/core/error.hpp"

namespace chainrule::internal {

HessianProbe::HessianProbe(const Graph& graph, Value loss, const Feed& feed,
                           const std::vector<Value>& values, const GradientCheckOptions& options)
    : GraphSubject(graph, loss, feed, values, options) {
  CompileOptions gradient = this->options();
  gradient.loss = loss;
  gradient.gradients = values;
  CompileOptions product = gradient;
  product.tangents = product.gradient_tangents = values;
  plan_ = compile(graph, product);
  workspace_.emplace(*plan_, rows());
  bindings_.emplace(*plan_);
  exact().bind(random(), *bindings_);
  Index elements = 0;
  for (const Value& value : values) {
    tangents_.emplace_back(matrix_shape(value, rows()), DType::kFloat64);
    elements += tangents_.back().rows() * tangents_.back().columns();
  }
  for (std::size_t k = 0; k < values.size(); ++k) bindings_->tangent(values[k], tangents_[k]);
  start(gradient, elements);
}

void HessianProbe::read(const Workspace& workspace, std::span<double> y) const {
  for (const Variable& variable : variables()) {
    const ConstTensorView gradient = workspace.gradient(variable.value);
    const auto count = static_cast<std::size_t>(gradient.rows * gradient.columns);
    copy_row_major(gradient, y.first(count));
    y = y.subspan(count);
  }
}

std::vector<Tensor> HessianProbe::gradients(std::span<const double> v, DType) {
  for (Tensor& tangent : tangents_) {
    const auto count = static_cast<std::size_t>(tangent.rows() * tangent.columns());
    assign(v.first(count), tangent);
    v = v.subspan(count);
  }
  Executor().run(*workspace_, *bindings_);
  std::vector<Tensor> result;
  for (const Variable& variable : variables()) {
    const ConstTensorView product = workspace_->gradient_tangent(variable.value);
    result.push_back(converted(product, DType::kFloat64));
  }
  return result;
}

std::vector<Tensor> HessianProbe::float32_spread(std::span<const double>) {
  throw UnsupportedError("check_hessian: there is no float32 here");
}

}  // namespace chainrule::internal
