// SPDX-License-Identifier: Apache-2.0
#include "judge.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace chainrule::internal {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kFloatUnit = std::numeric_limits<float>::epsilon() / 2;
constexpr double kDoubleUnit = std::numeric_limits<double>::epsilon() / 2;

// What is beyond the range of float32 is infinite there.
double in_range_of_float32(double x) {
  return std::abs(x) > std::numeric_limits<float>::max() ? std::copysign(kInfinity, x) : x;
}

double distance(double a, double b) {
  if (a == b) return 0;
  const double error = std::abs(a - b);
  return error < kInfinity ? error : kInfinity;
}

double error_of(const ElementCheck& check) {
  const double error = distance(check.analytic, check.numeric);
  if (check.reason != Reason::kNotZero) return error;
  return std::max({error, std::abs(check.analytic), std::abs(check.numeric)});
}

void unresolve(ElementCheck& check, Reason reason) {
  check.verdict = Verdict::kUnresolved;
  check.reason = reason;
}

Reason reason_of(Doubt doubt) {
  switch (doubt) {
    case Doubt::kDomain:
      return Reason::kDomain;
    case Doubt::kScales:
      return Reason::kScales;
    default:
      return Reason::kDiverges;
  }
}

void judge_kink(ElementCheck& check, const NumericDerivative& numeric, const Scale& scale,
                const Tolerances& tolerances) {
  const auto [low, high] = std::minmax(numeric.left_slope, numeric.right_slope);
  const double margin = tolerances.error_bars * numeric.slope_error +
                        tolerances.roundings * numeric.rounding +
                        tolerances.relative_tolerance * std::max(std::abs(low), std::abs(high));
  check.tolerance = margin + (high - low) / 2;
  if (!(check.analytic >= low - margin && check.analytic <= high + margin)) {
    check.verdict = Verdict::kDisagree;
  } else if (scale.kinks) {
    check.verdict = Verdict::kKink;
  } else {
    unresolve(check, Reason::kKink);
  }
}

// What stays still says that the gradient is within the rounding of the outputs; more only where
// that is next to nothing, or where stillness is not rounding's work. Beyond that a gradient that
// rounding may hide has nothing that speaks for it, however small it is.
void judge_still(ElementCheck& check, const NumericDerivative& numeric, const Scale& scale,
                 const Tolerances& tolerances) {
  const double negligible = tolerances.resolution * scale.gradient;
  const double saturation = tolerances.roundings * numeric.saturation;
  check.tolerance = std::max(check.tolerance, kDoubleUnit * scale.gradient);
  const bool hidden = check.error > check.tolerance;
  const bool zero = check.analytic == 0;
  if (hidden || (zero && numeric.by_rounding)) {
    check.tolerance = std::max(check.tolerance, saturation);
  }
  if (check.error > check.tolerance) {
    check.verdict = Verdict::kDisagree;
  } else if (hidden || (check.tolerance > negligible && (!zero || numeric.by_rounding))) {
    unresolve(check, Reason::kSaturated);
  }
}

void judge_float64(ElementCheck& check, const Comparison& comparison, const Scale& scale,
                   const Tolerances& tolerances) {
  const NumericDerivative& numeric = comparison.numeric;
  if (!std::isfinite(check.analytic)) {
    check.verdict = Verdict::kDisagree;
    return;
  }
  if (numeric.kink) return judge_kink(check, numeric, scale, tolerances);
  const double magnitude = std::max(std::abs(check.analytic), std::abs(check.numeric));
  const double rounding = tolerances.roundings * (numeric.rounding + numeric.hidden);
  check.tolerance = tolerances.error_bars * numeric.error_bar + rounding +
                    tolerances.relative_tolerance * (numeric.moved ? magnitude : 0);
  if (!numeric.resolved || !std::isfinite(check.numeric)) {
    return unresolve(check, reason_of(numeric.doubt));
  }
  if (scale.zero) {
    check.tolerance +=
        tolerances.float32.factor * static_cast<double>(tolerances.longest_sum) * kDoubleUnit;
    // A non-zero gradient that is declared to be none is wrong, even if differences agree.
    if (std::abs(numeric.value) > check.tolerance) check.reason = Reason::kNotZero;
    const bool zero = check.error <= check.tolerance && check.reason == Reason::kNone;
    check.verdict = zero ? Verdict::kAgree : Verdict::kDisagree;
    check.error = error_of(check);
    return;
  }
  if (!numeric.moved) {
    return judge_still(check, numeric, scale, tolerances);
  }
  if (!(check.error <= check.tolerance)) {
    check.verdict = Verdict::kDisagree;
  } else if (check.tolerance > tolerances.resolution * std::max(scale.gradient, magnitude)) {
    unresolve(check, Reason::kRounding);
  }
}

double float32_tolerance(const Comparison& comparison, const Scale& scale,
                         const Tolerances& tolerances) {
  const Float32Rule& rule = tolerances.float32;
  const NumericDerivative& numeric = comparison.numeric;
  Index sum = rule.sum;
  double terms = std::max({rule.terms, std::abs(comparison.analytic), scale.zero ? 1.0 : 0.0});
  if (rule.contract) {
    sum = std::max(sum, numeric.reached);
    terms = std::max(
        {terms, numeric.terms, rule.contract(scale.value, comparison.row, comparison.column)});
  } else {
    terms = std::max(terms, scale.terms);
  }
  const double underflow = std::numeric_limits<float>::min();
  return rule.factor * static_cast<double>(sum) * (kFloatUnit * terms + underflow) +
         comparison.float32_spread;
}

ElementCheck start(const Comparison& comparison) {
  return {.row = comparison.row,
          .column = comparison.column,
          .output = comparison.output,
          .analytic = comparison.analytic,
          .numeric = comparison.numeric.value,
          .error = distance(comparison.analytic, comparison.numeric.value),
          .error_bar = comparison.numeric.error_bar,
          .step = comparison.numeric.step,
          .left_slope = comparison.numeric.left_slope,
          .right_slope = comparison.numeric.right_slope};
}

void add_float32(ElementCheck& check, const Comparison& comparison, double tolerance) {
  const bool settled = check.verdict < Verdict::kUnresolved;
  check.analytic = comparison.float32;
  if (settled) check.numeric = in_range_of_float32(comparison.analytic);
  check.tolerance = settled ? tolerance : check.tolerance + tolerance;
  check.error = error_of(check);
  if (settled && !(check.error <= tolerance)) check.verdict = Verdict::kDisagree;
}

// Anything of its size would agree.
bool is_unseen(const ElementCheck& check) {
  return check.analytic != 0 &&
         std::max(std::abs(check.analytic), std::abs(check.numeric)) <= check.tolerance;
}

bool worse(const ElementCheck& a, const ElementCheck& b) {
  if (a.verdict != b.verdict) return a.verdict > b.verdict;
  // Not error / tolerance, which is 0 / 0 where both are exact.
  return a.error * b.tolerance > b.error * a.tolerance ||
         (b.error == 0 && b.tolerance == 0 && a.error > 0);
}

}  // namespace

ElementCheck judge(const Comparison& comparison, const Scale& scale, const Tolerances& tolerances) {
  ElementCheck check = start(comparison);
  judge_float64(check, comparison, scale, tolerances);
  if (comparison.has_float32) {
    add_float32(check, comparison, float32_tolerance(comparison, scale, tolerances));
  }
  return check;
}

ElementCheck judge_float32(const Comparison& comparison, const Scale& scale,
                           const Tolerances& tolerances) {
  ElementCheck check = start(comparison);
  add_float32(check, comparison, float32_tolerance(comparison, scale, tolerances));
  return check;
}

void tally(ValueCheck& result, const ElementCheck& check, bool waived, Index max_failures) {
  switch (check.verdict) {
    case Verdict::kAgree:
      ++result.agree;
      result.unseen += is_unseen(check) ? 1 : 0;
      break;
    case Verdict::kKink:
      ++result.kinks;
      break;
    case Verdict::kUnresolved:
      ++result.unresolved;
      if (!waived) break;
      ++result.waived;
      return;
    case Verdict::kDisagree:
      ++result.disagree;
      break;
  }
  const bool first =
      result.agree + result.kinks + result.unresolved + result.disagree == result.waived + 1;
  if (first || worse(check, result.worst)) result.worst = check;
  result.verdict = std::max(result.verdict, check.verdict);
  if (check.verdict < Verdict::kUnresolved || max_failures <= 0) return;
  result.failures.insert(
      std::upper_bound(result.failures.begin(), result.failures.end(), check, worse), check);
  if (static_cast<Index>(result.failures.size()) > max_failures) result.failures.pop_back();
}

}  // namespace chainrule::internal
