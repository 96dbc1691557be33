// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "chainrule/learn/sparse_gaussian_process.hpp"

namespace chainrule::tools {

/// How `gp fit --inducing` takes its inducing points of the rows.
struct InducingChoice {
  Index count = 0;
  std::uint64_t seed = 0;  ///< of the rows to choose among, where there are many

  Tensor of(const CovarianceKernel& kernel, const Tensor& x) const;
};

/// Optimizes `gp` on x and y, chooses its points anew with the kernel found, and goes on from
/// there; keeps what has the greater bound.
OptimizeResult optimize_with_inducing(SparseGaussianProcess& gp, const Tensor& x, const Tensor& y,
                                      const InducingChoice& choice, const OptimizeOptions& options);

}  // namespace chainrule::tools
