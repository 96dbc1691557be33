// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <vector>

#include "chainrule/learn/model.hpp"
#include "chainrule/learn/optimizer.hpp"
#include "chainrule/runtime/executor.hpp"
#include "workloads.hpp"

namespace chainrule::bench {

/// The workload's network with its initial parameters.
Model model_of(const Workload& workload, DType dtype);

/// A workload, but for an epoch, as this library runs it: a network with plain SGD, its plan and
/// everything a run needs.
class Step {
 public:
  Step(const Workload& workload, DType dtype, int threads);

  void run() { executor_.run(workspace_, bindings_); }
  const Executor& executor() const { return executor_; }
  const Plan& plan() const { return plan_; }
  /// What the last run predicted.
  ConstTensorView predictions() const { return workspace_.output(options_.outputs.front()); }
  /// The loss's gradient by each parameter, in their order.
  std::vector<ConstTensorView> gradients() const;
  /// Weights and bias of each layer.
  std::vector<ConstTensorView> parameters() const;
  /// All that the task has of these.
  std::vector<ConstTensorView> results() const;

 private:
  Sgd sgd_{.learning_rate = kLearningRate};
  Model model_;
  Executor executor_;
  CompileOptions options_;
  Plan plan_;
  Workspace workspace_;
  Bindings bindings_;
  OptimizerState state_;
  std::array<double, kParameterGroups * kUpdateScalars> scalars_{};
  Tensor x_;
  Tensor target_;
};

}  // namespace chainrule::bench
