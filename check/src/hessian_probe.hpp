// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "graph_subject.hpp"

namespace chainrule::internal {

/// The gradient of a scalar as a function around a point, and its derivative, the Hessian, by
/// forward over reverse.
class HessianProbe : public GraphSubject {
 public:
  HessianProbe(const Graph& graph, Value loss, const Feed& feed, const std::vector<Value>& values,
               const GradientCheckOptions& options);

  /// H v; and v^T H is the same.
  std::vector<Tensor> gradients(std::span<const double> v, DType dtype) override;
  std::vector<Tensor> float32_spread(std::span<const double> v) override;

 protected:
  void read(const Workspace& workspace, std::span<double> y) const override;

 private:
  std::optional<Plan> plan_;
  std::optional<Workspace> workspace_;
  std::optional<Bindings> bindings_;
  std::vector<Tensor> tangents_;
};

}  // namespace chainrule::internal
