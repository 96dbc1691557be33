// SPDX-License-Identifier: Apache-2.0
#include "subject_gradients.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace chainrule::internal {

double mean_magnitude(ConstTensorView x) {
  double sum = 0;
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) sum += std::abs(element(x, i, j));
  }
  const double mean = sum / static_cast<double>(std::max<Index>(1, x.rows * x.columns));
  return mean > 0 ? mean : 1;
}

double largest_magnitude(ConstTensorView x) {
  double largest = 0;
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      const double size = std::abs(element(x, i, j));
      if (std::isfinite(size)) largest = std::max(largest, size);
    }
  }
  return largest;
}

bool is_zero(ConstTensorView x) {
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      if (!(element(x, i, j) == 0)) return false;
    }
  }
  return true;
}

double Gradients::largest_of_each() const {
  double largest = 0;
  for (const Tensor& gradient : each) {
    largest = std::max(largest, largest_magnitude(gradient.view()));
  }
  return largest;
}

std::vector<Gradients> compute_gradients(Subject& subject, const std::vector<double>& weights,
                                         const CompareSettings& settings) {
  const std::size_t variables = subject.variables().size();
  std::vector<Gradients> result(variables);
  std::vector<Tensor> sums = subject.gradients(weights, DType::kFloat64);
  std::vector<bool> wanted(variables);
  for (std::size_t k = 0; k < variables; ++k) {
    const auto entries = static_cast<Index>(weights.size()) * sums[k].rows() * sums[k].columns();
    wanted[k] = weights.size() > 1 && entries <= settings.max_jacobian;
    result[k].sum = std::move(sums[k]);
  }
  if (settings.dtype == DType::kFloat32) {
    std::vector<Tensor> singles = subject.gradients(weights, DType::kFloat32);
    for (std::size_t k = 0; k < variables; ++k) result[k].sum32 = std::move(singles[k]);
  }
  if (std::none_of(wanted.begin(), wanted.end(), [](bool any) { return any; })) return result;
  std::vector<double> unit(weights.size());
  for (double& one : unit) {
    one = 1;
    std::vector<Tensor> of_one = subject.gradients(unit, DType::kFloat64);
    for (std::size_t k = 0; k < variables; ++k) {
      if (wanted[k]) result[k].each.push_back(std::move(of_one[k]));
    }
    one = 0;
  }
  return result;
}

}  // namespace chainrule::internal
