// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule::bench {

/// A child process ended, or said something else than it should.
class ChildError : public Error {
 public:
  ChildError(const std::string& message, int code) : Error(message), code_(code) {}
  /// Its exit code; -1 when it has none.
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/// A file descriptor that is closed in the end.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  int number() const noexcept { return number_; }
  void close() noexcept;

 private:
  int number_;
};

/// A program that is spoken to in lines and answers in lines and binary numbers. It is killed, if
/// it still runs, in the end. Errors are ChildErrors that quote its last line of error output.
class Child {
 public:
  /// `words` are the program's path and arguments; the environment is `variables` alone.
  Child(std::vector<std::string> words, std::vector<std::string> variables);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void write_line(std::string_view line);
  std::string read_line();
  /// Reads a line that is `key` and a text; returns the text.
  std::string read_value(std::string_view key);
  std::vector<float> read_floats(std::size_t count);

  /// Throws a ChildError: what this program did.
  [[noreturn]] void fail(const std::string& what) const;

  /// How long an answer may take.
  static constexpr std::chrono::seconds kPatience{120};

 private:
  /// Waits for output and appends it to `received_`.
  void receive();
  /// Throws a ChildError that says how it ended.
  [[noreturn]] void fail_ended();
  std::string last_error_line() const;

  std::string program_;
  Descriptor errors_;
  Descriptor input_;
  Descriptor output_;
  pid_t id_ = -1;
  std::string received_;
};

/// Processes that compute until this is destroyed, or this process ends.
class BusyProcesses {
 public:
  /// Throws Error when one cannot be started.
  explicit BusyProcesses(int count);
  ~BusyProcesses();
  BusyProcesses(const BusyProcesses&) = delete;
  BusyProcesses& operator=(const BusyProcesses&) = delete;

 private:
  std::vector<pid_t> ids_;
};

}  // namespace chainrule::bench
