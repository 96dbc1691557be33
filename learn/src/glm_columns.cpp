// SPDX-License-Identifier: Apache-2.0
#include "glm_columns.hpp"

#include <cmath>

#include "chainrule/runtime/linear_algebra.hpp"

namespace chainrule::internal {
namespace {

constexpr double kDependent = 1e-12;  // of the squared length of a column

double weight_of(const Tensor& weights, Index row) {
  return weights.shape().rank() == 0 ? 1 : element(weights, row, 0);
}

}  // namespace

GlmColumns::GlmColumns(const Tensor& x, const Tensor& weights, bool centered)
    : center_(static_cast<std::size_t>(x.columns())),
      scale_(static_cast<std::size_t>(x.columns())) {
  const MatrixView<const double> view = x.as<double>();
  const double* const first = view.row(0);
  double total = 0;
  for (Index i = 0; i < view.rows; ++i) {
    const double w = weight_of(weights, i);
    total += w;
    // Of differences to the first value: no cancellation for a large mean.
    for (std::size_t j = 0; centered && j < center_.size(); ++j) {
      center_[j] += w * (view.row(i)[j] - first[j]);
    }
  }
  for (std::size_t j = 0; centered && j < center_.size(); ++j) {
    center_[j] = first[j] + center_[j] / total;
  }
  for (Index i = 0; i < view.rows; ++i) {
    const double w = weight_of(weights, i);
    for (std::size_t j = 0; j < scale_.size(); ++j) {
      scale_[j] += w * std::pow(view.row(i)[j] - center_[j], 2);
    }
  }
  for (std::size_t j = 0; j < scale_.size(); ++j) {
    scale_[j] = std::sqrt(scale_[j] / total);
    // What is left of a constant column is rounding.
    if (!(scale_[j] > 1e-14 * std::abs(center_[j]))) scale_[j] = 0;
    if (scale_[j] == 0) scale_[j] = 1;
  }
}

Tensor GlmColumns::apply(const Tensor& x) const {
  Tensor result({x.rows(), x.columns()}, DType::kFloat64);
  for (Index i = 0; i < x.rows(); ++i) {
    const double* const from = x.as<double>().row(i);
    double* const to = result.as<double>().row(i);
    for (std::size_t j = 0; j < scale_.size(); ++j) to[j] = (from[j] - center_[j]) / scale_[j];
  }
  return result;
}

void GlmColumns::to_raw(MatrixView<double> coefficients) const {
  const auto features = static_cast<Index>(scale_.size());
  for (Index j = 0; j < features; ++j) {
    for (Index k = 0; k < coefficients.columns; ++k) {
      double& w = coefficients(j, k);
      w /= scale_[static_cast<std::size_t>(j)];
      if (coefficients.rows > features) {
        coefficients(features, k) -= center_[static_cast<std::size_t>(j)] * w;
      }
    }
  }
}

void GlmColumns::covariance_to_raw(MatrixView<double> covariance, Index outputs) const {
  const Index size = covariance.rows;
  std::vector<double> copy(static_cast<std::size_t>(size));
  // A C A^T: the map on each column, then on each row.
  for (const bool columns : {true, false}) {
    for (Index i = 0; i < size; ++i) {
      for (Index j = 0; j < size; ++j) {
        copy[static_cast<std::size_t>(j)] = columns ? covariance(j, i) : covariance(i, j);
      }
      to_raw({copy.data(), size / outputs, outputs, outputs});
      for (Index j = 0; j < size; ++j) {
        (columns ? covariance(j, i) : covariance(i, j)) = copy[static_cast<std::size_t>(j)];
      }
    }
  }
}

std::optional<Index> first_dependent_column(const Tensor& scaled, const Tensor& weights) {
  const Index n = scaled.columns();
  Tensor weighted = scaled;
  double total = 0;
  for (Index i = 0; i < scaled.rows(); ++i) {
    const double w = weight_of(weights, i);
    total += w;
    for (Index j = 0; j < n; ++j) weighted.as<double>()(i, j) *= w;
  }
  Tensor gram({n, n}, DType::kFloat64);
  multiply_transposed(scaled.as<double>(), weighted.as<double>(), gram.as<double>());
  // Cholesky's factor row by row, of which a pivot is what the columns before do not explain.
  const auto l = gram.as<double>();
  for (Index i = 0; i < n; ++i) {
    double pivot = l(i, i) / total;
    for (Index j = 0; j < i; ++j) {
      double sum = l(i, j) / total;
      for (Index k = 0; k < j; ++k) sum -= l(i, k) * l(j, k);
      l(i, j) = sum / l(j, j);
      pivot -= l(i, j) * l(i, j);
    }
    if (!(pivot > kDependent)) return i;
    l(i, i) = std::sqrt(pivot);
  }
  return std::nullopt;
}

}  // namespace chainrule::internal
