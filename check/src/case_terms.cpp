// SPDX-License-Identifier: Apache-2.0
#include "case_terms.hpp"

#include <algorithm>
#include <cmath>

namespace chainrule::internal {
namespace {

ConstTensorView data_of(const CaseInstance& instance, std::size_t i) {
  const Value& output = instance.output();
  return instance.data(Value(output.graph(), output.node().inputs[i]));
}

double at(const CaseInstance& instance, std::size_t i, Index row, Index column) {
  return element(data_of(instance, i), row, column);
}

double attribute(const CaseInstance& instance, std::size_t i) {
  return instance.output().node().attributes.real[i];
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Of a row of logits.
struct SoftmaxRow {
  explicit SoftmaxRow(const CaseInstance& instance, Index row)
      : x(data_of(instance, 0)), i(row), largest(element(x, row, 0)) {
    for (Index j = 1; j < x.columns; ++j) largest = std::max(largest, element(x, i, j));
    for (Index j = 0; j < x.columns; ++j) sum += std::exp(element(x, i, j) - largest);
    for (Index j = 0; j < x.columns; ++j) mean_depth += at(j) * depth(j);
  }

  double at(Index j) const { return std::exp(-depth(j)) / sum; }
  double depth(Index j) const { return largest - element(x, i, j); }

  ConstTensorView x;
  Index i;
  double largest;
  double sum = 0;
  double mean_depth = 0;
};

double columns_of(const CaseInstance& instance) {
  return static_cast<double>(data_of(instance, 0).columns);
}

struct Moments {
  double rstd = 1;
  double largest = 0;  // |x|
};

// Of numbers x(0), x(1), ..., `count` of them.
template <class Number>
Moments moments_of(Index count, double epsilon, const Number& x) {
  const auto n = static_cast<double>(count);
  Moments result;
  double mean = 0, variance = 0;
  for (Index k = 0; k < count; ++k) mean += x(k) / n;
  for (Index k = 0; k < count; ++k) {
    variance += (x(k) - mean) * (x(k) - mean) / n;
    result.largest = std::max(result.largest, std::abs(x(k)));
  }
  result.rstd = 1 / std::sqrt(variance + epsilon);
  return result;
}

double largest_in_row(ConstTensorView x) {
  double largest = 0;
  for (Index j = 0; j < x.columns; ++j) largest = std::max(largest, std::abs(element(x, 0, j)));
  return largest;
}

}  // namespace

double elu_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column), alpha = attribute(instance, 0);
  return x > 0 ? 1 : -alpha * std::expm1(x) + alpha;
}

double sigmoid_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double y = sigmoid(at(instance, 0, row, column));
  return y + y * y;
}

double tanh_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double y = std::tanh(at(instance, 0, row, column));
  return 1 + y * y;
}

double silu_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column), s = sigmoid(x);
  return s + std::abs(x) * s * (1 - s);
}

double gelu_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column);
  const double density = std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0));
  return std::erfc(-x / std::sqrt(2.0)) / 2 + std::abs(x) * density;
}

double gelu_tanh_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column), scale = 2 * std::sqrt(2 / std::acos(-1.0));
  const double u = scale * (x + 0.044715 * x * x * x), s = sigmoid(u);
  const double slope = scale * (1 + 3 * 0.044715 * x * x);
  return (s + std::abs(x) * s * (1 - s) * slope) * (1 + std::abs(u));
}

double softmax_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const SoftmaxRow softmax(instance, row);
  return softmax.at(column) * (2 + softmax.depth(column) + softmax.mean_depth);
}

double log_softmax_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const SoftmaxRow softmax(instance, row);
  return 1 + softmax.at(column) * (1 + softmax.depth(column));
}

double layer_norm_terms(const CaseInstance& instance, std::size_t input, Index row, Index) {
  const ConstTensorView x = data_of(instance, 0);
  const auto moments = [&](Index i) {
    return moments_of(x.columns, attribute(instance, 0), [&](Index j) { return element(x, i, j); });
  };
  if (input == 0) {
    const Moments m = moments(row);
    return largest_in_row(data_of(instance, 1)) * m.rstd * (1 + m.largest * m.rstd);
  }
  if (input == 2) return 0;
  double sum = 0;
  for (Index i = 0; i < x.rows; ++i) {
    const Moments m = moments(i);
    sum += m.largest * m.rstd;
  }
  return sum;
}

double batch_norm_terms(const CaseInstance& instance, std::size_t input, Index, Index column) {
  const ConstTensorView x = data_of(instance, 0);
  const Moments m =
      moments_of(x.rows, attribute(instance, 1), [&](Index i) { return element(x, i, column); });
  const double gamma = std::abs(at(instance, 1, 0, column));
  if (input == 0) return gamma * m.rstd * (1 + m.largest * m.rstd);
  return input == 1 ? static_cast<double>(x.rows) * m.largest * m.rstd : 0;
}

double binary_cross_entropy_terms(const CaseInstance& instance, std::size_t, Index row,
                                  Index column) {
  const double x = at(instance, 0, row, column), t = at(instance, 1, row, column);
  return (sigmoid(x) + t) / columns_of(instance);
}

double poisson_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column), t = at(instance, 1, row, column);
  return (std::exp(x) + t) / columns_of(instance);
}

double gamma_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column), t = at(instance, 1, row, column);
  return attribute(instance, 0) * (1 + t * std::exp(-x)) / columns_of(instance);
}

double negative_binomial_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const double x = at(instance, 0, row, column), t = at(instance, 1, row, column);
  const double a = attribute(instance, 0), mu = std::exp(x);
  return (mu + t) / (1 + a * mu) * (1 + std::abs(x + std::log(a))) / columns_of(instance);
}

double cross_entropy_terms(const CaseInstance& instance, std::size_t, Index row, Index column) {
  const ConstTensorView target = data_of(instance, 1);
  const double smoothing = attribute(instance, 0);
  const bool labels = target.dtype == DType::kInt32;
  const double q = labels ? (element(target, row, 0) == static_cast<double>(column) ? 1 : 0)
                          : element(target, row, column);
  const SoftmaxRow softmax(instance, row);
  return softmax.at(column) * (1 + softmax.depth(column) + softmax.mean_depth) +
         (1 - smoothing) * q + smoothing / columns_of(instance);
}

}  // namespace chainrule::internal
