// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "specimen.hpp"

namespace chainrule::internal {
namespace {

// jvp and backward multiply and add the same numbers in another order, and so differ by a few
// roundings of the largest number among them.
constexpr double kRelativeForward = 1e-12;
constexpr double kForwardRoundings = 64;
constexpr double kRounding = std::numeric_limits<double>::epsilon();
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

// Differences that can say nothing catch nothing: there is a line for each value they are about.
std::string by_properties(Specimen&, const CaseReport& report) {
  std::ptrdiff_t about_differences = 0;
  for (const ValueCheck& check : report.gradients.values) {
    about_differences += check.verdict >= Verdict::kUnresolved ? 1 : 0;
  }
  const std::vector<std::string>& failures = report.gradients.failures;
  if (std::ssize(failures) == about_differences) return {};
  return failures.empty() ? "nothing was checked" : failures.back();
}

// For each column of a Jacobian the largest entry of the rows that it is part of: what backward
// adds up may be so large, however small the sum is.
std::vector<double> magnitudes(MatrixView<const double> jacobian) {
  std::vector<double> result(static_cast<std::size_t>(jacobian.columns));
  for (Index i = 0; i < jacobian.rows; ++i) {
    double largest = 0;
    for (Index j = 0; j < jacobian.columns; ++j) {
      largest = std::max(largest, std::abs(jacobian(i, j)));
    }
    for (Index j = 0; j < jacobian.columns; ++j) {
      double& magnitude = result[static_cast<std::size_t>(j)];
      if (jacobian(i, j) != 0) magnitude = std::max(magnitude, largest);
    }
  }
  return result;
}

// For each element of a leaf how far jvp and backward may be apart.
std::vector<double> forward_tolerances(const Specimen& specimen, std::size_t leaf,
                                       MatrixView<const double> jacobian) {
  const Index columns = specimen.data(specimen.leaves()[leaf]).columns;
  std::vector<double> result = magnitudes(jacobian);
  for (std::size_t j = 0; j < result.size(); ++j) {
    const auto k = static_cast<Index>(j);
    result[j] = kRelativeForward * result[j] +
                kForwardRoundings * kRounding * specimen.terms(leaf, k / columns, k % columns);
  }
  return result;
}

std::string by_forward_mode(Specimen& specimen, const CaseReport&) {
  const std::vector<Tensor>& forward = specimen.forward_jacobians();
  const std::vector<Tensor> reverse = specimen.reverse_jacobians();
  for (std::size_t k = 0; k < forward.size(); ++k) {
    const MatrixView<const double> expected = forward[k].as<double>();
    const MatrixView<const double> got = reverse[k].as<double>();
    const std::vector<double> tolerances = forward_tolerances(specimen, k, expected);
    for (Index i = 0; i < expected.rows; ++i) {
      for (Index j = 0; j < expected.columns; ++j) {
        const double error = std::abs(got(i, j) - expected(i, j));
        if (error <= tolerances[static_cast<std::size_t>(j)]) continue;
        return fmt::format("d output {} / d element {} of {}: backward gives {:.12g}, jvp {:.12g}",
                           i, j, specimen.leaves()[k].node().name, got(i, j), expected(i, j));
      }
    }
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
