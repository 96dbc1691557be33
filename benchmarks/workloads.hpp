// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "chainrule/core/tensor.hpp"

namespace chainrule::bench {

/// What a run does: a training step, predictions, the gradient of the loss alone, or the steps of
/// an epoch, with drawing the batches.
enum class Task { kStep, kPredict, kGradient, kEpoch };
/// What it cannot be faster than.
enum class Limit { kFmaPeak, kWeightBytes, kInputBytes };

/// A network of Linear layers with ReLU between them. A step is plain SGD on the mean squared error
/// (the mean over rows and columns); a gradient is that of the mean binary cross-entropy of logits;
/// an epoch goes through all rows of a data set with labels, in random order, by plain SGD on the
/// mean cross-entropy.
struct Workload {
  const char* name;
  const char* widths;
  Index batch;
  Task task;
  Limit limit = Limit::kFmaPeak;
  Index data_rows = 0;  ///< of an epoch

  Index rows() const { return task == Task::kEpoch ? data_rows : batch; }  ///< of a run
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
/// Of an epoch: classes, as many as there are outputs.
std::vector<std::int32_t> labels_of(const Workload& workload);
/// The order in which epoch 0, 1, ... takes the rows: Trainer's, with the seed kShuffleSeed.
std::vector<std::uint32_t> order_of(const Workload& workload, Index epoch);
inline constexpr std::uint64_t kShuffleSeed = 1;

}  // namespace chainrule::bench
