// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_gradients.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "chainrule/check/hints.hpp"
#include "chainrule/core/error.hpp"
#include "gradient_probe.hpp"

namespace chainrule {
namespace {

using internal::GradientProbe;
using internal::NumericDerivative;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::uint64_t kSampleStream = 2;
constexpr std::uint64_t kDirectionStream = 3;

// One comparison before its verdict, which needs to know the whole tensor's scale.
struct Comparison {
  Index row = -1;
  Index column = -1;
  double analytic = 0;
  double roundings = 1;  // how many elements' rounding errors the analytic number holds
  NumericDerivative numeric;
};

// What a tensor's comparisons are judged by.
struct Scale {
  double gradient = 0;    // the largest gradient
  double float_unit = 0;  // factor n u, of float32 only
  double terms = 0;       // S
  double zero_tolerance = 0;
  bool zero = false;
  bool kinks = true;
  const GradientCheckOptions* options = nullptr;
};

bool contains(const std::vector<Value>& values, Value value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

Verdict judge_kink(const Scale& scale, const NumericDerivative& numeric, double analytic,
                   double extra) {
  const auto [low, high] = std::minmax(numeric.left_slope, numeric.right_slope);
  const double margin = numeric.slope_error + extra;
  if (!(analytic >= low - margin && analytic <= high + margin)) return Verdict::kDisagree;
  return scale.kinks ? Verdict::kKink : Verdict::kUnresolved;
}

Verdict judge(const Scale& scale, const Comparison& comparison, ElementCheck& check) {
  const NumericDerivative& numeric = comparison.numeric;
  const GradientCheckOptions& options = *scale.options;
  const double rounding = scale.float_unit * scale.terms * std::sqrt(comparison.roundings);
  check.error = std::abs(check.analytic - check.numeric);
  if (!(check.error < kInfinity)) {
    check.error = kInfinity;
    return std::isfinite(check.analytic) ? Verdict::kUnresolved : Verdict::kDisagree;
  }
  if (numeric.kink) {
    check.tolerance =
        numeric.slope_error + rounding + std::abs(numeric.right_slope - numeric.left_slope) / 2;
    return judge_kink(scale, numeric, check.analytic, rounding);
  }
  const double magnitude = std::max(std::abs(check.analytic), std::abs(check.numeric));
  const double noise = numeric.moved ? numeric.noise : 0;
  const double sure =
      options.error_bars * numeric.error_bar + noise + options.relative_tolerance * magnitude;
  check.tolerance = sure + rounding + (scale.zero ? scale.zero_tolerance : 0);
  if (!numeric.resolved) return Verdict::kUnresolved;
  // A function so flat that no difference sees it says nothing about gradients below its rounding.
  const bool blind = !numeric.moved && check.error > check.tolerance;
  if (blind && check.error <= numeric.noise) return Verdict::kUnresolved;
  if (!(check.error <= check.tolerance)) return Verdict::kDisagree;
  if (scale.zero) return Verdict::kAgree;
  const double resolved = options.resolution * std::max(scale.gradient, magnitude);
  return sure > resolved ? Verdict::kUnresolved : Verdict::kAgree;
}

bool worse(const ElementCheck& a, const ElementCheck& b) {
  if (a.verdict != b.verdict) return a.verdict > b.verdict;
  // Not error / tolerance, which is 0 / 0 where both are exact.
  return a.error * b.tolerance > b.error * a.tolerance ||
         (b.error == 0 && b.tolerance == 0 && a.error > 0);
}

void add(ValueCheck& result, const ElementCheck& check, Index max_failures) {
  (check.row < 0 ? result.directions : result.elements) += 1;
  switch (check.verdict) {
    case Verdict::kAgree:
      ++result.agree;
      break;
    case Verdict::kKink:
      ++result.kinks;
      break;
    case Verdict::kUnresolved:
      ++result.unresolved;
      break;
    case Verdict::kDisagree:
      ++result.disagree;
      break;
  }
  const bool first = result.elements + result.directions == 1;
  if (first || worse(check, result.worst)) result.worst = check;
  result.verdict = std::max(result.verdict, check.verdict);
  if (check.verdict < Verdict::kUnresolved || max_failures <= 0) return;
  result.failures.insert(
      std::upper_bound(result.failures.begin(), result.failures.end(), check, worse), check);
  if (static_cast<Index>(result.failures.size()) > max_failures) result.failures.pop_back();
}

double mean_magnitude(ConstTensorView x) {
  double sum = 0;
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) sum += std::abs(element(x, i, j));
  }
  const double mean = sum / static_cast<double>(std::max<Index>(1, x.rows * x.columns));
  return mean > 0 ? mean : 1;
}

// All elements, in random order when only some of them are compared one by one.
std::vector<std::uint32_t> element_order(Index count, const GradientCheckOptions& options) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), 0U);
  if (count > options.max_elements) {
    random_permutation({.seed = options.seed, .stream = kSampleStream}, order);
  }
  return order;
}

class ValueChecker {
 public:
  ValueChecker(GradientProbe& probe, Value value, const Tensor& gradient,
               const GradientCheckOptions& options)
      : probe_(probe), value_(value), gradient_(gradient), options_(options) {}

  std::vector<Comparison> compare() {
    const ConstTensorView x = probe_.point(value_);
    mean_ = mean_magnitude(x);
    const Index count = x.rows * x.columns;
    const std::vector<std::uint32_t> order = element_order(count, options_);
    if (count <= options_.max_elements) {
      compare_elements(order);
      return std::move(comparisons_);
    }
    const std::span<const std::uint32_t> all(order);
    const auto samples = static_cast<std::size_t>(std::clamp<Index>(options_.samples, 0, count));
    compare_elements(all.first(samples));
    for (Index d = 0; d < options_.directions; ++d) {
      Comparison comparison = along_direction(d);
      if (comparison.numeric.kink) {
        const auto more = static_cast<std::size_t>(std::max<Index>(options_.max_elements, 0));
        if (more > samples) compare_elements(all.subspan(samples, more - samples));
        break;
      }
      comparisons_.push_back(comparison);
    }
    return std::move(comparisons_);
  }

 private:
  void compare_elements(std::span<const std::uint32_t> elements) {
    const ConstTensorView x = probe_.point(value_);
    for (const Index k : elements) {
      Comparison& comparison = comparisons_.emplace_back();
      comparison.row = k / x.columns;
      comparison.column = k % x.columns;
      comparison.analytic = element(gradient_.view(), comparison.row, comparison.column);
      const double size = std::abs(element(x, comparison.row, comparison.column));
      comparison.numeric = probe_.along_element(value_, comparison.row, comparison.column,
                                                options_.first_step * std::max(size, mean_));
    }
  }

  Comparison along_direction(Index number) {
    const RandomKey key = derive({.seed = options_.seed, .stream = kDirectionStream},
                                 static_cast<std::uint64_t>(number));
    const ConstTensorView gradient = gradient_.view();
    std::vector<double> direction;
    long double analytic = 0;
    for (Index i = 0; i < gradient.rows; ++i) {
      for (Index j = 0; j < gradient.columns; ++j) {
        direction.push_back(internal::random_signed(key, i * gradient.columns + j));
        analytic += static_cast<long double>(direction.back()) * element(gradient, i, j);
      }
    }
    Comparison comparison;
    comparison.analytic = static_cast<double>(analytic);
    comparison.roundings = static_cast<double>(direction.size());
    comparison.numeric = probe_.along(value_, direction, options_.first_step * mean_);
    return comparison;
  }

  GradientProbe& probe_;
  Value value_;
  const Tensor& gradient_;
  const GradientCheckOptions& options_;
  double mean_ = 1;  // magnitude of the elements
  std::vector<Comparison> comparisons_;
};

Scale scale_of(const std::vector<Comparison>& comparisons, const Tensor& gradient, Index longest,
               const GradientCheckOptions& options) {
  Scale scale;
  scale.options = &options;
  scale.terms = options.float32_terms;
  for (const Comparison& comparison : comparisons) {
    if (comparison.row < 0) continue;
    scale.terms = std::max(scale.terms, comparison.numeric.terms);
  }
  for (Index i = 0; i < gradient.rows(); ++i) {
    for (Index j = 0; j < gradient.columns(); ++j) {
      const double size = std::abs(element(gradient.view(), i, j));
      if (std::isfinite(size)) scale.gradient = std::max(scale.gradient, size);
    }
  }
  const bool single = options.dtype == DType::kFloat32;
  const double unit =
      (single ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon()) / 2;
  scale.zero_tolerance = options.float32_factor * static_cast<double>(longest) * unit;
  scale.float_unit = single ? scale.zero_tolerance : 0;
  return scale;
}

ValueCheck check_value(GradientProbe& probe, Value value, const Tensor& gradient, Index rows,
                       Index longest, const GradientCheckOptions& options) {
  ValueCheck result;
  result.value = value;
  result.name = value.node().name;
  result.shape = internal::filled_shape(value.shape(), rows);
  const std::vector<Comparison> comparisons =
      ValueChecker(probe, value, gradient, options).compare();
  Scale scale = scale_of(comparisons, gradient, longest, options);
  scale.zero = contains(options.zero_gradients, value);
  scale.kinks = options.accept_kinks || contains(options.kinks, value);
  result.all_zero = scale.gradient == 0;
  std::vector<ElementCheck> checks;
  for (const Comparison& comparison : comparisons) {
    const NumericDerivative& numeric = comparison.numeric;
    ElementCheck check{.row = comparison.row,
                       .column = comparison.column,
                       .analytic = comparison.analytic,
                       .numeric = numeric.value,
                       .error_bar = numeric.error_bar,
                       .step = numeric.step,
                       .left_slope = numeric.left_slope,
                       .right_slope = numeric.right_slope};
    check.verdict = judge(scale, comparison, check);
    // A non-zero gradient that is declared to be none is wrong, even if differences agree.
    if (scale.zero && std::abs(numeric.value) > check.tolerance) {
      check.verdict = Verdict::kDisagree;
    }
    result.all_zero = result.all_zero && std::isfinite(check.analytic);
    add(result, check, options.max_failures);
    checks.push_back(check);
  }
  const GradientLayout layout{gradient.rows(), gradient.columns(), rows};
  if (const std::optional<GradientHint> hint = gradient_hint(checks, layout)) {
    result.hint = hint->text;
  }
  return result;
}

std::string failure_of(const ValueCheck& check, const GradientCheckOptions& options) {
  const std::string what = fmt::format("gradient of {} {}", check.name, to_string(check.shape));
  const Index count = check.elements + check.directions;
  if (count == 0) return what + ": nothing was compared";
  if (check.verdict >= Verdict::kUnresolved) {
    const ElementCheck& worst = check.worst;
    const std::string place = worst.row < 0 ? std::string("along a random direction")
                                            : fmt::format("at ({}, {})", worst.row, worst.column);
    return fmt::format(
        "{}: {} of {} {}; worst {}: backward gives {:.12g}, differences {:.12g}, error {:.3g}, "
        "tolerance {:.3g}, step {:.3g}",
        what, check.verdict == Verdict::kDisagree ? check.disagree : check.unresolved, count,
        to_string(check.verdict), place, worst.analytic, worst.numeric, worst.error,
        worst.tolerance, worst.step);
  }
  if (check.all_zero && !contains(options.zero_gradients, check.value)) {
    return what + ": is zero everywhere, which was not declared";
  }
  return {};
}

Index longest_dimension(const Graph& graph, Value output, Index rows) {
  const std::vector<bool> needed = internal::ancestors(graph, output);
  Index longest = 1;
  for (NodeId id = 0; id <= output.id(); ++id) {
    if (!needed[static_cast<std::size_t>(id)]) continue;
    const Shape& shape = graph.node(id).shape;
    longest = std::max({longest, shape.is_batched() ? rows : shape.rows(), shape.columns()});
  }
  return longest;
}

std::vector<Value> values_to_check(const Graph& graph, Value output,
                                   const GradientCheckOptions& options) {
  const std::vector<Value> leaves = internal::differentiable_leaves(graph, output);
  for (const auto* values : {&options.with_respect_to, &options.zero_gradients, &options.kinks}) {
    for (const Value& value : *values) {
      if (contains(leaves, value)) continue;
      throw ArgumentError(fmt::format(
          "check_gradients: {} is no parameter or real input that {} can be differentiated by",
          value ? describe(value.node()) : std::string("an empty value"), describe(output.node())));
    }
  }
  return options.with_respect_to.empty() ? leaves : options.with_respect_to;
}

}  // namespace

GradientReport check_gradients(const Graph& graph, Value output, const Feed& feed,
                               const GradientCheckOptions& options) {
  if (output.graph() != &graph) {
    throw ArgumentError("check_gradients: the output belongs to another graph");
  }
  if (options.dtype == DType::kInt32) {
    throw ArgumentError("check_gradients: dtype must be float32 or float64, got int32");
  }
  GradientReport report;
  report.dtype = options.dtype;
  const std::vector<Value> values = values_to_check(graph, output, options);
  if (values.empty()) {
    report.failures.push_back(fmt::format(
        "{}: nothing to differentiate by, so nothing was compared", describe(output.node())));
    return report;
  }
  GradientProbe probe(graph, output, feed, values, options);
  report.architecture = probe.kernels().architecture;
  if (!probe.output_is_finite()) {
    report.failures.push_back(fmt::format("{}: is not finite", describe(output.node())));
    return report;
  }
  if (!probe.is_deterministic()) {
    report.failures.push_back("running backward twice gives different bits");
  }
  const Index rows = internal::rows_of_feed(feed);
  const Index longest = longest_dimension(graph, output, rows);
  const std::vector<Tensor> gradients = probe.gradients();
  for (std::size_t k = 0; k < values.size(); ++k) {
    report.values.push_back(check_value(probe, values[k], gradients[k], rows, longest, options));
    std::string failure = failure_of(report.values.back(), options);
    if (!failure.empty()) report.failures.push_back(std::move(failure));
  }
  return report;
}

}  // namespace chainrule
