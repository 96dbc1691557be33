// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "chainrule/kernels/dispatch.hpp"
#include "commands.hpp"
#include "gradcheck_report.hpp"
#include "gradcheck_sources.hpp"
#include "progress_line.hpp"

namespace chainrule::tools {
namespace {

struct GradcheckOptions {
  std::vector<std::string> ops;
  std::string dtype;
  std::string arch;
  bool list = false;
  ModelCheck model;
  std::string json;
  std::string junit;
  std::string html;
  std::uint64_t seed = 1;
  bool every_check = false;
  bool summary = false;
};

// Of a model, by default, the dtype that sees the smallest errors.
std::vector<DType> dtypes(const GradcheckOptions& options) {
  const bool of_model = !options.model.model.empty();
  if (options.dtype == "both" || (options.dtype.empty() && !of_model)) {
    return {DType::kFloat32, DType::kFloat64};
  }
  if (options.dtype.empty()) return {DType::kFloat64};
  return {parse_option("--dtype", [&] { return parse_dtype(options.dtype); })};
}

const KernelTable& kernels(const GradcheckOptions& options) {
  if (options.arch.empty()) return default_kernels();
  return *parse_option("--arch", [&] { return &kernels_named(options.arch); });
}

// The terminal's side of a run.
class Terminal {
 public:
  Terminal(const GradcheckOptions& options, std::size_t name_width)
      : table_(!options.model.model.empty(), name_width, options.every_check),
        quiet_(options.summary) {}

  void begin(const GradcheckRun& run) const {
    if (quiet_) return;
    for (const auto& [name, text] : run.facts) std::cout << fmt::format("{:<8}{}\n", name, text);
    std::cout << fmt::format("{:<8}{}\n", "kernels", run.architecture) << table_.heading()
              << std::flush;
  }

  GradcheckObserver observer() {
    return {.before = [this](std::size_t done, std::size_t total,
                             const std::string& next) { progress_.show(done, total, next); },
            .group =
                [this](GradcheckGroup group) {
                  if (quiet_) return;
                  progress_.clear();
                  std::cout << table_.lines(group) << std::flush;
                }};
  }

  void end() { progress_.clear(); }

 private:
  GradcheckTable table_;
  ProgressLine progress_;
  bool quiet_;
};

void write_reports(const GradcheckOptions& options, const GradcheckRun& run) {
  if (!options.json.empty()) write_text(gradcheck_json(run), options.json);
  if (!options.junit.empty()) write_text(gradcheck_junit(run), options.junit);
  if (!options.html.empty()) write_text(gradcheck_html(run), options.html);
}

int finish(const GradcheckRun& run, const std::string& of_what) {
  const std::size_t checks = run.records.size(), failed = run.failed();
  if (failed > 0) {
    std::cout << failures_text(run);
    throw Error(fmt::format("gradcheck: {} of {} checks of {} failed ({:.1f} s)", failed, checks,
                            of_what, run.seconds));
  }
  std::cout << fmt::format("gradcheck: {} checks of {} agree ({:.1f} s)\n", checks, of_what,
                           run.seconds);
  return kExitOk;
}

int gradcheck(const GradcheckOptions& options) {
  const std::vector<std::string> ops = gradcheck_ops(options.ops);
  if (options.list) {
    std::cout << list_of_checks(ops);
    return kExitOk;
  }
  const std::vector<DType> wanted = dtypes(options);
  const KernelTable& table = kernels(options);
  for (const std::string& path : {options.json, options.junit, options.html}) {
    if (!path.empty()) expect_writable(path);
  }
  std::optional<ModelChecker> model;
  if (!options.model.model.empty()) model.emplace(options.model, options.seed);

  GradcheckRun run;
  run.of_model = model.has_value();
  run.architecture = table.architecture;
  run.seed = options.seed;
  if (model) run.facts = model->facts();
  Terminal terminal(options,
                    model ? model->name_width() : gradcheck_name_width(ops, options.every_check));
  terminal.begin(run);
  const auto start = std::chrono::steady_clock::now();
  if (model) {
    model->check(wanted, table, terminal.observer(), run);
  } else {
    check_ops(ops, wanted, table, terminal.observer(), run);
  }
  terminal.end();
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  write_reports(options, run);
  return finish(run, model ? options.model.model
                           : fmt::format("{} op{}", ops.size(), ops.size() == 1 ? "" : "s"));
}

void add_model_options(CLI::App& sub, ModelCheck& check, CLI::Option* op, CLI::Option* list) {
  CLI::Option* const model =
      sub.add_option("--model", check.model,
                     "Model file: check the gradient of its loss by each parameter and by x")
          ->excludes(op)
          ->excludes(list);
  const auto add = [&](const char* name, auto& value, const char* help) {
    return sub.add_option(name, value, help)->needs(model);
  };
  CLI::Option* const data = add(
      "--data", check.data, "digits, fashion-mnist or a file (default: random inputs and targets)");
  add("--samples", check.samples, "Rows: so many of the data, drawn at random")
      ->check(CLI::Range(Index{1}, Index{1} << 20))
      ->capture_default_str();
  add("--target", check.columns.target,
      "Name or index of the target column (default: as in training)")
      ->needs(data);
  add("--weights", check.columns.weights, "Name or index of a column of sample weights")
      ->needs(data);
  add("--offset", check.columns.offset,
      "Name or index of a column to add to the logits (losses with log link)")
      ->needs(data);
}

constexpr const char* kGradcheckHelp =
    R"(Every op, in every case and shape of the library's table, is differentiated by the op's own
backward (a: analytic) and by extrapolated central differences in float64 (n: numeric). A line of
the table shows the worst of its comparisons: |a - n|, the error bar of n, and what is tolerated.
A model is checked in training mode, with one fixed dropout mask; kinks that the numbers happen to
lie on are accepted and counted. Where gradients disagree, the worst elements are listed with what
they look like: a factor, a sign, a transpose, an off-by-one.
Exit code 1 when one disagrees, 2 for misuse.

)";

constexpr const char* kGradcheckExamples = R"(

Examples:
  chainrule gradcheck
  chainrule gradcheck --list
  chainrule gradcheck --op gelu --op layer_norm --dtype float64 -v
  chainrule gradcheck --arch avx2 --json gradients.json --html gradients.html
  chainrule gradcheck --model digits.safetensors --data digits --samples 16)";

}  // namespace

Command add_gradcheck(CLI::App& app) {
  CLI::App* const sub =
      app.add_subcommand("gradcheck", "Compares every gradient with finite differences");
  const auto options = std::make_shared<GradcheckOptions>();
  CLI::Option* const op = sub->add_option("--op", options->ops, "Only this op; may be repeated");
  CLI::Option* const list =
      sub->add_flag("--list", options->list, "What would be checked, and how; checks nothing");
  add_model_options(*sub, options->model, op, list);
  sub->add_option("--dtype", options->dtype,
                  "float32, float64 or both (default: both; of a model float64)");
  sub->add_option("--arch", options->arch,
                  "Kernels to check (default: the best that this CPU runs, see `chainrule info`)");
  sub->add_option("--seed", options->seed, "Of all random numbers")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  for (const auto& [name, path, help] :
       {std::tuple("--json", &options->json, "JSON file to write, with every check"),
        std::tuple("--junit", &options->junit, "JUnit XML file to write, for CI systems"),
        std::tuple("--html", &options->html, "HTML page to write")}) {
    sub->add_option(name, *path, help)->excludes(list);
  }
  CLI::Option* const verbose =
      sub->add_flag("-v,--verbose", options->every_check, "A line for each gradient of each check");
  sub->add_flag("--summary", options->summary, "Only the last line")->excludes(verbose);
  sub->footer(std::string(kGradcheckHelp) + kDataHelp + kGradcheckExamples);
  return [options] { return gradcheck(*options); };
}

}  // namespace chainrule::tools
