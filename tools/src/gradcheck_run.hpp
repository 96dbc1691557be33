// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/check/check_gradients.hpp"

namespace chainrule::tools {

/// One check in one dtype: a case of an op at one size, or a tensor of a model.
struct GradcheckRecord {
  std::string subject;  ///< the op's name, or the tensor's
  std::string name;     ///< "matmul (no batch), wide"; of a tensor, its name again
  std::string variant;  ///< "matmul (no batch)"
  std::string size;     ///< "wide"; of a tensor empty
  std::string shape;    ///< of the op's output, or of the tensor
  double seconds = 0;
  std::vector<std::string> properties{};  ///< CaseReport::properties
  GradientReport report;
  /// CaseReport::second_order; of a tensor without values.
  GradientReport second_order{};
  std::string advice{};  ///< what to do where it failed; may be empty

  /// The worse verdict of the gradients and, where it was compared, second order.
  Verdict verdict() const;
};

/// A comparison with the gradient it belongs to; null when there was none.
struct WorstElement {
  const ValueCheck* value = nullptr;
  const ElementCheck* element = nullptr;
};

/// All that one run of the command found.
struct GradcheckRun {
  bool of_model = false;
  std::string architecture;
  std::uint64_t seed = 1;
  /// What was checked, as pairs of a name and a text.
  std::vector<std::pair<std::string, std::string>> facts;
  std::vector<GradcheckRecord> records;
  double seconds = 0;

  const char* subject_kind() const { return of_model ? "tensor" : "op"; }
  std::size_t failed() const;
};

/// The records of one subject in one dtype, which follow each other.
using GradcheckGroup = std::span<const GradcheckRecord>;
std::vector<GradcheckGroup> groups_of(const GradcheckRun& run);

/// What was compared of each gradient of a group, or of each second derivative.
using ValueChecks = std::vector<const ValueCheck*>;
ValueChecks gradients_of(GradcheckGroup group);
ValueChecks second_order_of(GradcheckGroup group);

/// The worst comparison: by verdict, then by error / tolerance. An accepted kink, where the error
/// says little, counts only when there is nothing else.
WorstElement worst_of(const ValueChecks& values);
/// |analytic - numeric|; of a kink, how far the gradient is outside the one-sided slopes.
double shown_error(const ElementCheck& element);
/// How much was compared, and what came of it.
struct Compared {
  Index elements = 0;  ///< those of float32 included that only float64 was compared with
  Index directions = 0;
  Index jacobian = 0;  ///< entries of whole Jacobians
  Index unseen = 0;    ///< smaller than the tolerance
  Index kinks = 0;
  Index waived = 0;                    ///< unresolved, but waived ...
  std::vector<std::string> waivers{};  ///< ... by these names
};
Compared compared(const ValueChecks& values);
/// Elements, and directions behind a plus: "48+6".
std::string elements_text(const Compared& compared);
/// Part of the tolerated error.
double share_of(double error, double tolerance);

/// All comparisons with forward mode; `worst` is that of the largest share of the tolerated.
struct ForwardSum {
  Index products = 0;
  Index jacobian = 0;
  Index disagree = 0;
  Index unresolved = 0;
  const ValueCheck* worst = nullptr;

  Index comparisons() const { return products + jacobian; }
};
ForwardSum forward_mode_of(const ValueChecks& values);

/// "904 products, 31 disagree, worst error 0.5 of 7.6e-13; 1 check without: ...".
std::string forward_mode_text(GradcheckGroup group);
/// "164 comparisons, worst error 2.2e-14 of 1.6e-12"; empty when there were none.
std::string second_order_text(GradcheckGroup group);

/// The further properties that any of these checks looked at.
std::vector<std::string> properties_of(GradcheckGroup group);
/// "agree", "agree, 3 kinks", "agree, 2 unseen", "agree, 2 waived by x", "2 of 7 disagree", "1 of 7
/// failed", "4 of 7 unresolved (saturated: no step moves the outputs)", "forward mode: 31 of 904
/// disagree".
std::string verdict_text(GradcheckGroup group);
std::string verdict_text(const ValueCheck& value);

}  // namespace chainrule::tools
