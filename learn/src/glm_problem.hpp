// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "batch_source.hpp"
#include "chainrule/learn/glm.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule::internal {

/// Second derivatives of the negative log-likelihood, or what is expected of them given the means;
/// the two differ where the link is not canonical.
enum class Information : std::uint8_t { kExact, kExpected };

/// The objective of fit_glm() as a function of theta: coefficients [features + bias, outputs],
/// row-major.
class GlmProblem {
 public:
  /// `model` is a float64 model of one Linear layer, whose parameters serve as scratch; it and
  /// `data`, prepared for it, must outlive the problem. penalty[j] theta_jk^2 / 2 is added for
  /// each row j of the coefficients.
  GlmProblem(Model& model, const Dataset& data, std::vector<double> penalty);

  std::size_t size() const noexcept { return gradient_.size(); }
  Index outputs() const noexcept { return model_.outputs(); }
  double total_weight() const noexcept { return total_weight_; }
  /// True when a constant added to all of row `row` of the coefficients changes nothing.
  bool is_free(Index row) const noexcept;
  /// Subtracts from each free row its mean.
  void center_free_rows(MatrixView<double> coefficients) const;

  /// The objective at theta; may be infinite or NaN far out.
  double evaluate(const std::vector<double>& theta);

  // At the theta of the last evaluate():
  const std::vector<double>& gradient() const noexcept { return gradient_; }
  double max_gradient() const noexcept;
  /// The Hessian of the objective [size, size], both triangles, with curvature added where free
  /// rows have none.
  Tensor hessian(Information information) const;
  /// Minus the inverse Hessian times the gradient; nothing when the Hessian is not positive
  /// definite to working precision.
  std::optional<std::vector<double>> newton_step() const;
  /// x W + b + offset, [n, outputs].
  Tensor linear_predictor() const;
  /// The largest |change| of a row's linear predictor along `step`, of rows that count.
  double largest_change(const std::vector<double>& step) const;

 private:
  void set_parameters(const std::vector<double>& theta);
  double curvature(Index row, Index k, Index l, Information information) const;
  double weight(Index row) const;

  Model& model_;
  const Dataset& data_;
  std::vector<double> penalty_;
  double total_weight_;
  double loss_scale_;
  bool has_bias_;
  Value weight_;
  Value bias_;
  Value prediction_;
  Plan plan_;
  Executor executor_;
  Workspace workspace_;
  Bindings bindings_;
  Tensor design_;  ///< [x, 1]
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
