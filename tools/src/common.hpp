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

#include "chainrule/core/error.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/evaluate.hpp"
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

  int threads() const noexcept { return threads_; }
  GemmPath gemm() const;
  PredictorOptions predictor() const { return {.threads = threads(), .gemm = gemm()}; }
  /// To be held while computing: lets --threads exceed the number of cores.
  std::unique_ptr<ScopedThreadLimit> allow_threads() const;

 private:
  int threads_ = 0;
  std::string gemm_ = "auto";
};

/// Throws, before work is spent on what goes there, when a file at `path` could not be written.
void expect_writable(const std::filesystem::path& path);
/// FormatError naming row and column of the first value of `x` that is not finite.
void expect_finite(const Tensor& x, std::string_view what);

/// Indented, with invalid UTF-8 replaced and a line break at the end.
std::string to_text(const nlohmann::ordered_json& json);
void write_text(const std::string& text, const std::filesystem::path& path);

}  // namespace chainrule::tools
