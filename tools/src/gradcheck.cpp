// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "chainrule/check/check_case.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "commands.hpp"

namespace chainrule::tools {
namespace {

constexpr std::size_t kMaxShownFailures = 20;

struct GradcheckOptions {
  std::vector<std::string> ops;
  std::string dtype = "both";
  std::string arch;
  std::string json;
  bool summary = false;
};

std::vector<std::string> op_names(const GradcheckOptions& options) {
  std::vector<std::string> known;
  for (const OpDef* op : all_ops()) known.emplace_back(op->name);
  if (options.ops.empty()) return known;
  std::vector<std::string> wanted;
  for (const std::string& name : options.ops) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      std::string list;
      for (const std::string& op : known) list += (list.empty() ? "" : ", ") + op;
      throw UsageError(fmt::format("--op: no op is called '{}'; there are: {}", name, list));
    }
    if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) wanted.push_back(name);
  }
  return wanted;
}

std::vector<DType> dtypes(const GradcheckOptions& options) {
  if (options.dtype == "both") return {DType::kFloat32, DType::kFloat64};
  return {parse_option("--dtype", [&] { return parse_dtype(options.dtype); })};
}

// |error| as a share of what is tolerated: below 1 agrees.
double error_share(const ElementCheck& check) {
  return check.tolerance > 0 ? check.error / check.tolerance : check.error > 0 ? HUGE_VAL : 0;
}

// A line of the table: one op in one dtype.
std::string table_line(const std::string& op, DType dtype, std::span<const CaseReport> reports) {
  Index comparisons = 0;
  std::size_t failed = 0;
  double share = 0;
  for (const CaseReport& report : reports) {
    comparisons += report.gradients.comparisons();
    failed += report.ok() ? 0 : 1;
    const ElementCheck* const worst = report.gradients.worst();
    if (worst != nullptr && worst->verdict != Verdict::kKink)
      share = std::max(share, error_share(*worst));
  }
  return fmt::format("{:<36}  {:<7}  {:>6}  {:>9}  {:>16.3f}  {}\n", op, to_string(dtype),
                     reports.size(), comparisons, share,
                     failed == 0 ? "agree" : fmt::format("{} FAILED", failed));
}

nlohmann::ordered_json as_json(const CaseReport& report) {
  nlohmann::ordered_json json{{"op", report.op},
                              {"case", report.name},
                              {"size", report.size},
                              {"shape", report.shape},
                              {"dtype", to_string(report.gradients.dtype)},
                              {"architecture", report.gradients.architecture},
                              {"ok", report.ok()},
                              {"verdict", to_string(report.gradients.verdict())},
                              {"comparisons", report.gradients.comparisons()}};
  if (const ElementCheck* const worst = report.gradients.worst()) {
    json["worst"] = {{"analytic", worst->analytic}, {"numeric", worst->numeric},
                     {"error", worst->error},       {"tolerance", worst->tolerance},
                     {"row", worst->row},           {"column", worst->column}};
  }
  json["failures"] = report.gradients.failures;
  return json;
}

std::string failure_text(const std::vector<CaseReport>& reports) {
  std::string text;
  std::size_t shown = 0;
  for (const CaseReport& report : reports) {
    if (report.ok() || ++shown > kMaxShownFailures) continue;
    text += fmt::format("FAILED {}, {} {}, {}\n", report.name, report.size, report.shape,
                        to_string(report.gradients.dtype));
    for (const std::string& failure : report.gradients.failures) text += "  " + failure + "\n";
    if (report.gradients.values.empty()) text += "  nothing was compared\n";
  }
  if (shown > kMaxShownFailures)
    text += fmt::format("... and {} more\n", shown - kMaxShownFailures);
  return text;
}

void write_json(const std::vector<CaseReport>& reports, std::size_t failed, double seconds,
                const std::string& path) {
  nlohmann::ordered_json json{{"checks", reports.size()}, {"failed", failed}, {"seconds", seconds}};
  json["reports"] = nlohmann::ordered_json::array();
  for (const CaseReport& report : reports) json["reports"].push_back(as_json(report));
  write_text(to_text(json), path);
}

int gradcheck(const GradcheckOptions& options) {
  const std::vector<std::string> ops = op_names(options);
  const std::vector<DType> wanted = dtypes(options);
  const KernelTable& kernels =
      options.arch.empty() ? default_kernels() : kernels_named(options.arch);
  if (!options.json.empty()) expect_writable(options.json);

  const auto start = std::chrono::steady_clock::now();
  if (!options.summary) {
    std::cout << fmt::format("kernels: {}\n{:<36}  {:<7}  {:>6}  {:>9}  {:>16}\n",
                             kernels.architecture, "op", "dtype", "checks", "gradients",
                             "error/tolerance");
  }
  std::vector<CaseReport> reports;
  for (const std::string& op : ops) {
    for (const DType dtype : wanted) {
      std::vector<CaseReport> found = check_op(op, dtype, &kernels);
      if (!options.summary) std::cout << table_line(op, dtype, found) << std::flush;
      std::move(found.begin(), found.end(), std::back_inserter(reports));
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto failed = static_cast<std::size_t>(
      std::count_if(reports.begin(), reports.end(), [](const CaseReport& r) { return !r.ok(); }));
  if (!options.json.empty()) write_json(reports, failed, seconds, options.json);
  if (failed > 0) {
    std::cout << failure_text(reports);
    throw Error(fmt::format("gradcheck: {} of {} checks of {} ops failed ({:.1f} s)", failed,
                            reports.size(), ops.size(), seconds));
  }
  std::cout << fmt::format("gradcheck: {} checks of {} ops agree ({:.1f} s)\n", reports.size(),
                           ops.size(), seconds);
  return kExitOk;
}

}  // namespace

Command add_gradcheck(CLI::App& app) {
  CLI::App* const sub =
      app.add_subcommand("gradcheck", "Compares every gradient with finite differences");
  const auto options = std::make_shared<GradcheckOptions>();
  sub->add_option("--op", options->ops, "Only this op; may be repeated");
  sub->add_option("--dtype", options->dtype, "float32, float64 or both")->capture_default_str();
  sub->add_option("--arch", options->arch,
                  "Kernels to check (default: the best that this CPU runs, see `chainrule info`)");
  sub->add_option("--json", options->json, "JSON file to write, with every check");
  sub->add_flag("--summary", options->summary, "Only the last line");
  sub->footer(
      R"(Every op, in every case and shape of the library's table, is differentiated by the op's own
backward and by extrapolated central differences in float64. A check of one op in one case, shape
and dtype compares every gradient it has. error/tolerance is the worst of them; 1 is the limit.
Exit code 1 when one disagrees.

Examples:
  chainrule gradcheck
  chainrule gradcheck --op gelu --op layer_norm --dtype float64
  chainrule gradcheck --arch avx2 --json gradients.json)");
  return [options] { return gradcheck(*options); };
}

}  // namespace chainrule::tools
