// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "batch_source.hpp"
#include "chainrule/learn/glm.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule::internal {

/// The objective of fit_glm() as a function of theta: W row-major, then b; so with a 1 appended to
/// each input, element j * outputs + k weighs input j for output k.
class GlmProblem {
 public:
  /// `model` is a float64 model of one Linear layer, whose parameters serve as scratch; it and
  /// `data`, prepared for it, must outlive the problem.
  GlmProblem(Model& model, const Dataset& data, double c);

  std::size_t size() const noexcept { return gradient_.size(); }
  Index outputs() const noexcept { return model_.outputs(); }
  /// True when a constant added to all biases changes nothing.
  bool biases_are_free() const noexcept;
  /// Number of penalized elements, which come first in theta.
  std::size_t weight_count() const noexcept { return weight_count_; }
  double total_weight() const noexcept { return total_weight_; }

  /// The objective at theta; may be infinite or NaN far out.
  double evaluate(const std::vector<double>& theta);

  // At the theta of the last evaluate():
  const std::vector<double>& gradient() const noexcept { return gradient_; }
  double max_gradient() const noexcept;
  /// The Hessian [size, size], both triangles. Of Categorical it is singular in the direction of
  /// equal biases.
  Tensor hessian() const;

 private:
  void set_parameters(const std::vector<double>& theta);
  double curvature(Index row, Index k, Index l) const;

  Model& model_;
  const Dataset& data_;
  double c_;
  double total_weight_;
  double loss_scale_;
  bool has_bias_;
  std::size_t weight_count_;
  Value weight_;
  Value bias_;
  Value prediction_;
  Plan plan_;
  Executor executor_;
  Workspace workspace_;
  Bindings bindings_;
  std::vector<double> gradient_;
};

/// Both start at theta, leave it at the best point found and return GlmFit::iterations; whether
/// that point is the optimum is for the caller to see. They stop once no element of the gradient
/// exceeds `limit`.
Index minimize_newton(GlmProblem& problem, std::vector<double>& theta, double limit,
                      Index max_iterations);
Index minimize_lbfgs(GlmProblem& problem, std::vector<double>& theta, double limit,
                     Index max_iterations);

}  // namespace chainrule::internal
