// SPDX-License-Identifier: Apache-2.0
#include "gp.hpp"

#include "commands.hpp"

namespace chainrule::tools {

Command add_gp(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("gp", "Gaussian processes: fit, predict, evaluate");
  sub->require_subcommand(1);
  const Command fit = add_gp_fit(*sub), predict = add_gp_predict(*sub),
                evaluate = add_gp_evaluate(*sub);
  return [=] {
    if (sub->got_subcommand("fit")) return fit();
    return sub->got_subcommand("predict") ? predict() : evaluate();
  };
}

}  // namespace chainrule::tools
