// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "runtime_support.hpp"

namespace chainrule::testing {

/// A classifier with everything that could depend on the order of work: dropout, batch_norm,
/// layer_norm, biases (partial sums), shared weights, weighted loss, Adam; 250 rows a batch but for
/// a last one of 43 in every third step. A full step does some 25 MFLOP, enough for cold helpers.
class TrainingCase {
 public:
  static constexpr Index kRows = 250;
  static constexpr Index kLastRows = 43;
  static constexpr Index kBlocks = 8;  ///< of a full batch

  static constexpr int kMaxSteps = 40;

  explicit TrainingCase(DType dtype, GemmPath gemm = GemmPath::kAuto);

  /// What a run leaves behind.
  struct Result {
    std::string parameters;  ///< weights and running statistics
    std::string optimizer;
    std::vector<double> losses;
    std::string last;  ///< output and input gradient of the last step
    int participants = 1;

    bool operator==(const Result& other) const {
      return parameters == other.parameters && optimizer == other.optimizer &&
             losses == other.losses && last == other.last;
    }
  };

  /// Trains from the start; `wait_for` threads must meet in the first step.
  Result train(const Executor& executor, int steps, bool resident, int wait_for = 0) const;

  const Plan& plan() const noexcept { return plan_; }
  const Graph& graph() const noexcept { return graph_; }
  void bind_batch(Bindings& bindings, int step) const;

 private:
  static CompileOptions options(Graph& graph, DType dtype, GemmPath gemm);

  Graph graph_;
  Plan plan_;
  Tensor x_;
  Tensor labels_;
  Tensor weights_;
  std::vector<std::vector<double>> scalars_;  ///< of each step
};

}  // namespace chainrule::testing
