// SPDX-License-Identifier: Apache-2.0
#include "compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "chainrule/check/hints.hpp"
#include "chainrule/core/error.hpp"
#include "compare_forward.hpp"
#include "differencer.hpp"
#include "subject_gradients.hpp"

namespace chainrule::internal {
namespace {

constexpr std::uint64_t kWeightStream = 1;

// Turns the comparisons of one variable into verdicts.
class VariableCheck {
 public:
  VariableCheck(Subject& subject, std::size_t variable, const std::vector<double>& weights,
                const CompareSettings& settings)
      : subject_(subject),
        variable_(variable),
        weights_(weights),
        settings_(settings),
        expected_(settings.expected[variable]) {}

  ValueCheck run(const Gradients& gradients) && {
    const Subject::Variable& about = subject_.variables()[variable_];
    result_.value = about.value;
    result_.name = about.name;
    result_.shape = about.shape;
    Comparisons all = Differencer(subject_, variable_, weights_, gradients, settings_).run();
    result_.elements = static_cast<Index>(all.elements.size());
    result_.directions = static_cast<Index>(all.directions.size());
    result_.jacobian = static_cast<Index>(all.jacobian.size());
    result_.all_zero = is_zero(gradients.sum.view()) && gradients.largest_of_each() == 0;
    if (gradients.sum32.data() != nullptr) {
      result_.all_zero = result_.all_zero && is_zero(gradients.sum32.view());
      add_float32_only(all, gradients);
    }
    const Scale sum = scale(largest_magnitude(gradients.sum.view()), all.elements);
    const Scale each = scale(gradients.largest_of_each(), all.jacobian);
    for (Comparison& comparison : all.elements) count(judge_twice(comparison, sum));
    for (const Comparison& comparison : all.directions) count(judge(comparison, sum));
    for (Comparison& comparison : float32_only_) count(judge_twice(comparison, sum));
    if (result_.verdict == Verdict::kDisagree) result_.hint = hint(gradients.sum.view());
    for (const Comparison& comparison : all.jacobian) count(judge(comparison, each));
    return std::move(result_);
  }

 private:
  Scale scale(double gradient, const std::vector<Comparison>& comparisons) const {
    Scale scale{.gradient = gradient,
                .zero = expected_.zero,
                .kinks = expected_.kinks,
                .value = subject_.variables()[variable_].value};
    for (const Comparison& comparison : comparisons) {
      scale.terms = std::max(scale.terms, comparison.numeric.terms);
    }
    return scale;
  }

  // What was not compared with differences takes S and n of the largest that were.
  void add_float32_only(const Comparisons& all, const Gradients& gradients) {
    Comparison largest;
    for (const Comparison& comparison : all.elements) {
      const NumericDerivative& numeric = comparison.numeric;
      largest.numeric.terms = std::max(largest.numeric.terms, numeric.terms);
      largest.numeric.reached = std::max(largest.numeric.reached, numeric.reached);
    }
    const ConstTensorView gradient = gradients.sum.view();
    for (Index k = 0; k < gradient.rows * gradient.columns; ++k) {
      if (all.has_element[static_cast<std::size_t>(k)]) continue;
      Comparison& comparison = float32_only_.emplace_back(largest);
      comparison.row = k / gradient.columns;
      comparison.column = k % gradient.columns;
      comparison.analytic = element(gradient, comparison.row, comparison.column);
      comparison.has_float32 = true;
      comparison.float32 = element(gradients.sum32.view(), comparison.row, comparison.column);
    }
    result_.float32_only = static_cast<Index>(float32_only_.size());
  }

  ElementCheck judge(const Comparison& comparison, const Scale& scale) const {
    const bool differences = comparison.numeric.step > 0 || !comparison.has_float32;
    return (differences ? internal::judge : judge_float32)(comparison, scale, settings_.tolerances);
  }

  // Looks at how ill-conditioned a float32 gradient is before it calls it wrong.
  ElementCheck judge_twice(Comparison& comparison, const Scale& scale) {
    const ElementCheck check = judge(comparison, scale);
    if (check.verdict != Verdict::kDisagree || !comparison.has_float32) return check;
    if (settings_.tolerances.float32.contract) return check;
    if (spread_.data() == nullptr) {
      spread_ = std::move(subject_.float32_spread(weights_)[variable_]);
    }
    comparison.float32_spread = element(spread_.view(), comparison.row, comparison.column);
    return judge(comparison, scale);
  }

  std::string hint(ConstTensorView gradient) const {
    const ElementCheck& worst = result_.worst;
    const bool right = std::abs(worst.analytic - worst.numeric) <= worst.tolerance;
    if (worst.reason == Reason::kNotZero && right) {
      return "backward and differences agree: it is the declaration that is wrong";
    }
    const auto found =
        gradient_hint(judged_, {gradient.rows, gradient.columns, settings_.batch_rows});
    return found ? found->text : "";
  }

  void count(const ElementCheck& check) {
    judged_.push_back(check);
    tally(result_, check, expected_.waived, settings_.max_failures);
  }

  Subject& subject_;
  std::size_t variable_;
  const std::vector<double>& weights_;
  const CompareSettings& settings_;
  const CompareSettings::Expectation& expected_;
  ValueCheck result_;
  std::vector<Comparison> float32_only_;
  std::vector<ElementCheck> judged_;
  Tensor spread_;
};

std::string place_of(const ElementCheck& check) {
  if (check.row < 0) return "along a random direction";
  if (check.output < 0) return fmt::format("at ({}, {})", check.row, check.column);
  return fmt::format("of output {} at ({}, {})", check.output, check.row, check.column);
}

// Differences cannot resolve every gradient of exactly 0; a declaration can.
std::string if_zero(const ValueCheck& check, const CompareSettings::Expectation& expected) {
  const bool suggest = check.all_zero && !expected.zero && check.verdict != Verdict::kDisagree;
  return suggest ? "; it is zero everywhere, which was not declared" : "";
}

std::string failure_of(const ValueCheck& check, const CompareSettings::Expectation& expected,
                       const CompareSettings& settings) {
  const std::string what =
      fmt::format("{} of {} {}", settings.what, check.name, to_string(check.shape));
  const Index count = check.comparisons();
  if (count == 0) return what + ": nothing was compared";
  if (check.verdict >= Verdict::kUnresolved) {
    const ElementCheck& worst = check.worst;
    const std::string why =
        worst.reason == Reason::kNone ? "" : fmt::format(" ({})", to_string(worst.reason));
    if (worst.reason == Reason::kDomain) {  // then there is nothing to compare with
      return fmt::format("{}: {} of {} {}; worst {}{}: {} {:.12g}", what, check.unresolved, count,
                         to_string(check.verdict), place_of(worst), why, settings.given,
                         worst.analytic);
    }
    if (worst.reason == Reason::kNotZero) {
      return fmt::format(
          "{}: {}: {} of {} {}; worst {}: {} {:.12g} and differences {:.12g}, expected 0, error "
          "{:.3g}, tolerance {:.3g}, step {:.3g}",
          what, to_string(worst.reason), check.disagree, count, to_string(check.verdict),
          place_of(worst), settings.given, worst.analytic, worst.numeric, worst.error,
          worst.tolerance, worst.step);
    }
    return fmt::format(
        "{}: {} of {} {}; worst {}{}: {} {:.12g}, expected {:.12g}, error {:.3g}, tolerance "
        "{:.3g}, step {:.3g}{}",
        what, check.verdict == Verdict::kDisagree ? check.disagree : check.unresolved, count,
        to_string(check.verdict), place_of(worst), why, settings.given, worst.analytic,
        worst.numeric, worst.error, worst.tolerance, worst.step, if_zero(check, expected));
  }
  if (check.waived == count) {
    return what + ": is unresolved everywhere, which no waiver covers" + if_zero(check, expected);
  }
  if (check.all_zero && !expected.zero) {
    return what + ": is zero everywhere, which was not declared";
  }
  return {};
}

std::string failure_of(const ValueCheck& check, const ForwardCheck& forward) {
  const ForwardProduct& worst = forward.worst;
  const std::string place = worst.row < 0 ? "with random u and v"
                                          : fmt::format("of output {} at ({}, {})", worst.output,
                                                        worst.row, worst.column);
  const bool innocent = check.verdict <= Verdict::kKink;
  return fmt::format(
      "forward mode of {} {}: {} of {} disagree; worst {}: jvp gives {:.12g}, backward {:.12g}, "
      "error {:.3g}, tolerance {:.3g}{}",
      check.name, to_string(check.shape), forward.disagree, forward.comparisons(), place,
      worst.forward, worst.backward, worst.error, worst.tolerance,
      innocent ? "; differences agree with backward" : "");
}

void compare_forward_mode(Subject& subject, const CompareSettings& settings,
                          const std::vector<Gradients>& gradients, GradientReport& report) {
  ForwardComparer comparer(subject, gradients, settings);
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    ValueCheck& check = report.values[k];
    if (check.comparisons() == 0) continue;  // which is a failure
    check.forward_mode = comparer.run(k, check.unresolved > 0);
    // A gradient that differences call wrong need not be called wrong twice.
    if (check.forward_mode.disagree == 0 || check.verdict == Verdict::kDisagree) continue;
    report.failures.push_back(failure_of(check, check.forward_mode));
  }
}

}  // namespace

double random_signed(RandomKey key, Index index) {
  const double u = random_uniform(key, static_cast<std::uint64_t>(index));
  return u < 0.5 ? u - 1 : u;  // [-1, -1/2) or [1/2, 1)
}

std::vector<double> random_signs(RandomKey key, std::size_t count) {
  std::vector<double> result(count);
  for (std::size_t k = 0; k < count; ++k) result[k] = random_signed(key, static_cast<Index>(k));
  return result;
}

std::vector<double> output_weights(std::size_t count, DType dtype, std::uint64_t seed) {
  if (count == 1) return {1};
  std::vector<double> weights = random_signs({.seed = seed, .stream = kWeightStream}, count);
  if (dtype == DType::kFloat64) return weights;
  for (double& weight : weights) weight = static_cast<double>(static_cast<float>(weight));
  return weights;
}

void require_valid(const CompareSettings& settings, std::string_view who) {
  const Tolerances& tolerances = settings.tolerances;
  if (!(settings.first_step > 0) || !std::isfinite(settings.first_step)) {
    throw ArgumentError(fmt::format("{}: first_step is {}, expected a positive, finite number", who,
                                    settings.first_step));
  }
  for (const auto& [name, value] : {std::pair("relative_tolerance", tolerances.relative_tolerance),
                                    {"error_bars", tolerances.error_bars},
                                    {"roundings", tolerances.roundings},
                                    {"float32_factor", tolerances.float32.factor},
                                    {"float32_terms", tolerances.float32.terms},
                                    {"resolution", tolerances.resolution}}) {
    if (value >= 0 && std::isfinite(value)) continue;
    throw ArgumentError(
        fmt::format("{}: {} is {}, expected 0 or more, and finite", who, name, value));
  }
  for (const auto& [name, value] : {std::pair("max_jacobian", settings.max_jacobian),
                                    {"max_elements", settings.max_elements},
                                    {"samples", settings.samples},
                                    {"directions", settings.directions},
                                    {"max_failures", settings.max_failures}}) {
    if (value >= 0) continue;
    throw ArgumentError(fmt::format("{}: {} is {}, expected 0 or more", who, name, value));
  }
}

void compare_gradients(Subject& subject, const CompareSettings& settings, GradientReport& report) {
  const std::vector<double> weights =
      output_weights(subject.outputs().size(), settings.dtype, settings.seed);
  const std::vector<Gradients> gradients = compute_gradients(subject, weights, settings);
  for (std::size_t k = 0; k < gradients.size(); ++k) {
    report.values.push_back(VariableCheck(subject, k, weights, settings).run(gradients[k]));
    std::string failure = failure_of(report.values.back(), settings.expected[k], settings);
    if (!failure.empty()) report.failures.push_back(std::move(failure));
  }
  if (settings.forward_mode) compare_forward_mode(subject, settings, gradients, report);
}

}  // namespace chainrule::internal
