// SPDX-License-Identifier: Apache-2.0
#include "op_call.hpp"

#include <algorithm>
#include <utility>

#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "gradient_probe.hpp"
#include "subject.hpp"

namespace chainrule::internal {
namespace {

constexpr unsigned char kPattern = 0xFF;  // four or eight of them are a NaN, and -1 as an index
constexpr std::uint64_t kCotangentStream = 23;

const TileRunner kSerialTiles{
    .self = nullptr, .run = [](void*, Index count, void (*body)(void*, Index), void* argument) {
      for (Index tile = 0; tile < count; ++tile) body(argument, tile);
    }};

Tensor copy_of(ConstTensorView view) {
  Tensor tensor(Shape{view.rows, view.columns}, view.dtype, Layout::kDense);
  copy_values(view, tensor.view());
  return tensor;
}

Index leading_dimension(Index columns, DType dtype, OperandLayout layout) {
  if (layout == OperandLayout::kDense) return columns;
  const Index padded = padded_leading_dimension(columns, dtype);
  return layout == OperandLayout::kPadded ? padded : padded + 3;
}

void fill_zero(TensorView view) {
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) set_element(view, i, j, 0);
  }
}

}  // namespace

Operand::Operand(Index rows, Index columns, DType dtype, OperandLayout layout) {
  const Index size = size_of(dtype), ld = leading_dimension(columns, dtype, layout);
  // A line in front, one behind, and one to align with.
  bytes_.assign(static_cast<std::size_t>(rows * ld * size + 3 * kAlignment), kPattern);
  const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data());
  const auto alignment = static_cast<std::uintptr_t>(kAlignment);
  first_ = alignment + (alignment - address % alignment) % alignment;
  if (layout == OperandLayout::kStrided) first_ += static_cast<std::size_t>(size);
  view_ = {bytes_.data() + first_, dtype, rows, columns, ld};
}

void Operand::clear() { std::fill(bytes_.begin(), bytes_.end(), kPattern); }

bool Operand::guards_are_intact() const {
  const Index size = size_of(view_.dtype);
  std::vector<bool> own(bytes_.size());
  for (Index i = 0; i < view_.rows; ++i) {
    const auto start = own.begin() + static_cast<std::ptrdiff_t>(first_) + i * view_.ld * size;
    std::fill_n(start, view_.columns * size, true);
  }
  for (std::size_t k = 0; k < bytes_.size(); ++k) {
    if (!own[k] && bytes_[k] != kPattern) return false;
  }
  return true;
}

OpCall::OpCall(const CaseInstance& instance, const KernelTable& kernels, OperandLayout layout)
    : op_(instance.output().node().op),
      kernels_(&kernels),
      attributes_(instance.output().node().attributes) {
  const Feed feed = instance.feed();
  const Node& node = instance.output().node();
  const OpTraits& traits = op_->traits;
  dtype_ = feed.dtype;
  mode_ = feed.mode;
  random_ = feed.random;
  std::vector<Shape> shapes;
  for (const NodeId id : node.inputs) {
    const Value value(instance.output().graph(), id);
    const auto i = static_cast<unsigned>(shapes.size());
    shapes.push_back(value.shape());
    const bool leaf = value.node().kind != NodeKind::kOp;
    given_.push_back(leaf ? copy_of(instance.data(value))
                          : copy_of(evaluate(instance.graph(), value, feed).view()));
    const ConstTensorView data = given_.back().view();
    inputs_.emplace_back(data.rows, data.columns, data.dtype, layout);
    differentiable_.push_back(((traits.differentiable_inputs >> i) & 1U) != 0 &&
                              data.dtype != DType::kInt32);
    gradients_.emplace_back(data.rows, data.columns, dtype_, layout);
  }
  rows_ = given_.front().rows();
  const Shape y = filled_shape(node.shape, instance.rows());
  output_.emplace_back(y.rows(), y.columns(), dtype_, layout);
  dy_.emplace_back(y.rows(), y.columns(), dtype_, layout);
  partial_.resize(static_cast<std::size_t>(given_.front().columns()));
  if (op_->saved != nullptr) {
    const Shape saved =
        filled_shape(op_->saved({.inputs = shapes, .attributes = attributes_}), instance.rows());
    saved_.emplace_back(saved.rows(), saved.columns(), dtype_, layout);
  }
  if (op_->workspace != nullptr) {
    const InferContext about{.inputs = shapes, .attributes = attributes_};
    workspace_ = Tensor(Shape{op_->workspace(about, instance.rows())}, DType::kFloat64);
  }
  if (traits.mirror_input >= 0) {
    const Tensor& weight = given_[static_cast<std::size_t>(traits.mirror_input)];
    mirror_.emplace_back(weight.columns(), weight.rows(), dtype_, layout);
  }
}

OpFunction OpCall::function(const std::array<OpFunction, 2>& functions) const {
  return functions[dtype_index(dtype_)];
}

void OpCall::make_mirror() {
  if (mirror_.empty()) return;
  const Tensor& weight = given_[static_cast<std::size_t>(op_->traits.mirror_input)];
  for (Index i = 0; i < weight.rows(); ++i) {
    for (Index j = 0; j < weight.columns(); ++j) {
      set_element(mirror_[0].view(), j, i, element(weight.view(), i, j));
    }
  }
}

OpContext OpCall::context() {
  OpContext context;
  context.kernels = kernels_;
  context.attributes = &attributes_;
  context.dtype = dtype_;
  context.mode = mode_;
  context.input_count = static_cast<int>(inputs_.size());
  context.rows = context.batch_rows = rows_;
  context.random = random_;
  for (std::size_t i = 0; i < inputs_.size(); ++i) context.inputs[i] = inputs_[i].view();
  context.output = output_[0].view();
  if (!saved_.empty()) context.saved = saved_[0].view();
  if (!mirror_.empty()) context.mirror = mirror_[0].view();
  context.partial = partial_.data();
  context.tiles = &kSerialTiles;
  context.algebra = &batch_algebra();
  context.workspace = static_cast<double*>(workspace_.data());
  return context;
}

void OpCall::backward(OpContext context) const {
  function(op_->backward)(context);
  if (op_->traits.weight_input < 0) return;
  const auto weight = static_cast<std::size_t>(op_->traits.weight_input);
  op_->weight_gradient[dtype_index(dtype_)](context, 0, given_[weight].rows());
}

std::vector<Tensor> OpCall::run(Aliasing aliasing) {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    inputs_[i].clear();
    copy_values(given_[i].view(), inputs_[i].view());
  }
  for (auto* operands : {&output_, &dy_, &saved_, &mirror_, &gradients_}) {
    for (Operand& operand : *operands) operand.clear();
  }
  make_mirror();
  OpContext forward = context();
  if (aliasing == Aliasing::kOutput) forward.output = inputs_[0].view();
  function(op_->forward)(forward);
  if (op_->traits.kind == OpKind::kBatchReduction) function(op_->finish)(forward);
  std::vector<Tensor> results;
  results.push_back(copy_of(forward.output));
  if (aliasing == Aliasing::kOutput) return results;

  const TensorView dy = dy_[0].view();
  for (Index i = 0; i < dy.rows; ++i) {
    for (Index j = 0; j < dy.columns; ++j) {
      set_element(dy, i, j,
                  random_signed({.seed = 1, .stream = kCotangentStream}, i * dy.columns + j));
    }
  }
  OpContext backward_context = context();
  backward_context.output_gradient = dy;
  backward_context.overwrite = op_->traits.handles_overwrite ? kAllInputs : 0;
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    if (!differentiable_[i]) continue;
    const bool in_place = i == 0 && aliasing == Aliasing::kGradient;
    backward_context.input_gradients[i] = in_place ? dy : gradients_[i].view();
    if (!op_->traits.handles_overwrite && !in_place) fill_zero(gradients_[i].view());
  }
  backward(backward_context);
  for (std::size_t i = 0; i < gradients_.size(); ++i) {
    if (differentiable_[i]) results.push_back(copy_of(backward_context.input_gradients[i]));
  }
  return results;
}

bool OpCall::guards_are_intact() const {
  for (const auto* operands : {&inputs_, &output_, &dy_, &saved_, &mirror_, &gradients_}) {
    for (const Operand& operand : *operands) {
      if (!operand.guards_are_intact()) return false;
    }
  }
  return true;
}

bool OpCall::inputs_are_intact() const {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (!same_bits(inputs_[i].view(), given_[i].view())) return false;
  }
  return true;
}

}  // namespace chainrule::internal
