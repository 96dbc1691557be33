// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/error.hpp"

namespace CLI {
class App;
}

namespace chainrule::bench {

// What the programs exit with: something is wrong (a result, a file), or they were called wrongly.
inline constexpr int kExitError = 1;
inline constexpr int kExitMisuse = 2;

class Misuse : public Error {
 public:
  using Error::Error;
};

/// What a main() returns whose work is `body`. Exceptions become a line "NAME: error: ..." on
/// standard error and an exit code.
int run_main(std::string_view name, const std::function<int()>& body);

/// False when help was asked for, which is printed; throws Misuse for what `app` does not
/// understand.
bool parse(CLI::App& app, int argc, char** argv);

/// A file that was asked for; none when its path is empty.
struct Output {
  std::string path;
  std::function<std::string()> contents;
};
/// Writes all that can be written; then throws an Error that says what could not.
void write_outputs(const std::vector<Output>& outputs);

}  // namespace chainrule::bench
