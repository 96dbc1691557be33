// SPDX-License-Identifier: Apache-2.0
#include "glm.hpp"

#include "commands.hpp"

namespace chainrule::tools {

Command add_glm(CLI::App& app) {
  CLI::App* const sub =
      app.add_subcommand("glm", "Generalized linear models, also on learned features: fit, bayes");
  sub->require_subcommand(1);
  const Command fit = add_glm_fit(*sub), bayes = add_glm_bayes(*sub);
  const CLI::App* const fit_app = sub->get_subcommand("fit");
  return [=] { return fit_app->parsed() ? fit() : bayes(); };
}

}  // namespace chainrule::tools
