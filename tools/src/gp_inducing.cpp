// SPDX-License-Identifier: Apache-2.0
#include "gp_inducing.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "chainrule/core/random.hpp"
#include "gp_optimize.hpp"

namespace chainrule::tools {
namespace {

// A choice keeps a column of numbers a point for all rows that it is made among.
constexpr Index kFewestCandidates = 10'000;
constexpr Index kCandidatesPerPoint = 4;

}  // namespace

Tensor InducingChoice::of(const CovarianceKernel& kernel, const Tensor& x) const {
  const Index candidates = std::max(kFewestCandidates, kCandidatesPerPoint * count);
  if (x.rows() <= candidates) return greedy_inducing_points(kernel, x, count);
  std::vector<std::uint32_t> order(static_cast<std::size_t>(x.rows()));
  random_permutation({.seed = seed}, order);
  Tensor some({candidates, x.columns()}, DType::kFloat64);
  const auto to = some.as<double>();
  for (Index i = 0; i < candidates; ++i) {
    const Index row = order[static_cast<std::size_t>(i)];
    for (Index j = 0; j < x.columns(); ++j) to(i, j) = element(x, row, j);
  }
  return greedy_inducing_points(kernel, some, count);
}

OptimizeResult optimize_with_inducing(SparseGaussianProcess& gp, const Tensor& x, const Tensor& y,
                                      const InducingChoice& choice,
                                      const OptimizeOptions& options) {
  OptimizeResult first =
      with_progress(options, [&](const OptimizeOptions& with) { return gp.optimize(x, y, with); });
  if (first.stopped) return first;
  SparseGaussianProcess again(gp.kernel(), choice.of(gp.kernel(), x), gp.outputs(), gp.options());
  OptimizeOptions once = options;
  once.restarts = 0;
  OptimizeResult second =
      with_progress(once, [&](const OptimizeOptions& with) { return again.optimize(x, y, with); });
  second.evaluations += first.evaluations;
  second.values.insert(second.values.begin(), first.values.begin(), first.values.end());
  second.best_start = static_cast<int>(first.values.size());
  if (second.log_marginal_likelihood > first.log_marginal_likelihood) {
    gp = std::move(again);
    return second;
  }
  first.evaluations = second.evaluations;
  first.values = std::move(second.values);
  first.stopped = second.stopped;
  return first;
}

}  // namespace chainrule::tools
