// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/infinite_width.hpp"

namespace chainrule {

// Kernels of infinitely wide networks for Gaussian processes: nngp() and ntk() of inputs as they
// are. No hyperparameters. Whole matrices at once, on `threads` threads (0 means
// default_threads()). A file
// cannot hold them.
CHAINRULE_API CovarianceKernel nngp_kernel(const InfiniteNetwork& network, int threads = 0);
CHAINRULE_API CovarianceKernel ntk_kernel(const InfiniteNetwork& network, int threads = 0);

// The same of `depth` hidden layers of an activation of DualActivation::names(); as formulas
// "nngp_relu(1, 2, 0.1)" and "ntk_relu(1, 2, 0.1)", depth, weight variance and bias variance, which
// parse_kernel() reads. ArgumentError for what InfiniteNetwork refuses.
CHAINRULE_API CovarianceKernel nngp_kernel(Index depth, std::string_view activation,
                                           WeightPrior prior, int threads = 0);
CHAINRULE_API CovarianceKernel ntk_kernel(Index depth, std::string_view activation,
                                          WeightPrior prior, int threads = 0);

}  // namespace chainrule
