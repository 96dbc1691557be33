// SPDX-License-Identifier: Apache-2.0
#include "compare_forward.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace chainrule::internal {
namespace {

constexpr int kPairs = 4;
constexpr std::uint64_t kPullStream = 41;
constexpr std::uint64_t kPushStream = 42;
// Rounding errors of a product, in multiples of eps times the numbers that it is added up from.
constexpr double kProductRoundings = 32;
// Once so many products of a gradient are known to disagree, the rest is not looked at as closely.
constexpr Index kEnough = 4;

double rounding_of(DType dtype) {
  return dtype == DType::kFloat32 ? std::numeric_limits<float>::epsilon()
                                  : std::numeric_limits<double>::epsilon();
}

// What sums of so many products may lose where they underflow.
double underflow_of(DType dtype, std::size_t count) {
  const double smallest = dtype == DType::kFloat32 ? std::numeric_limits<float>::min()
                                                   : std::numeric_limits<double>::min();
  return static_cast<double>(count) * smallest;
}

std::vector<double> rounded(std::vector<double> values, DType dtype) {
  if (dtype == DType::kFloat64) return values;
  for (double& value : values) value = static_cast<double>(static_cast<float>(value));
  return values;
}

std::vector<double> flattened(ConstTensorView view) {
  std::vector<double> result(static_cast<std::size_t>(view.rows * view.columns));
  copy_row_major(view, result);
  return result;
}

double inner_product(const std::vector<double>& a, const std::vector<double>& b) {
  long double sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) sum += static_cast<long double>(a[k]) * b[k];
  return static_cast<double>(sum);
}

double length_of(const std::vector<double>& a) {
  double sum = 0;
  for (const double x : a) sum = std::hypot(sum, x);
  return sum;
}

double finite_or_zero(double x) { return std::isfinite(x) ? x : 0; }

double separation(double a, double b) {
  const double error = a == b ? 0 : std::abs(a - b);
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

}  // namespace

ForwardComparer::ForwardComparer(Subject& subject, const std::vector<Gradients>& gradients,
                                 const CompareSettings& settings)
    : subject_(subject), gradients_(gradients), settings_(settings) {
  for (int pair = 0; pair < kPairs; ++pair) {
    const RandomKey key =
        derive({.seed = settings.seed, .stream = kPullStream}, static_cast<std::uint64_t>(pair));
    Pullback& pullback = pullbacks_.emplace_back();
    pullback.v = rounded(random_signs(key, subject.outputs().size()), settings.dtype);
    pullback.gradients = subject.gradients(pullback.v, settings.dtype);
  }
}

ForwardCheck ForwardComparer::run(std::size_t variable, bool unresolved) {
  ForwardCheck check;
  probe_ = subject_.forward_mode(variable);
  if (probe_ == nullptr) return check;
  may_overflow_ = unresolved;
  largest_hidden_ = largest_spread_ = 0;
  compare_products(variable, check);
  compare_jacobian(variable, check);
  return check;
}

ForwardComparer::Push ForwardComparer::push(std::size_t variable, std::vector<double> u,
                                            DType dtype) {
  std::vector<double> ju = probe_->product(u, dtype);
  return {variable, std::move(u), std::move(ju)};
}

void ForwardComparer::compare_products(std::size_t variable, ForwardCheck& check) {
  const std::vector<double> x = flattened(subject_.point(variable));
  const double mean = mean_magnitude(subject_.point(variable));
  for (std::size_t pair = 0; pair < pullbacks_.size(); ++pair) {
    const RandomKey key = derive({.seed = settings_.seed, .stream = kPushStream}, pair);
    std::vector<double> u = random_signs(key, x.size());
    for (std::size_t k = 0; k < u.size(); ++k) u[k] *= std::max(std::abs(x[k]), mean);
    const Push along = push(variable, rounded(std::move(u), settings_.dtype), settings_.dtype);
    const Pullback& pullback = pullbacks_[pair];
    const std::vector<double> g = flattened(pullback.gradients[variable].view());
    const Sides sides{
        .forward = inner_product(pullback.v, along.ju),
        .backward = inner_product(g, along.u),
        .terms = length_of(pullback.v) * length_of(along.ju) + length_of(g) * length_of(along.u)};
    ++check.products;
    judge(sides, along, pullback.v, settings_.dtype, {}, check);
  }
}

void ForwardComparer::compare_jacobian(std::size_t variable, ForwardCheck& check) {
  const Gradients& gradients = gradients_[variable];
  const ConstTensorView x = subject_.point(variable);
  const auto elements = static_cast<std::size_t>(x.rows * x.columns);
  const bool scalar = subject_.outputs().size() == 1;
  if (scalar ? static_cast<Index>(elements) > settings_.max_jacobian : gradients.each.empty()) {
    return;
  }
  std::vector<double> v(subject_.outputs().size());
  for (std::size_t k = 0; k < elements; ++k) {
    const Index row = static_cast<Index>(k) / x.columns, column = static_cast<Index>(k) % x.columns;
    std::vector<double> unit(elements);
    unit[k] = 1;
    const Push along = push(variable, std::move(unit), DType::kFloat64);
    for (std::size_t i = 0; i < v.size(); ++i) {
      const Tensor& gradient = scalar ? gradients.sum : gradients.each[i];
      const double backward = element(gradient.view(), row, column);
      v[i] = 1;
      ++check.jacobian;
      judge({along.ju[i], backward, std::abs(along.ju[i]) + std::abs(backward)}, along, v,
            DType::kFloat64, {.row = row, .column = column, .output = static_cast<Index>(i)},
            check);
      v[i] = 0;
    }
  }
}

void ForwardComparer::judge(const Sides& sides, const Push& along, const std::vector<double>& v,
                            DType dtype, ForwardProduct product, ForwardCheck& check) {
  // Where a slope is beyond all numbers, jvp multiplies by infinity.
  if (!std::isfinite(sides.forward) && may_overflow_) {
    ++check.unresolved;
    return;
  }
  product.forward = sides.forward;
  product.backward = sides.backward;
  product.error = separation(sides.forward, sides.backward);
  const double roundings = kProductRoundings * rounding_of(dtype);
  product.tolerance = roundings * sides.terms + underflow_of(dtype, v.size() + along.u.size());
  product.tolerance = finite_or_zero(product.tolerance);
  if (product.error > product.tolerance) {
    product.tolerance += roundings * hidden_terms(along, v, check.disagree < kEnough);
  }
  if (product.error > product.tolerance) {
    product.tolerance += roundings * spread_terms(along, v, check.disagree < kEnough);
  }
  const bool disagrees = product.error > product.tolerance;
  const bool first = check.comparisons() == check.unresolved + 1;
  const bool worse = product.error * check.worst.tolerance > check.worst.error * product.tolerance;
  const bool before = check.disagree > 0;
  if (first || disagrees > before || (disagrees == before && worse)) check.worst = product;
  check.disagree += disagrees ? 1 : 0;
}

// What both sides are added up from in between.
double ForwardComparer::hidden_terms(const Push& along, const std::vector<double>& v, bool anew) {
  if (!anew) return largest_hidden_;
  const auto& contract = settings_.tolerances.float32.contract;
  double terms = probe_->terms(v, along.u, !contract);
  // Of a gradient that is declared to be zero, nothing else tells the size of its terms.
  if (settings_.expected[along.variable].zero) terms += length_of(v) * length_of(along.u);
  const Index columns = subject_.point(along.variable).columns;
  const Value value = subject_.variables()[along.variable].value;
  for (std::size_t k = 0; contract && k < along.u.size(); ++k) {
    const auto index = static_cast<Index>(k);
    if (along.u[k] == 0) continue;
    terms += std::abs(along.u[k]) * contract(value, index / columns, index % columns);
  }
  terms = finite_or_zero(terms);
  largest_hidden_ = std::max(largest_hidden_, terms);
  return terms;
}

// How far both sides move when what they are computed from is rounded.
double ForwardComparer::spread_terms(const Push& along, const std::vector<double>& v, bool anew) {
  if (!anew) return largest_spread_;
  const std::vector<Tensor> spreads = subject_.float32_spread(v);
  const std::vector<double> spread = flattened(spreads[along.variable].view());
  double terms = 0;
  for (std::size_t k = 0; k < spread.size(); ++k) {
    terms += std::abs(along.u[k]) * spread[k] / rounding_of(DType::kFloat32);
  }
  terms = finite_or_zero(terms);
  largest_spread_ = std::max(largest_spread_, terms);
  return terms;
}

}  // namespace chainrule::internal
