// SPDX-License-Identifier: Apache-2.0
#include "common.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>

#include "chainrule/learn/output.hpp"

namespace chainrule::tools {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxThreads = 1024;

bool are_one_file(const fs::path& a, const fs::path& b) {
  const Destination first = destination_of(a), second = destination_of(b);
  if (first.descriptor >= 0 || second.descriptor >= 0) {
    return first.descriptor == second.descriptor;
  }
  std::error_code error;
  if (fs::is_character_file(first.path, error)) return false;
  if (fs::equivalent(first.path, second.path, error)) return true;
  return fs::weakly_canonical(fs::absolute(first.path), error) ==
         fs::weakly_canonical(fs::absolute(second.path), error);
}

}  // namespace

void ComputeOptions::add_threads_to(CLI::App& app) {
  app.add_option("--threads", threads_,
                 "Threads, also more than there are cores; the results have the same bits for any "
                 "number (default: the cores this process may use)")
      ->check(CLI::Range(1, kMaxThreads));
}

void ComputeOptions::add_to(CLI::App& app) {
  add_threads_to(app);
  app.add_option(
         "--gemm", gemm_,
         "Matrix products: fused (our kernels), blas (OpenBLAS) or auto, which is fused: as "
         "measured, OpenBLAS is nowhere enough ahead to give up the same bits for")
      ->capture_default_str();
}

GemmPath ComputeOptions::gemm() const {
  return parse_option("--gemm", [&] { return parse_gemm_path(gemm_); });
}

std::unique_ptr<ScopedThreadLimit> ComputeOptions::allow_threads() const {
  return threads_ > default_threads() ? std::make_unique<ScopedThreadLimit>(threads_) : nullptr;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

std::string counted(Index count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string seed_text(const std::string& text) {
  std::uint64_t seed = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, seed);
  if (error == std::errc{} && stop == end) return "";
  // CLI11 would name the range of double.
  return fmt::format("{}, expected a whole number from 0 to {}", text,
                     std::numeric_limits<std::uint64_t>::max());
}

std::string positive_text(const std::string& text) {
  double value = 0;
  if (CLI::detail::lexical_cast(text, value) && value > 0 && std::isfinite(value)) return "";
  return text + ", expected a finite number > 0";
}

std::string not_negative_text(const std::string& text) {
  double value = 0;
  if (CLI::detail::lexical_cast(text, value) && value >= 0 && std::isfinite(value)) return "";
  return text + ", expected a finite number >= 0";
}

void expect_distinct(const std::vector<NamedFile>& outputs, const std::vector<NamedFile>& inputs) {
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i].path.empty()) continue;
    std::vector<NamedFile> others = inputs;
    others.insert(others.end(), outputs.begin(), outputs.begin() + static_cast<std::ptrdiff_t>(i));
    for (const NamedFile& other : others) {
      if (other.path.empty() || !are_one_file(outputs[i].path, other.path)) continue;
      throw UsageError(fmt::format("{} {}: that is also the file of {}", outputs[i].option,
                                   outputs[i].path, other.option));
    }
  }
}

void expect_finite(const Tensor& x, std::string_view what) {
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      const double value = element(x.view(), i, j);
      if (std::isfinite(value)) continue;
      throw FormatError(fmt::format("{}: row {}, column {} is {}, expected a finite number", what,
                                    i + 1, j + 1, value));
    }
  }
}

std::string to_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace chainrule::tools
