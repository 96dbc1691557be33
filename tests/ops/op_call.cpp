// SPDX-License-Identifier: Apache-2.0
#include "op_call.hpp"

#include <algorithm>
#include <stdexcept>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"

namespace chainrule::testing {
namespace {

const TileRunner kSerialTiles{
    .self = nullptr, .run = [](void*, Index count, void (*body)(void*, Index), void* argument) {
      for (Index tile = 0; tile < count; ++tile) body(argument, tile);
    }};

/// As the matrix that ops see: [batch] is a column, [n] a row.
Tensor allocate(const Shape& shape, Index batch_rows, DType dtype) {
  return Tensor({shape.is_batched() ? batch_rows : shape.rows(), shape.columns()}, dtype);
}

/// Rows [first, first + rows) when batched, else all of them.
TensorView window(Tensor& tensor, bool batched, Index first, Index rows) {
  TensorView view = tensor.view();
  if (!batched || view.data == nullptr) return view;
  view.data = static_cast<char*>(view.data) + first * view.ld * size_of(view.dtype);
  view.rows = rows;
  return view;
}

void put(TensorView view, Index i, Index j, double value) {
  switch (view.dtype) {
    case DType::kFloat32:
      view.as<float>()(i, j) = static_cast<float>(value);
      return;
    case DType::kFloat64:
      view.as<double>()(i, j) = value;
      return;
    case DType::kInt32:
      view.as<std::int32_t>()(i, j) = static_cast<std::int32_t>(value);
      return;
  }
}

Tensor transposed(const Tensor& matrix) {
  Tensor result({matrix.columns(), matrix.rows()}, matrix.dtype());
  for (Index i = 0; i < matrix.rows(); ++i) {
    for (Index j = 0; j < matrix.columns(); ++j) put(result.view(), j, i, element(matrix, i, j));
  }
  return result;
}

}  // namespace

OpCall::OpCall(const Value& value, Index batch_rows, DType dtype)
    : op_(value.node().op),
      attributes_(value.node().attributes),
      batch_rows_(batch_rows),
      dtype_(dtype) {
  std::vector<Shape> shapes;
  for (const NodeId id : value.node().inputs) {
    const Node& input = value.graph()->node(id);
    const auto i = inputs.size();
    const bool index = input.kind == NodeKind::kIndexInput;
    shapes.push_back(input.shape);
    batched_inputs_.push_back(input.shape.is_batched());
    inputs.push_back(allocate(input.shape, batch_rows, index ? DType::kInt32 : dtype));
    const bool differentiable = ((op_->traits.differentiable_inputs >> i) & 1U) != 0;
    gradients.push_back(differentiable ? allocate(input.shape, batch_rows, dtype) : Tensor());
  }
  tangents = gradient_tangents = gradients;
  output = allocate(value.shape(), batch_rows, dtype);
  output_gradient = output_tangent = output_gradient_tangent = output;
  batched_output_ = value.shape().is_batched();
  if (op_->saved != nullptr) {
    const Shape shape = op_->saved({.inputs = shapes, .attributes = attributes_});
    saved = allocate(shape, batch_rows, dtype);
    batched_saved_ = shape.is_batched();
  }
  if (op_->workspace != nullptr) {
    const InferContext about{.inputs = shapes, .attributes = attributes_};
    workspace_ = Tensor(Shape{op_->workspace(about, batch_rows)}, DType::kFloat64);
  }
  partial.resize(static_cast<std::size_t>(output.columns()));
}

OpContext OpCall::context(Index first, Index rows) {
  OpContext context;
  context.kernels = &default_kernels();
  context.attributes = &attributes_;
  context.dtype = dtype_;
  context.mode = mode;
  context.input_count = static_cast<int>(inputs.size());
  context.overwrite = overwrite;
  context.first_row = first;
  context.rows = rows;
  context.batch_rows = batch_rows_;
  context.random = random;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    context.inputs[i] = window(inputs[i], batched_inputs_[i], first, rows);
    if (gradients[i].data() != nullptr) {
      context.input_gradients[i] = window(gradients[i], batched_inputs_[i], first, rows);
    }
  }
  context.output = window(output, batched_output_, first, rows);
  context.output_gradient = window(output_gradient, batched_output_, first, rows);
  if (op_->saved != nullptr) context.saved = window(saved, batched_saved_, first, rows);
  add_tangents(context, first, rows);
  if (op_->traits.mirror_input >= 0) {
    const auto weight = static_cast<std::size_t>(op_->traits.mirror_input);
    mirror = transposed(inputs[weight]);
    context.mirror = mirror.view();
    mirror_tangent = transposed(tangents[weight]);
    operands_.mirror = mirror_tangent.view();
  }
  context.partial = partial.data();
  context.tiles = &kSerialTiles;
  context.algebra = &batch_algebra();
  context.workspace = static_cast<double*>(workspace_.data());
  return context;
}

void OpCall::add_tangents(OpContext& context, Index first, Index rows) {
  operands_ = {};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (tangents[i].data() == nullptr) continue;
    operands_.inputs[i] = window(tangents[i], batched_inputs_[i], first, rows);
    operands_.input_gradients[i] = window(gradient_tangents[i], batched_inputs_[i], first, rows);
  }
  operands_.output = window(output_tangent, batched_output_, first, rows);
  operands_.output_gradient = window(output_gradient_tangent, batched_output_, first, rows);
  context.tangents = &operands_;
}

TensorView OpCall::rows_of_tile(const TensorView& whole, Index first, Index count) const {
  TensorView tile = whole;
  tile.data = static_cast<char*>(whole.data) + first * whole.ld * size_of(whole.dtype);
  tile.rows = count;
  return tile;
}

PreparedCall OpCall::prepare_weight_gradient(OpContext context, Index first, Index count) const {
  TensorView& window = context.input_gradients[static_cast<std::size_t>(op_->traits.weight_input)];
  window = rows_of_tile(window, first, count);
  return op_->prepare_weight_gradient[dtype_index(dtype_)](context, first, count);
}

void OpCall::weight_gradient(OpContext context, Index first, Index count) const {
  TensorView& window = context.input_gradients[static_cast<std::size_t>(op_->traits.weight_input)];
  window = rows_of_tile(window, first, count);
  op_->weight_gradient[dtype_index(dtype_)](context, first, count);
}

void OpCall::weight_gradient_jvp(OpContext context, Index first, Index count) const {
  TangentOperands operands = *context.tangents;
  TensorView& window = operands.input_gradients[static_cast<std::size_t>(op_->traits.weight_input)];
  window = rows_of_tile(window, first, count);
  context.tangents = &operands;
  op_->weight_gradient_jvp[dtype_index(dtype_)](context, first, count);
}

void OpCall::fill_inputs(double low, double high) {
  for (std::size_t i = 0; i < inputs.size(); ++i) fill(inputs[i], low, high, i);
}

void OpCall::fill(Tensor& tensor, double low, double high, std::uint64_t stream) const {
  const RandomKey key{.seed = 11, .stream = stream};
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) {
      const auto index = static_cast<std::uint64_t>(i * tensor.columns() + j);
      const double uniform = random_uniform(key, index);
      put(tensor.view(), i, j,
          tensor.dtype() == DType::kInt32 ? 4 * uniform : low + (high - low) * uniform);
    }
  }
}

void set(Tensor& tensor, std::initializer_list<double> values) {
  if (static_cast<Index>(values.size()) != tensor.shape().elements()) {
    throw std::invalid_argument("set: wrong number of values");
  }
  Index k = 0;
  for (const double value : values) {
    put(tensor.view(), k / tensor.columns(), k % tensor.columns(), value);
    ++k;
  }
}

std::vector<double> values(const Tensor& tensor) {
  std::vector<double> result;
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) result.push_back(element(tensor, i, j));
  }
  return result;
}

}  // namespace chainrule::testing
