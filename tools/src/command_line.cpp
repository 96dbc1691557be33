// SPDX-License-Identifier: Apache-2.0
#include "command_line.hpp"

#include <fmt/format.h>

#include <exception>
#include <iostream>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/core/version.hpp"
#include "chainrule/runtime/machine.hpp"
#include "commands.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kExamples = R"help(Examples:
  chainrule info
  chainrule gradcheck
  chainrule train --data digits --model 64-64-10 --epochs 30 --out digits.safetensors
  chainrule evaluate --model digits.safetensors --data digits
  chainrule train --data flowers.csv --target species --model 4-16-3 --standardize \
    --out flowers.safetensors
  chainrule predict --model flowers.safetensors --data new.csv --out predictions.csv
  chainrule approximate --function "sin(2*pi*x)" --domain "-1:1" --plot sine.html
  chainrule kernel nngp --data x.csv --depth 3 --activation relu --out k.csv
  chainrule gp fit --data table.csv --optimize --out gp.safetensors
  chainrule glm fit --data claims.csv --target count --family poisson

`chainrule COMMAND --help` explains a command.
Exit codes: 0 success, 1 an error, 2 misuse of the command line, 130 interrupted.)help";

int fail(const std::string& message, int code) {
  std::cout.flush();
  std::cerr << "chainrule: error: " << message << '\n';
  return code;
}

// The subcommands that were found, from the outside in.
std::vector<const CLI::App*> parsed(const CLI::App& app) {
  std::vector<const CLI::App*> found;
  for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
    at = at->get_subcommands().front();
    found.push_back(at);
  }
  return found;
}

int misuse(const CLI::App& app, const std::string& message) {
  std::string help = "chainrule";
  for (const CLI::App* sub : parsed(app)) help += " " + sub->get_name();
  return fail(fmt::format("{} (see {} --help)", message, help), kExitMisuse);
}

// Exceptions of a command, as messages and exit codes.
int run(const CLI::App& app, const Command& command) {
  try {
    const int code = command();
    if (!std::cout.flush()) return fail("cannot write to standard output", kExitError);
    return code;
  } catch (const UsageError& error) {
    return misuse(app, error.what());
  } catch (const std::bad_alloc&) {
    return fail("out of memory", kExitError);
  } catch (const std::exception& error) {
    return fail(error.what(), kExitError);
  }
}

}  // namespace

int command_line(int argc, char** argv, std::span<const OpCase> cases,
                 std::span<const OpDef* const> ops) {
  set_warning_handler(
      [](const std::string& message) { std::cerr << "chainrule: warning: " << message << '\n'; });

  CLI::App app("Trains and runs dense neural networks whose gradients are proven.", "chainrule");
  app.set_version_flag("--version", "chainrule " CHAINRULE_VERSION_STRING);
  app.require_subcommand(1);
  app.footer(kExamples);
  const std::vector<Command> commands{add_info(app),       add_gradcheck(app, cases, ops),
                                      add_train(app),      add_evaluate(app),
                                      add_predict(app),    add_kernel(app),
                                      add_gp(app),         add_glm(app),
                                      add_approximate(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {  // --help and --version
    return app.exit(help);
  } catch (const CLI::RequiredError& error) {
    const std::vector<std::string> rest = app.remaining(true);
    const auto found = parsed(app);
    const CLI::App& last = found.empty() ? app : *found.back();
    const bool has_commands = !last.get_subcommands([](const CLI::App*) { return true; }).empty();
    return misuse(app, has_commands && !rest.empty()
                           ? fmt::format("unknown command '{}'", rest.front())
                           : error.what());
  } catch (const CLI::ParseError& error) {
    return misuse(app, error.what());
  }
  const auto known = app.get_subcommands([](const CLI::App*) { return true; });
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (known[i]->parsed()) return run(app, commands[i]);
  }
  return misuse(app, "no command");
}

}  // namespace chainrule::tools
