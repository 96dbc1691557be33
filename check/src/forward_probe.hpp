// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "chainrule/runtime/executor.hpp"
#include "graph_point.hpp"

namespace chainrule::internal {

/// A graph at one point, in forward mode: one value moves along a direction u, given row-major.
class ForwardProbe {
 public:
  /// The points must outlive the probe: that of float64, and that of the dtype which is checked.
  /// Throws UnsupportedError when an op in between has no jvp.
  ForwardProbe(const Graph& graph, Value output, Value value, const CompileOptions& options,
               const GraphPoint& exact, const GraphPoint& rounded, RandomKey random, Index rows);
  // Bindings hold addresses of members.
  ForwardProbe(const ForwardProbe&) = delete;
  ForwardProbe& operator=(const ForwardProbe&) = delete;

  /// J u, row-major, computed in `dtype`, which also rounds u.
  std::vector<double> product(std::span<const double> u, DType dtype);
  /// How large the numbers are that <v, J u> and <J^T v, u> are added up from: the sum over the
  /// values between of |delta| |tangent|, |.| the norm; and, where ops say no more of how their
  /// derivatives are computed (`slopes_of_one`), of |delta| |tangents of the inputs| of those that
  /// are not linear.
  double terms(std::span<const double> v, std::span<const double> u, bool slopes_of_one);

 private:
  // A plan in one dtype, with all it is bound to.
  struct Program {
    Program(const ForwardProbe& probe, const CompileOptions& options, const GraphPoint& point);

    Plan plan;
    Workspace workspace;
    Bindings bindings;
    Tensor tangent;
  };
  Program& program(DType dtype);
  Program& both();
  double input_tangents(const Node& node) const;

  const Graph& graph_;
  Value output_;
  Value value_;
  CompileOptions options_;
  const GraphPoint& exact_;
  const GraphPoint& rounded_;
  RandomKey random_;
  Index rows_;
  std::array<std::optional<Program>, 2> programs_;  // by dtype_index()
  std::optional<Program> both_;                     // with backward, and all between kept
  std::vector<Value> between_;
  Tensor cotangent_;
};

}  // namespace chainrule::internal
