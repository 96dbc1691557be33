// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace chainrule::testing {

/// A directory that lives as long as the test.
class Directory {
 public:
  Directory();
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  std::string operator/(std::string_view name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::string& path);
/// Writes and returns the path.
std::string write_text(const std::string& path, std::string_view text);
std::vector<std::string> lines_of(std::string_view text);

struct Outcome {
  int code = -1;  ///< exit code; -signal when one ended it
  std::string out;
  std::string err;
};

/// The chainrule command (or another program) with arguments, running.
class Process {
 public:
  /// `environment` entries, "NAME=value", are added to this process's.
  explicit Process(const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment = {},
                   const std::string& program = CHAINRULE_COMMAND,
                   const std::string& working_directory = ".");

  std::string output_so_far() const { return read_text(directory_ / "out"); }
  void send(int signal) const;
  Outcome wait();

 private:
  Directory directory_;
  pid_t id_ = -1;
};

Outcome run(const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment = {});
/// False where the system gives no pseudo-terminals, as in a chroot without /dev/pts.
bool can_open_terminals();
/// With a terminal of that width in place of standard input, output and error; `out` is what
/// appears on it.
Outcome run_in_terminal(const std::vector<std::string>& arguments, int columns);
/// The same as run(), expected to succeed; returns its standard output.
std::string run_ok(const std::vector<std::string>& arguments);

}  // namespace chainrule::testing
