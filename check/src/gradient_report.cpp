// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "chainrule/check/check_gradients.hpp"

namespace chainrule {

std::string_view to_string(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::kAgree:
      return "agree";
    case Verdict::kKink:
      return "kink";
    case Verdict::kUnresolved:
      return "unresolved";
    case Verdict::kDisagree:
      return "disagree";
  }
  return "unknown";
}

std::string_view to_string(Reason reason) noexcept {
  switch (reason) {
    case Reason::kNone:
      return "";
    case Reason::kDomain:
      return "every step leaves the domain";
    case Reason::kDiverges:
      return "different steps give different derivatives";
    case Reason::kSaturated:
      return "saturated: no step moves the outputs";
    case Reason::kRounding:
      return "hidden by the rounding of the outputs";
    case Reason::kKink:
      return "a kink that was not declared";
    case Reason::kScales:
      return "large and small steps give different derivatives";
    case Reason::kNotZero:
      return "declared to be zero, and is not";
  }
  return "unknown";
}

Index GradientReport::comparisons() const noexcept {
  Index count = 0;
  for (const ValueCheck& check : values) count += check.comparisons();
  return count;
}

Verdict ValueCheck::overall_verdict() const noexcept {
  if (forward_mode.disagree > 0) return Verdict::kDisagree;
  return comparisons() == 0 ? Verdict::kUnresolved : verdict;
}

Verdict GradientReport::verdict() const noexcept {
  if (values.empty()) return Verdict::kUnresolved;
  Verdict verdict = Verdict::kAgree;
  for (const ValueCheck& check : values) verdict = std::max(verdict, check.overall_verdict());
  return verdict;
}

const ElementCheck* GradientReport::worst() const noexcept {
  const ElementCheck* worst = nullptr;
  for (const ValueCheck& check : values) {
    if (check.comparisons() == 0) continue;
    const ElementCheck& candidate = check.worst;
    if (worst == nullptr || candidate.verdict > worst->verdict ||
        (candidate.verdict == worst->verdict &&
         candidate.error * worst->tolerance > worst->error * candidate.tolerance)) {
      worst = &candidate;
    }
  }
  return worst;
}

std::string GradientReport::to_text() const {
  std::string text;
  for (const ValueCheck& check : values) {
    text += fmt::format("{} {} {}: {} elements, {} directions, ", check.name,
                        to_string(check.shape), to_string(dtype), check.elements, check.directions);
    if (check.jacobian > 0) text += fmt::format("{} Jacobian entries, ", check.jacobian);
    if (check.waived > 0) text += fmt::format("{} unresolved waived, ", check.waived);
    if (check.unseen > 0) text += fmt::format("{} smaller than the tolerance, ", check.unseen);
    text += fmt::format("worst error {:.3g} of {:.3g}: {}", check.worst.error,
                        check.worst.tolerance, to_string(check.overall_verdict()));
    const ForwardCheck& forward = check.forward_mode;
    if (forward.comparisons() > 0) {
      text += fmt::format("; forward mode: {} products, ", forward.comparisons());
      if (forward.disagree > 0) text += fmt::format("{} disagree, ", forward.disagree);
      if (forward.unresolved > 0) text += fmt::format("{} unresolved, ", forward.unresolved);
      text +=
          fmt::format("worst error {:.3g} of {:.3g}", forward.worst.error, forward.worst.tolerance);
    }
    text += "\n";
  }
  if (!without_forward_mode.empty()) {
    text += fmt::format("without forward mode: {}\n", without_forward_mode);
  }
  for (const std::string& failure : failures) text += failure + "\n";
  return text;
}

}  // namespace chainrule
