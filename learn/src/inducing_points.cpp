// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/sparse_gaussian_process.hpp"
#include "sparse_posterior.hpp"

namespace chainrule {

Tensor greedy_inducing_points(const CovarianceKernel& kernel, const Tensor& x, Index count) {
  if (x.shape().rank() != 2 || x.rows() < 1 || count < 1) {
    throw ArgumentError(fmt::format(
        "greedy_inducing_points: got x {} and count {}, expected [n, d], n >= 1, and >= 1",
        to_string(x.shape()), count));
  }
  const Index n = x.rows();
  const Tensor diagonal = kernel.diagonal(x);
  std::vector<double> left(diagonal.as<double>().data, diagonal.as<double>().data + n);
  const double enough = 1e-12 * *std::ranges::max_element(left);
  std::vector<std::vector<double>> columns;  // of the pivoted factor
  std::vector<Index> chosen;
  while (static_cast<Index>(chosen.size()) < std::min(count, n)) {
    const auto pivot = std::ranges::max_element(left);
    if (!(*pivot > enough)) break;
    const auto at = static_cast<std::size_t>(pivot - left.begin());
    const Tensor k = kernel.gram(x, internal::rows_copy(x, static_cast<Index>(at), 1));
    std::vector<double> column(left.size());
    for (std::size_t i = 0; i < column.size(); ++i)
      column[i] = element(k, static_cast<Index>(i), 0);
    for (const auto& other : columns) {
      for (std::size_t i = 0; i < column.size(); ++i) column[i] -= other[at] * other[i];
    }
    const double root = std::sqrt(*pivot);
    for (std::size_t i = 0; i < column.size(); ++i) {
      column[i] /= root;
      left[i] -= column[i] * column[i];
    }
    left[at] = 0;  // and not what rounding left of it
    chosen.push_back(static_cast<Index>(at));
    columns.push_back(std::move(column));
  }
  Tensor points({static_cast<Index>(chosen.size()), x.columns()}, DType::kFloat64);
  for (Index i = 0; i < points.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      points.as<double>()(i, j) = element(x, chosen[static_cast<std::size_t>(i)], j);
    }
  }
  return points;
}

}  // namespace chainrule
