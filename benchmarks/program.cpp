// SPDX-License-Identifier: Apache-2.0
#include "program.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "chainrule/learn/output.hpp"

namespace chainrule::bench {
namespace {

// Whether write_file() can write there: 0, or errno.
int write_error(const Destination& destination) {
  if (destination.descriptor >= 0) {
    const int flags = ::fcntl(destination.descriptor, F_GETFL);
    if (flags < 0) return errno;
    return (flags & O_ACCMODE) == O_RDONLY ? EBADF : 0;
  }
  if (std::filesystem::is_directory(destination.path)) return EISDIR;
  if (destination.direct) return ::access(destination.path.c_str(), W_OK) == 0 ? 0 : errno;
  // Files appear by renaming one beside them: can that one be made?
  std::string beside = destination.path.string() + ".XXXXXX";
  const int descriptor = ::mkstemp(beside.data());
  if (descriptor < 0) return errno;
  ::close(descriptor);
  ::unlink(beside.c_str());
  return 0;
}

}  // namespace

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

void expect_writable(const std::string& path) {
  const int error = write_error(destination_of(path));
  if (error == 0) return;
  throw FormatError(
      fmt::format("cannot write '{}': {}", path, std::generic_category().message(error)));
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
