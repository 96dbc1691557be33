// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "chainrule/learn/glm.hpp"

namespace chainrule::tools {

/// A coefficient as statisticians print it.
struct CoefficientRow {
  std::string group;  ///< the class or output that it belongs to; "" where there is one
  std::string name;
  double value = 0;
  double error = 0;      ///< standard error
  double statistic = 0;  ///< value / error
  double p_value = 0;
};

/// What `glm fit` found, beside names for it.
struct GlmReport {
  const GlmFit& fit;
  Likelihood likelihood;
  std::vector<std::string> coefficient_names{};  ///< rows of fit.coefficients, "" the bias
  std::vector<std::string> output_names{};
  double total_weight = 0;
  bool estimated_dispersion = false;  ///< of NegativeBinomial
};

/// The bias first. Of Categorical, each class against the first one.
std::vector<CoefficientRow> coefficient_rows(const GlmReport& report);
std::string to_text(const GlmReport& report);
nlohmann::ordered_json to_json(const GlmReport& report);

}  // namespace chainrule::tools
