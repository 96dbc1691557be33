// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "chainrule/core/tensor.hpp"

namespace chainrule::bench {

/// What a run does: a training step, predictions, or the gradient of the loss alone.
enum class Task { kStep, kPredict, kGradient };
/// What it cannot be faster than.
enum class Limit { kFmaPeak, kWeightBytes, kInputBytes };

/// A network of Linear layers with ReLU between them. A step is plain SGD on the mean squared error
/// (the mean over rows and columns); a gradient is that of the mean binary cross-entropy of logits.
struct Workload {
  const char* name;
  const char* widths;
  Index batch;
  Task task;
  Limit limit = Limit::kFmaPeak;
};

inline constexpr double kLearningRate = 0.1;

std::string_view name_of(Task task);
std::span<const Workload> all_workloads();
/// Null when there is none of that name.
const Workload* find_workload(std::string_view name);

/// Elements of the weight matrices, and the flops of their products for one row: 2 K N forward, as
/// much again for dW, and for dX but of the first layer.
struct Cost {
  double weights = 0;
  double flops_per_row = 0;
};
Cost cost_of(const Workload& workload);

/// A Linear layer's weights [in, out] and bias [1, out].
struct LinearValues {
  Tensor weights;
  Tensor bias;

  Index in() const { return weights.rows(); }
  Index out() const { return weights.columns(); }
};

/// "784-128-10" as numbers.
std::vector<Index> widths_of(const Workload& workload);
/// Where everybody starts, the same numbers in any dtype (up to rounding) and layout.
std::vector<LinearValues> initial_layers(const Workload& workload, DType dtype = DType::kFloat32,
                                         Layout layout = Layout::kDense);
Tensor inputs_of(const Workload& workload, DType dtype = DType::kFloat32,
                 Layout layout = Layout::kDense);
/// Real numbers, for a gradient 0 and 1.
Tensor targets_of(const Workload& workload, DType dtype = DType::kFloat32,
                  Layout layout = Layout::kDense);

}  // namespace chainrule::bench
