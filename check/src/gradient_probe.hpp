// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/runtime/executor.hpp"
#include "graph_subject.hpp"

namespace chainrule::internal {

/// A graph at one point: forward in float64, backward in float64 and in the dtype that is checked.
class GradientProbe : public GraphSubject {
 public:
  GradientProbe(const Graph& graph, Value output, const Feed& feed,
                const std::vector<Value>& values, const GradientCheckOptions& options);

  /// True when running backward again, in the same workspace and in a new one, gives the same bits.
  bool is_deterministic(std::span<const double> v, DType dtype);

  std::vector<Tensor> gradients(std::span<const double> v, DType dtype) override;
  std::vector<Tensor> float32_spread(std::span<const double> v) override;
  std::unique_ptr<ForwardProbe> forward_mode(std::size_t variable) override;
  /// Why there was no forward mode, where there was none.
  const std::string& without_forward_mode() const { return without_forward_mode_; }

 protected:
  void read(const Workspace& workspace, std::span<double> y) const override;

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
  Backward& backward(DType dtype);

  std::array<std::optional<Backward>, 2> backward_;  // by dtype_index()
  std::string without_forward_mode_;
};

}  // namespace chainrule::internal
