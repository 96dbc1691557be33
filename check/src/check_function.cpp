// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_function.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "compare.hpp"

namespace chainrule {
namespace {

Tensor row_of(std::span<const double> values) {
  return Tensor::from<double>({static_cast<Index>(values.size())}, values);
}

bool all_finite(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [](double x) { return std::isfinite(x); });
}

// A function of one vector, and v^T J by somebody's derivative.
class FunctionSubject : public internal::Subject {
 public:
  FunctionSubject(VectorFunction function, VectorJacobianFunction product,
                  std::span<const double> x, std::size_t outputs)
      : function_(std::move(function)),
        product_(std::move(product)),
        point_(row_of(x)),
        x_(x.begin(), x.end()),
        moved_(x_),
        y0_(outputs),
        variables_{{"x", {static_cast<Index>(x.size())}, {}}} {
    function_(x_, y0_);
  }

  const std::vector<Variable>& variables() const override { return variables_; }
  std::span<const double> outputs() const override { return y0_; }
  ConstTensorView point(std::size_t) const override { return point_.view(); }

  double move_element(std::size_t, Index, Index column, double t, std::span<double> y) override {
    const auto k = static_cast<std::size_t>(column);
    moved_[k] = x_[k] + t;
    function_(moved_, y);
    return moved_[k] - x_[k];
  }
  void move(std::span<const Move> moves, double t, std::span<double> y) override {
    for (const Move& move : moves) {
      for (std::size_t k = 0; k < x_.size(); ++k) moved_[k] = x_[k] + t * move.direction[k];
    }
    function_(moved_, y);
  }
  void restore() override { moved_ = x_; }

  std::vector<Tensor> gradients(std::span<const double> v, DType) override {
    std::vector<double> product(x_.size());
    product_(x_, v, product);
    return {row_of(product)};
  }
  std::vector<Tensor> float32_spread(std::span<const double>) override {
    throw UnsupportedError("check_function: there is no float32 here");
  }

 private:
  VectorFunction function_;
  VectorJacobianFunction product_;
  Tensor point_;
  std::vector<double> x_;
  std::vector<double> moved_;
  std::vector<double> y0_;
  std::vector<Variable> variables_;
};

internal::CompareSettings settings_of(const FunctionCheckOptions& options) {
  internal::CompareSettings settings;
  settings.tolerances.relative_tolerance = options.relative_tolerance;
  settings.tolerances.error_bars = options.error_bars;
  settings.tolerances.roundings = options.roundings;
  settings.tolerances.resolution = options.resolution;
  settings.first_step = options.first_step;
  settings.max_jacobian = options.max_jacobian;
  settings.max_elements = options.max_elements;
  settings.samples = options.samples;
  settings.directions = options.directions;
  settings.seed = options.seed;
  settings.max_failures = options.max_failures;
  settings.given = "the derivative given is";
  settings.expected = {{.zero = options.zero_derivative,
                        .kinks = options.accept_kinks,
                        .waived = options.waive_unresolved}};
  internal::require_valid(settings, "check_function");
  return settings;
}

// Of outputs, and of entries of a Jacobian that is held in memory: 2 GiB.
constexpr Index kMaxNumbers = Index{1} << 28;

template <class... Functions>
void require(std::string_view name, Index outputs, const Functions&... functions) {
  if (outputs < 0 || outputs > kMaxNumbers) {
    throw ArgumentError(
        fmt::format("{}: got {} outputs, expected 0 to {}", name, outputs, kMaxNumbers));
  }
  if ((!functions || ...)) {
    throw ArgumentError(fmt::format("{}: got an empty function", name));
  }
}

std::vector<double> entries_of(const JacobianFunction& jacobian, std::span<const double> x,
                               Index outputs) {
  std::vector<double> entries(static_cast<std::size_t>(outputs) * x.size());
  jacobian(x, entries);
  return entries;
}

// v^T J from the whole of J.
VectorJacobianFunction product_with(std::vector<double> entries) {
  return [entries = std::move(entries)](std::span<const double> at, std::span<const double> v,
                                        std::span<double> product) {
    for (std::size_t j = 0; j < at.size(); ++j) {
      long double sum = 0;
      for (std::size_t i = 0; i < v.size(); ++i) {
        // Not 0 * NaN: a row that is not asked for has no say.
        if (v[i] != 0) sum += static_cast<long double>(v[i]) * entries[i * at.size() + j];
      }
      product[j] = static_cast<double>(sum);
    }
  };
}

// Bit by bit, which NaN cannot fool.
bool same_bits(std::span<const double> a, std::span<const double> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](double one, double other) {
    return std::bit_cast<std::uint64_t>(one) == std::bit_cast<std::uint64_t>(other);
  });
}

constexpr const char* kDerivativeChanges = "computing the derivative twice gives different numbers";

void require_the_same_twice(const FunctionSubject& subject, const VectorFunction& function,
                            const VectorJacobianFunction& product, std::span<const double> x,
                            GradientReport& report) {
  std::vector<double> y(subject.outputs().size());
  function(x, y);
  if (!same_bits(y, subject.outputs())) {
    report.failures.emplace_back("computing the function twice gives different numbers");
  }
  const std::vector<double> ones(y.size(), 1);
  std::vector<double> first(x.size()), second(x.size());
  product(x, ones, first);
  product(x, ones, second);
  if (!same_bits(first, second)) report.failures.emplace_back(kDerivativeChanges);
}

}  // namespace

GradientReport check_vector_jacobian_product(const VectorFunction& function,
                                             const VectorJacobianFunction& product,
                                             std::span<const double> x, Index outputs,
                                             const FunctionCheckOptions& options) {
  require("check_vector_jacobian_product", outputs, function, product);
  GradientReport report;
  if (!all_finite(x)) {
    report.failures.emplace_back("x: is not finite");
    return report;
  }
  const internal::CompareSettings settings = settings_of(options);
  FunctionSubject subject(function, product, x, static_cast<std::size_t>(outputs));
  if (!all_finite(subject.outputs())) {
    report.failures.emplace_back("the function is not finite at x");
    return report;
  }
  if (outputs == 0) {
    report.failures.emplace_back("no outputs, so nothing was compared");
    return report;
  }
  require_the_same_twice(subject, function, product, x, report);
  internal::compare_gradients(subject, settings, report);
  return report;
}

GradientReport check_jacobian(const VectorFunction& function, const JacobianFunction& jacobian,
                              std::span<const double> x, Index outputs,
                              const FunctionCheckOptions& options) {
  require("check_jacobian", outputs, function, jacobian);
  const auto columns = static_cast<Index>(x.size());
  if (columns > 0 && outputs > kMaxNumbers / columns) {
    throw ArgumentError(
        fmt::format("check_jacobian: got a Jacobian of {} x {} entries, expected at most {}; "
                    "check_vector_jacobian_product() needs none",
                    outputs, columns, kMaxNumbers));
  }
  std::vector<double> entries = entries_of(jacobian, x, outputs);
  const bool same = same_bits(entries, entries_of(jacobian, x, outputs));
  GradientReport report = check_vector_jacobian_product(function, product_with(std::move(entries)),
                                                        x, outputs, options);
  if (!same) report.failures.emplace_back(kDerivativeChanges);
  return report;
}

GradientReport check_gradient(
    const std::function<double(std::span<const double> x)>& function,
    const std::function<void(std::span<const double> x, std::span<double> gradient)>& gradient,
    std::span<const double> x, const FunctionCheckOptions& options) {
  require("check_gradient", 1, function, gradient);
  return check_jacobian(
      [&](std::span<const double> at, std::span<double> y) { y[0] = function(at); }, gradient, x, 1,
      options);
}

GradientReport check_derivative(const std::function<double(double)>& function,
                                const std::function<double(double)>& derivative, double x,
                                const FunctionCheckOptions& options) {
  require("check_derivative", 1, function, derivative);
  return check_jacobian(
      [&](std::span<const double> at, std::span<double> y) { y[0] = function(at[0]); },
      [&](std::span<const double> at, std::span<double> j) { j[0] = derivative(at[0]); }, {&x, 1},
      1, options);
}

}  // namespace chainrule
