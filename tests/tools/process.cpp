// SPDX-License-Identifier: Apache-2.0
#include "process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace chainrule::testing {
namespace {

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

Directory::Directory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "chainrule-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

Directory::~Directory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_text(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::string write_text(const std::string& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Process::Process(const std::vector<std::string>& arguments,
                 const std::vector<std::string>& environment, const std::string& program,
                 const std::string& working_directory) {
  std::vector<std::string> words{program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> variables = environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.emplace_back(*variable);
  }
  const std::string out = directory_ / "out";
  const std::string err = directory_ / "err";
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, out.c_str(), kFlags, 0600);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, err.c_str(), kFlags, 0600);
  posix_spawn_file_actions_addchdir_np(&files, working_directory.c_str());
  const int error = ::posix_spawn(&id_, program.c_str(), &files, nullptr, pointers_to(words).data(),
                                  pointers_to(variables).data());
  posix_spawn_file_actions_destroy(&files);
  if (error != 0) throw std::runtime_error("cannot start " + program);
}

void Process::send(int signal) const { ::kill(id_, signal); }

namespace {

/// Without what the address sanitizer says of an allocation that failed.
std::string own_errors(const std::string& text) {
  std::string own;
  for (const std::string& line : lines_of(text)) {
    if (line.find("WARNING: AddressSanitizer failed to allocate") == std::string::npos) {
      own += line + "\n";
    }
  }
  return own;
}

}  // namespace

Outcome Process::wait() {
  int status = 0;
  if (::waitpid(id_, &status, 0) != id_) throw std::runtime_error("waitpid failed");
  return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
          .out = read_text(directory_ / "out"),
          .err = own_errors(read_text(directory_ / "err"))};
}

bool can_open_terminals() {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  const bool opened = terminal >= 0 && ::grantpt(terminal) == 0 && ::unlockpt(terminal) == 0 &&
                      ::ptsname(terminal) != nullptr &&
                      ::access(::ptsname(terminal), R_OK | W_OK) == 0;
  if (terminal >= 0) ::close(terminal);
  return opened;
}

Outcome run_in_terminal(const std::vector<std::string>& arguments, int columns) {
  std::vector<std::string> words{CHAINRULE_COMMAND};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const std::vector<char*> pointers = pointers_to(words);
  winsize size{};
  size.ws_row = 24;
  size.ws_col = static_cast<unsigned short>(columns);
  int terminal = -1;
  const pid_t id = ::forkpty(&terminal, nullptr, nullptr, &size);
  if (id < 0) throw std::runtime_error("forkpty failed");
  if (id == 0) {
    ::execv(pointers[0], pointers.data());
    ::_exit(127);
  }
  Outcome outcome;
  char bytes[4096];
  for (ssize_t got; (got = ::read(terminal, bytes, sizeof(bytes))) > 0;) {
    outcome.out.append(bytes, static_cast<std::size_t>(got));
  }
  ::close(terminal);
  int status = 0;
  if (::waitpid(id, &status, 0) != id) throw std::runtime_error("waitpid failed");
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return outcome;
}

Outcome run(const std::vector<std::string>& arguments,
            const std::vector<std::string>& environment) {
  return Process(arguments, environment).wait();
}

std::string run_ok(const std::vector<std::string>& arguments) {
  const Outcome outcome = run(arguments);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  return outcome.out;
}

}  // namespace chainrule::testing
