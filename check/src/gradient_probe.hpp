// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/runtime/executor.hpp"
#include "subject.hpp"

namespace chainrule::internal {

/// The parameters and real inputs that influence `output` and that a gradient can reach.
std::vector<Value> differentiable_leaves(const Graph& graph, Value output);
/// Marks the nodes that `output` is computed from, itself included.
std::vector<bool> ancestors(const Graph& graph, Value output);
/// Rows of the batch that a feed holds; 0 when no input is batched.
Index rows_of_feed(const Feed& feed);
/// The shape with the batch filled in.
Shape filled_shape(const Shape& shape, Index rows);
/// True when both have the same bits, so that NaN equals itself and 0 differs from -0.
bool same_bits(ConstTensorView a, ConstTensorView b);

/// What a graph reads, in one dtype, in memory of its own.
struct GraphPoint {
  std::vector<std::pair<Value, Tensor>> inputs;
  Parameters parameters;
  bool has_parameters = false;
};

/// A graph at one point: forward in float64, backward in float64 and in the dtype that is checked.
/// Everything in the feed is rounded to that dtype first.
class GradientProbe : public Subject {
 public:
  GradientProbe(const Graph& graph, Value output, const Feed& feed,
                const std::vector<Value>& values, const GradientCheckOptions& options);
  // Bindings hold addresses of members.
  GradientProbe(const GradientProbe&) = delete;
  GradientProbe& operator=(const GradientProbe&) = delete;

  const KernelTable& kernels() const { return forward_->kernels(); }
  bool output_is_finite() const;
  /// True when running backward again, in the same workspace and in a new one, gives the same bits.
  bool is_deterministic(std::span<const double> v, DType dtype);

  const std::vector<Variable>& variables() const override { return variables_; }
  std::span<const double> outputs() const override { return y0_; }
  ConstTensorView point(std::size_t variable) const override;
  double move_element(std::size_t variable, Index row, Index column, double t,
                      std::span<double> y) override;
  void move(std::span<const Move> moves, double t, std::span<double> y) override;
  void restore() override;
  std::vector<Tensor> gradients(std::span<const double> v, DType dtype) override;
  std::vector<Tensor> float32_spread(std::span<const double> v) override;

 private:
  // Backward in one dtype, with everything it is bound to.
  struct Backward {
    Backward(const Graph& graph, const CompileOptions& options, const GraphPoint& point,
             RandomKey random, Value output, Index rows);

    void run(std::span<const double> v, Workspace& in);
    std::vector<Tensor> gradients(const std::vector<Variable>& variables,
                                  const Workspace& in) const;

    Plan plan;
    Workspace workspace;
    Bindings bindings;
    Tensor cotangent;
  };
  struct Moved {
    std::size_t variable = 0;
    Index row = -1;  // -1: as a whole
    Index column = -1;
  };

  Backward& backward(DType dtype);
  void forward(std::span<double> y);
  void jiggle(RandomKey key);

  const Graph* graph_;
  Value output_;
  Index rows_;
  RandomKey random_;
  std::vector<Variable> variables_;
  CompileOptions backward_options_;
  GraphPoint rounded_;  // in the dtype that is checked
  GraphPoint exact_;    // the same in float64
  GraphPoint moved_;    // the same, for forward to read, and to be moved
  std::vector<Moved> moves_;
  std::optional<Plan> forward_;
  std::optional<Workspace> workspace_;
  std::optional<Bindings> bindings_;
  std::array<std::optional<Backward>, 2> backward_;  // by dtype_index()
  std::vector<double> y0_;
};

}  // namespace chainrule::internal
