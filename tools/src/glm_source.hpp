// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include "chainrule/learn/model.hpp"
#include "data.hpp"

namespace chainrule::tools {

/// The options that say what `glm` commands fit to what.
class GlmSource {
 public:
  void add_to(CLI::App& app);
  /// UsageError for options that contradict each other, before any work.
  void check() const;

  std::string data;
  DataColumns columns;
  HeaderOption header;
  std::string family = "auto";
  std::string model;
  std::optional<std::size_t> layer;
  bool no_intercept = false;
  bool standardize = false;
};

/// What these options come to.
struct GlmInput {
  Rows rows;
  Likelihood likelihood;
  std::optional<Model> network{};  ///< whose features are taken
};

GlmInput load_input(const GlmSource& source);
/// A float64 model for it with a last layer to be fitted, and the schema of the data.
Model make_model(const GlmSource& source, const GlmInput& input, const Likelihood& likelihood);
/// "data NAME: 10 rows, 3 features, target 'y'" or "... 3 classes", with a line break.
std::string describe(const GlmInput& input, const Model& model);
/// What --family calls it.
std::string_view family_name(const Likelihood& likelihood);

}  // namespace chainrule::tools
