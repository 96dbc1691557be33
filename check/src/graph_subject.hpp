// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/runtime/executor.hpp"
#include "graph_point.hpp"
#include "subject.hpp"

namespace chainrule::internal {

/// A function that a plan in float64 computes around a point. Everything in the feed is rounded to
/// the dtype that is checked first.
class GraphSubject : public Subject {
 public:
  // Bindings hold addresses of members.
  GraphSubject(const GraphSubject&) = delete;
  GraphSubject& operator=(const GraphSubject&) = delete;

  const KernelTable& kernels() const { return plan_->kernels(); }
  bool output_is_finite() const;

  const std::vector<Variable>& variables() const override { return variables_; }
  std::span<const double> outputs() const override { return y0_; }
  ConstTensorView point(std::size_t variable) const override;
  double move_element(std::size_t variable, Index row, Index column, double t,
                      std::span<double> y) override;
  void move(std::span<const Move> moves, double t, std::span<double> y) override;
  void restore() override;

 protected:
  GraphSubject(const Graph& graph, Value output, const Feed& feed, const std::vector<Value>& values,
               const GradientCheckOptions& options);
  /// Once, at the end of the constructor: the plan, and how many numbers read() fills.
  void start(const CompileOptions& options, Index outputs);
  /// The outputs of a run.
  virtual void read(const Workspace& workspace, std::span<double> y) const = 0;

  /// Mode and kernels, for float64.
  const CompileOptions& options() const { return options_; }
  const Graph& graph() const { return *graph_; }
  Value output() const { return output_; }
  Index rows() const { return rows_; }
  RandomKey random() const { return random_; }
  const GraphPoint& rounded() const { return rounded_; }
  const GraphPoint& exact() const { return exact_; }
  /// Moves what the point holds by random relative amounts of up to `size`, until reset().
  void jiggle(RandomKey key, double size);
  void reset();

 private:
  struct Moved {
    std::size_t variable = 0;
    Index row = -1;  // -1: as a whole
    Index column = -1;
  };

  void run(std::span<double> y);

  const Graph* graph_;
  Value output_;
  Index rows_;
  RandomKey random_;
  CompileOptions options_{.stripe_rows = 1};  ///< ops are to see parts of a batch
  std::vector<Variable> variables_;
  GraphPoint rounded_;  // in the dtype that is checked
  GraphPoint exact_;    // the same in float64
  GraphPoint moved_;    // the same, for the plan to read, and to be moved
  std::vector<Moved> moves_;
  std::optional<Plan> plan_;
  std::optional<Workspace> workspace_;
  std::optional<Bindings> bindings_;
  std::vector<double> y0_;
};

}  // namespace chainrule::internal
