// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/glm.hpp"

namespace chainrule::internal {

/// psi(x) - log(x), psi the derivative of log Gamma, and its derivative; x > 0.
struct DigammaLessLog {
  double value = 0;
  double derivative = 0;
};
DigammaLessLog digamma_less_log(double x);

/// True for likelihoods whose dispersion is estimated: Gaussian and Gamma.
bool has_free_dispersion(const Likelihood& likelihood) noexcept;

/// The bias of each output that fits the targets of a prepared dataset best, alone with the offset;
/// within +-700, also where the best is infinite.
std::vector<double> null_bias(const Likelihood& likelihood, const Dataset& data, Index outputs);

/// log p(t), deviance and Pearson's statistic of linear predictors eta [n, outputs], offset
/// included. See GlmFit.
double log_likelihood(const Likelihood& likelihood, const Dataset& data,
                      MatrixView<const double> eta);
/// Of one output (of Categorical, of all: output 0).
double deviance(const Likelihood& likelihood, const Dataset& data, MatrixView<const double> eta,
                Index output);
/// sum_i w_i (t_i - mu_i)^2 / V(mu_i) of one output of a likelihood with a free dispersion.
double pearson_statistic(const Likelihood& likelihood, const Dataset& data,
                         MatrixView<const double> eta, Index output);

}  // namespace chainrule::internal
