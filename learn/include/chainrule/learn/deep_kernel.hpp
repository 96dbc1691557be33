// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/gaussian_process.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/learn/optimizer.hpp"
#include "chainrule/learn/schedule.hpp"

namespace chainrule {

/// k(g(x), g(z)), g the outputs of the model's last layer, before its likelihood, which plays no
/// part: a deep kernel (Wilson, Hu, Salakhutdinov & Xing, Deep Kernel Learning, 2016). The
/// hyperparameters are those of k; `deep(rbf(1))` as a formula. Takes raw inputs, as
/// Model::features() does, and shares the model's parameters: pass model.clone() if it shall not
/// change with them.
CHAINRULE_API CovarianceKernel deep_kernel(const CovarianceKernel& kernel, const Model& model);

struct DeepKernelOptions {
  Optimizer optimizer = Adam{.learning_rate = 0.01};
  Schedule schedule = ConstantRate{};
  Index steps = 500;  ///< each on all rows, O(n^3)
  /// A length scale for each output of the model, not one for all. The network scales its outputs
  /// itself: it makes a difference to weight decay and to the speed of training.
  bool ard = false;
  // Where the hyperparameters start, > 0.
  std::optional<double> variance{};      ///< default: the mean variance of the targets' columns
  std::optional<double> length_scale{};  ///< default: the features' root mean square distance
  std::optional<double> noise{};         ///< default: a tenth of the targets' variance
  bool center_targets = true;            ///< as GaussianProcessOptions::center_targets
  /// CholeskyOptions::max_jitter, in training and of the Gaussian process.
  double max_jitter = 0;
  int threads = 0;  ///< 0 means default_threads()
  /// Called after each step with its number, 1, 2, ..., and the loss before it; false stops.
  std::function<bool(Index step, double loss)> progress{};
  std::stop_token stop{};
};

/// What fit_deep_kernel() comes to.
struct DeepKernelFit {
  Model model;  ///< trained; what the kernel of `gp` computes its features by
  GaussianProcess gp;
  /// Of each step before its update: the negative log marginal likelihood over all targets, in
  /// nats a target.
  std::vector<double> losses{};
  /// Of `gp`, after the last step, all targets together.
  double log_marginal_likelihood = 0;
};

/// Trains a clone of `model` and the hyperparameters of an RBF kernel of its outputs together, by
/// the log marginal likelihood of x [n, inputs] and y [n, k] (ops/gp_nll.hpp), and conditions a
/// Gaussian process with that kernel on them. The whole data are one batch. Steps are in the
/// model's dtype, the likelihood in float64; the same bits for any number of threads.
///
/// A deep kernel has many hyperparameters, and the marginal likelihood does not keep so many from
/// overfitting (Ober, Rasmussen & van der Wilk 2021): compare
/// gp.negative_log_predictive_density() of rows that it was not trained on with
/// -log_marginal_likelihood / (n k), or with a process that has no network in its kernel.
///
/// ShapeError when x does not fit the model or y x; ArgumentError for an option outside its domain
/// or a number that is not finite; NonFiniteError, naming step and node, when training diverges;
/// Error, naming the pivot, when a covariance matrix is not positive definite.
CHAINRULE_API DeepKernelFit fit_deep_kernel(const Model& model, const Tensor& x, const Tensor& y,
                                            const DeepKernelOptions& options = {});

}  // namespace chainrule
