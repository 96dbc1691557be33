// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <optional>
#include <span>
#include <vector>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/runtime/executor.hpp"
#include "ridders.hpp"

namespace chainrule::internal {

/// The parameters and real inputs that influence `output` and that a gradient can reach.
std::vector<Value> differentiable_leaves(const Graph& graph, Value output);
/// Marks the nodes that `output` is computed from, itself included.
std::vector<bool> ancestors(const Graph& graph, Value output);
/// Rows of the batch that a feed holds; 0 when no input is batched.
Index rows_of_feed(const Feed& feed);
/// The shape with the batch filled in.
Shape filled_shape(const Shape& shape, Index rows);
/// Random signed numbers, 1/2 <= |v| < 1.
double random_signed(RandomKey key, Index index);

/// One graph at one point: forward in float64 along any line, and backward in the dtype that is
/// checked, of sum_i v_i y_i with random v.
class GradientProbe {
 public:
  GradientProbe(const Graph& graph, Value output, const Feed& feed, std::vector<Value> values,
                const GradientCheckOptions& options);
  // Bindings hold addresses of members.
  GradientProbe(const GradientProbe&) = delete;
  GradientProbe& operator=(const GradientProbe&) = delete;

  const KernelTable& kernels() const { return backward_->kernels(); }
  bool output_is_finite() const;
  /// Gradients of the values, in a new workspace.
  std::vector<Tensor> gradients();
  /// True when running again, in the same workspace and in a new one, gives the same bits.
  bool is_deterministic();

  /// The point, in float64.
  ConstTensorView point(Value value) const;
  /// The derivative along element (row, column) of `value`.
  NumericDerivative along_element(Value value, Index row, Index column, double first_step);
  /// The derivative along `direction`, row-major and dense in the shape of `value`.
  NumericDerivative along(Value value, std::span<const double> direction, double first_step);

 private:
  void fill(const Graph& graph, const Feed& feed, const GradientCheckOptions& options);
  void bind(const Feed& feed, Bindings& bindings, bool float64) const;
  void forward(std::span<double> y);
  TensorView writable(Value value);

  Value output_;
  std::vector<Value> values_;
  Index rows_;
  std::vector<std::pair<Value, Tensor>> exact_;    // inputs of forward, in float64
  std::vector<std::pair<Value, Tensor>> rounded_;  // inputs of backward
  Parameters exact_parameters_;
  Parameters rounded_parameters_;
  bool has_parameters_ = false;
  std::optional<Plan> forward_;
  std::optional<Plan> backward_;
  std::optional<Workspace> workspace_;
  std::optional<Bindings> forward_bindings_;
  std::optional<Bindings> backward_bindings_;
  Tensor cotangent_;
  std::vector<double> weights_;
  std::vector<double> y0_;
};

}  // namespace chainrule::internal
