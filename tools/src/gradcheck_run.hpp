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

/// The worst comparison: by verdict, then by error / tolerance. An accepted kink, where the error
/// says little, counts only when there is nothing else.
WorstElement worst_of(GradcheckGroup group);
/// |analytic - numeric|; of a kink, how far the gradient is outside the one-sided slopes.
double shown_error(const ElementCheck& element);
/// How much was compared, and what came of it.
struct Compared {
  Index elements = 0;  ///< those of float32 included that only float64 was compared with
  Index directions = 0;
  Index jacobian = 0;  ///< entries of whole Jacobians
  Index kinks = 0;
  Index waived = 0;                    ///< unresolved, but waived ...
  std::vector<std::string> waivers{};  ///< ... by these names
};
Compared compared(GradcheckGroup group);
Compared compared(const ValueCheck& value);
/// Elements, and directions behind a plus: "48+6".
std::string elements_text(const Compared& compared);
/// The further properties that any of these checks looked at.
std::vector<std::string> properties_of(GradcheckGroup group);
/// "agree", "agree, 3 kinks", "agree, 2 waived by x", "2 of 7 disagree", "1 of 7 failed", "4 of 7
/// unresolved (saturated: no step moves the outputs)".
std::string verdict_text(GradcheckGroup group);
std::string verdict_text(const ValueCheck& value);

}  // namespace chainrule::tools
