// SPDX-License-Identifier: Apache-2.0
#include "specimen.hpp"

#include <algorithm>
#include <bit>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/losses.hpp"
#include "gradient_probe.hpp"
#include "op_properties.hpp"

namespace chainrule::internal {
namespace {

constexpr std::uint64_t kOnceStream = 31;
constexpr std::uint64_t kTwiceStream = 32;

Tensor random_signed_tensor(const Shape& shape, std::uint64_t stream) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> v = tensor.as<double>();
  for (Index i = 0; i < v.rows; ++i) {
    for (Index j = 0; j < v.columns; ++j) {
      v(i, j) = random_signed({.seed = 1, .stream = stream}, i * v.columns + j);
    }
  }
  return tensor;
}

bool has_gradient_by(const OpDef& op, std::size_t input) {
  return ((op.traits.differentiable_inputs >> input) & 1U) != 0;
}

// What a gradient reaches is scaled; data would leave its domain. Targets of these losses have
// none, and must move with x to meet it.
void scale_inputs(CaseBuilder& builder, const Node& node, double factor) {
  const bool free_target = node.op == &kMeanSquaredErrorOp || node.op == &kMeanAbsoluteErrorOp;
  for (CaseBuilder::Leaf& leaf : builder.leaves) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] != leaf.value.id()) continue;
      if (!has_gradient_by(*node.op, i) && !free_target) continue;
      leaf.fill.scale *= factor;
      break;
    }
  }
}

std::vector<Value> inputs_of(Graph& graph, const Node& node) {
  std::vector<Value> inputs;
  for (const NodeId id : node.inputs) inputs.emplace_back(&graph, id);
  return inputs;
}

void append_bits(const std::vector<Tensor>& tensors, std::vector<std::uint64_t>& bits) {
  for (const Tensor& tensor : tensors) {
    const MatrixView<const double> view = tensor.as<double>();
    for (Index i = 0; i < view.rows; ++i) {
      for (Index j = 0; j < view.columns; ++j) {
        bits.push_back(std::bit_cast<std::uint64_t>(view(i, j)));
      }
    }
  }
}

}  // namespace

Specimen::Program::Program(const Specimen& specimen, const CompileOptions& options)
    : plan(compile(specimen.instance_.graph(), options)),
      workspace(plan, specimen.instance_.rows()),
      bindings(plan) {
  const Feed feed = specimen.instance_.feed();
  for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
  bindings.parameters(*feed.parameters).random(feed.random);
}

std::vector<Tensor> Specimen::Program::gradients(const std::vector<Value>& leaves) {
  run();
  std::vector<Tensor> result;
  for (const Value& leaf : leaves) {
    const ConstTensorView view = workspace.gradient(leaf);
    result.emplace_back(Shape{view.rows, view.columns}, DType::kFloat64);
    copy_values(view, result.back().view());
  }
  return result;
}

CompileOptions Specimen::reverse(const std::vector<Value>& outputs) const {
  CompileOptions options;
  options.dtype = DType::kFloat64;
  options.stripe_rows = 1;  // ops are to see parts of a batch
  options.mode = original_.mode;
  options.kernels = kernels_;
  options.cotangents = outputs;
  options.gradients = leaves_;
  return options;
}

Specimen::Specimen(const OpCase& op_case, const InputSet& inputs, const KernelTable* kernels)
    : original_(op_case),
      inputs_(inputs),
      kernels_(kernels),
      op_(damageable(*op_case.op)),
      case_(damageable_case()),
      instance_(case_, inputs.size, DType::kFloat64, inputs.seed),
      first_(instance_.output()),
      second_(instance_.graph().apply(op_, inputs_of(instance_.graph(), first_.node()),
                                      first_.node().attributes)) {
  const Shape shape = filled_shape(first_.shape(), instance_.rows());
  first_cotangent_ = random_signed_tensor(shape, kOnceStream);
  second_cotangent_ = random_signed_tensor(shape, kTwiceStream);
  leaves_ = differentiable_leaves(instance_.graph(), first_);
  kinks_ = kink_elements(*op_case.op, instance_);
  once_.emplace(*this, reverse({first_})).bindings.cotangent(first_, first_cotangent_);
  twice_.emplace(*this, reverse({first_, second_}));
  twice_->bindings.cotangent(first_, first_cotangent_).cotangent(second_, second_cotangent_);
}

OpCase Specimen::damageable_case() const {
  OpCase result = original_;
  result.op = &op_;
  result.build = [this](CaseBuilder& builder) {
    const Node& node = original_.build(builder).node();
    scale_inputs(builder, node, inputs_.scale);
    return builder.graph().apply(op_, inputs_of(builder.graph(), node), node.attributes);
  };
  return result;
}

Value Specimen::input(int i) const {
  return {first_.graph(), node().inputs.at(static_cast<std::size_t>(i))};
}

std::vector<int> Specimen::differentiable_inputs() const {
  std::vector<int> result;
  for (std::size_t i = 0; i < node().inputs.size(); ++i) {
    if (has_gradient_by(op_, i)) result.push_back(static_cast<int>(i));
  }
  return result;
}

bool Specimen::runs_in_blocks() const {
  const std::vector<NodeId>& inputs = node().inputs;
  return op_.traits.kind != OpKind::kWholeBatch &&
         std::any_of(inputs.begin(), inputs.end(),
                     [&](NodeId id) { return instance_.graph().node(id).shape.is_batched(); });
}

CaseReport Specimen::check() const {
  const KernelTable& kernels = kernels_ == nullptr ? default_kernels() : *kernels_;
  return check_first_order(case_, inputs_.size, DType::kFloat64, kernels, inputs_.seed);
}

std::vector<Tensor> Specimen::gradients() { return once_->gradients(leaves_); }

std::vector<std::uint64_t> Specimen::bits() {
  std::vector<std::uint64_t> result;
  append_bits(once_->gradients(leaves_), result);
  append_bits(twice_->gradients(leaves_), result);
  return result;
}

}  // namespace chainrule::internal
