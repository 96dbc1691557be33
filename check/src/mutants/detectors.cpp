// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "specimen.hpp"

namespace chainrule::internal {
namespace {

// At a kink f' is exact; what multiplies it is rounded a few times.
constexpr double kKinkTolerance = 1e-14;

std::string by_differences(Specimen&, const CaseReport& report) {
  for (const ValueCheck& check : report.gradients.values) {
    if (check.disagree == 0) continue;
    return fmt::format("gradient of {}: {} of {} disagree, by {:.2g} of {:.2g}{}{}", check.name,
                       check.disagree, check.comparisons(), check.worst.error,
                       std::abs(check.worst.numeric), check.hint.empty() ? "" : ": ", check.hint);
  }
  return {};
}

// Differences that can say nothing catch nothing: there is a line for each value that they or
// forward mode are about.
std::string by_properties(Specimen&, const CaseReport& report) {
  std::ptrdiff_t about_gradients = 0;
  for (const ValueCheck& check : report.gradients.values) {
    about_gradients += check.verdict >= Verdict::kUnresolved ? 1 : 0;
    const bool forward = check.forward_mode.disagree > 0;
    about_gradients += forward && check.verdict != Verdict::kDisagree ? 1 : 0;
  }
  const std::vector<std::string>& failures = report.gradients.failures;
  if (std::ssize(failures) == about_gradients) return {};
  return failures.empty() ? "nothing was checked" : failures.back();
}

std::string by_forward_mode(Specimen&, const CaseReport& report) {
  for (const ValueCheck& check : report.gradients.values) {
    const ForwardCheck& forward = check.forward_mode;
    if (forward.disagree == 0) continue;
    return fmt::format(
        "gradient of {}: {} of {} products disagree; backward gives {:.12g}, jvp {:.12g}",
        check.name, forward.disagree, forward.comparisons(), forward.worst.backward,
        forward.worst.forward);
  }
  return {};
}

std::string by_contract(Specimen& specimen, const CaseReport&) {
  if (specimen.kinks().empty()) return {};
  const std::vector<Value>& leaves = specimen.leaves();
  const auto at = std::find(leaves.begin(), leaves.end(), specimen.input(0));
  const std::vector<Tensor> gradients = specimen.gradients();
  const Tensor& gradient = gradients[static_cast<std::size_t>(at - leaves.begin())];
  const ConstTensorView v = specimen.cotangent().view();
  for (const KinkElement& kink : specimen.kinks()) {
    const double cotangent = element(v, kink.row, std::min(kink.column, v.columns - 1));
    const double expected = cotangent * kink.derivative;
    const double got = element(gradient.view(), kink.row, kink.column);
    if (std::abs(got - expected) <= kKinkTolerance * std::abs(expected)) continue;
    return fmt::format("at ({}, {}), a kink: backward gives {:.12g}, the contract {:.12g}",
                       kink.row, kink.column, got, expected);
  }
  return {};
}

constexpr std::array<Detector, kMutantDetectors> kDetectors = {{
    {MutantDetector::kDifferences, &by_differences},
    {MutantDetector::kProperties, &by_properties},
    {MutantDetector::kForwardMode, &by_forward_mode},
    {MutantDetector::kContract, &by_contract},
}};

}  // namespace

std::span<const Detector> detectors() noexcept { return kDetectors; }

}  // namespace chainrule::internal
