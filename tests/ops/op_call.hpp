// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/core/graph.hpp"

namespace chainrule::testing {

/// Buffers for one op node and the calls an executor would make on them. Buffers without a batch
/// are whole, the others have `batch_rows` rows; everything starts at 0.
class OpCall {
 public:
  OpCall(const Value& value, Index batch_rows, DType dtype);

  /// Everything of one call on rows [first, first + rows) of the batch; change it as you like.
  OpContext context(Index first, Index rows);
  OpContext context() { return context(0, batch_rows_); }

  void forward(const OpContext& context) const { function(op_->forward)(context); }
  void backward(const OpContext& context) const { function(op_->backward)(context); }
  void finish(const OpContext& context) const { function(op_->finish)(context); }
  void commit(const OpContext& context) const { function(op_->commit)(context); }
  void jvp(const OpContext& context) const { function(op_->jvp)(context); }
  void backward_jvp(const OpContext& context) const { function(op_->backward_jvp)(context); }
  /// The tile of rows [first, first + count) of the weight input's gradient.
  void weight_gradient(OpContext context, Index first, Index count) const;
  PreparedCall prepare_weight_gradient(OpContext context, Index first, Index count) const;
  void weight_gradient_jvp(OpContext context, Index first, Index count) const;
  void forward() { forward(context()); }
  void backward() { backward(context()); }

  const OpDef& op() const { return *op_; }
  bool input_is_batched(std::size_t i) const { return batched_inputs_[i]; }
  bool output_is_batched() const { return batched_output_; }

  /// Smooth deterministic numbers in (low, high) for real inputs, 0..3 for index inputs.
  void fill_inputs(double low, double high);
  void fill(Tensor& tensor, double low, double high, std::uint64_t stream) const;

  std::vector<Tensor> inputs;
  Tensor output;
  Tensor saved;
  Tensor mirror;  ///< made from the weight in context()
  Tensor output_gradient;
  std::vector<Tensor> gradients;  ///< those no gradient can reach are empty
  // The same of forward mode, windows of which are in the last context that was made.
  std::vector<Tensor> tangents;
  Tensor output_tangent;
  Tensor mirror_tangent;
  Tensor output_gradient_tangent;
  std::vector<Tensor> gradient_tangents;
  std::vector<double> partial;
  std::uint32_t overwrite = kAllInputs;
  Mode mode = Mode::kTraining;
  RandomKey random{.seed = 7, .stream = 3};

 private:
  OpFunction function(const std::array<OpFunction, 2>& functions) const {
    return functions[dtype_index(dtype_)];
  }

  TensorView rows_of_tile(const TensorView& whole, Index first, Index count) const;
  void add_tangents(OpContext& context, Index first, Index rows);

  const OpDef* op_;
  TangentOperands operands_;
  Attributes attributes_;
  std::vector<bool> batched_inputs_;
  Tensor workspace_;
  bool batched_output_ = false;
  bool batched_saved_ = false;
  Index batch_rows_;
  DType dtype_;
};

/// Sets elements in row-major order.
void set(Tensor& tensor, std::initializer_list<double> values);
/// All elements as doubles, row-major.
std::vector<double> values(const Tensor& tensor);

}  // namespace chainrule::testing
