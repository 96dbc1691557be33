// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitMisuse = 2;
inline constexpr int kExitInterrupted = 130;  // 128 + SIGINT, as shells count

/// Misuse of the command line.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// What a subcommand does once the command line is parsed; returns the exit code.
using Command = std::function<int()>;

/// Calls `parse`, which reads the value of `option`; what it finds wrong there is misuse.
template <class Parse>
auto parse_option(std::string_view option, Parse&& parse) {
  try {
    return parse();
  } catch (const ArgumentError& error) {
    throw UsageError(std::string(option) + ": " + error.what());
  }
}

/// The options --threads and --gemm, which all commands that compute share.
class ComputeOptions {
 public:
  void add_to(CLI::App& app);
  /// --threads alone, for commands that have one way of multiplying.
  void add_threads_to(CLI::App& app);

  int threads() const noexcept { return threads_; }
  GemmPath gemm() const;
  PredictorOptions predictor() const { return {.threads = threads(), .gemm = gemm()}; }
  /// To be held while computing: lets --threads exceed the number of cores.
  std::unique_ptr<ScopedThreadLimit> allow_threads() const;

 private:
  int threads_ = 0;
  std::string gemm_ = "auto";
};

/// "a, b, c".
std::string joined(const std::vector<std::string>& names);
/// "1 check", "2 checks".
std::string counted(Index count, std::string_view what);
// CLI11 checks: what is wrong with an argument, "" for a good one.

std::string seed_text(const std::string& text);
/// A finite number > 0.
std::string positive_text(const std::string& text);
/// A finite number >= 0.
std::string not_negative_text(const std::string& text);

/// A path and the option that gave it; an empty one counts for nothing.
struct NamedFile {
  std::string_view option;
  std::string path;
};
/// UsageError when two outputs, or an output and an input, are one file (or one pipe, but not a
/// device such as /dev/null).
void expect_distinct(const std::vector<NamedFile>& outputs, const std::vector<NamedFile>& inputs);
/// FormatError naming row and column of the first value of `x` that is not finite.
void expect_finite(const Tensor& x, std::string_view what);

/// Indented, with invalid UTF-8 replaced and a line break at the end.
std::string to_text(const nlohmann::ordered_json& json);

}  // namespace chainrule::tools
