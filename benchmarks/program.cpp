// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

#include "chainrule/learn/output.hpp"

namespace chainrule::bench {

int run_main(std::string_view name, const std::function<int()>& body) {
  const auto fail = [&](const std::string& message, int code) {
    std::cerr << fmt::format("{}: error: {}\n", name, message);
    return code;
  };
  try {
    const int code = body();
    if (!std::cout.flush()) return fail("cannot write to standard output", kExitError);
    return code;
  } catch (const Misuse& error) {
    return fail(fmt::format("{} (see {} --help)", error.what(), name), kExitMisuse);
  } catch (const std::exception& error) {
    return fail(error.what(), kExitError);
  }
}

bool parse(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(argc, argv);
    return true;
  } catch (const CLI::Success& help) {
    app.exit(help);
    return false;
  } catch (const CLI::ParseError& error) {
    throw Misuse(error.what());
  }
}

void write_outputs(const std::vector<Output>& outputs) {
  std::string failures;
  for (const Output& output : outputs) {
    if (output.path.empty()) continue;
    try {
      write_file(output.contents(), output.path);
    } catch (const Error& error) {
      failures += fmt::format("{}{}", failures.empty() ? "" : "; ", error.what());
    }
  }
  if (!failures.empty()) throw Error(failures);
}

}  // namespace chainrule::bench
