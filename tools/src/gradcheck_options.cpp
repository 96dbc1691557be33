// SPDX-License-Identifier: Apache-2.0
#include "gradcheck_options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <tuple>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/output.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kGradcheckHelp =
    R"(Every op, in every case and shape of the library's table, is differentiated by the op's own
backward (a: analytic) and by extrapolated central differences in float64 (n: numeric). A line of
the table shows the worst of its comparisons: |a - n|, the error bar of n, and what is tolerated.
"elements" counts them, with random directions behind a plus; "Jacobian" counts the entries of
whole Jacobians. --op takes what graphs call an op (reduce_mean) as well.

A model is checked in training mode, with one fixed dropout mask; kinks that the numbers happen to
lie on are accepted and counted. "unseen" counts elements that agree, but are smaller than what is
tolerated, so that anything of their size would. Where gradients disagree, the worst elements are listed with what
they look like: a factor, a sign, a transpose, an off-by-one. Unresolved means that differences
can say nothing (a saturated tanh, say); it fails unless --waive names the tensor. A gradient that is
zero everywhere fails unless --zero declares it, and then everything else does.

--mutants is the proof that the checker sees: it damages the backward of every op on purpose, runs
the checker on each of these mutants, and counts who noticed: finite differences, properties (such
as adding up where an op is used twice), forward mode against backward, the contract's value at a
kink. A mutant that changes no bit is equivalent. Right gradients must raise no alarm.

Exit code 0 when everything agrees (with --mutants: all are caught, without a false alarm), 1 when
something does not, 2 for misuse.

)";

constexpr const char* kGradcheckExamples = R"(

Examples:
  chainrule gradcheck
  chainrule gradcheck --list
  chainrule gradcheck --op gelu --op layer_norm --dtype float64 -v
  chainrule gradcheck --arch avx2 --json gradients.json --html gradients.html
  chainrule gradcheck --summary --json /dev/stdout | jq .failed
  chainrule gradcheck --model digits.safetensors --data digits --samples 16
  chainrule gradcheck --model saturated.safetensors --waive 0.weight --waive 0.bias
  chainrule gradcheck --mutants
  chainrule gradcheck --mutants --op softmax --op reduce_mean --html mutants.html)";

CLI::Option* add_model_options(CLI::App& app, ModelCheck& check) {
  CLI::Option* const model =
      app.add_option("--model", check.model,
                     "Model file: check the gradient of its loss by each parameter and by x");
  const auto add = [&](const char* name, auto& value, const char* help) {
    return app.add_option(name, value, help)->needs(model);
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
  check.header.add_to(app)->needs(data);
  add("--waive", check.waived,
      "Unresolved elements of this tensor are no failure; may be repeated");
  add("--zero", check.zeros,
      "The gradient of this tensor is zero (behind dead units, say), and must be; may be repeated");
  return model;
}

void add_reports(CLI::App& app, ReportFiles& files, CLI::Option* list) {
  for (const auto& [name, path, help] :
       {std::tuple("--json", &files.json, "JSON file to write, with every check"),
        std::tuple("--junit", &files.junit, "JUnit XML file to write, for CI systems"),
        std::tuple("--html", &files.html, "HTML page to write")}) {
    app.add_option(name, *path, help)->excludes(list);
  }
}

}  // namespace

std::vector<NamedFile> ReportFiles::named() const {
  return {{"--json", json}, {"--junit", junit}, {"--html", html}};
}

std::ostream& ReportFiles::table_stream() const {
  const std::vector<NamedFile> files = named();
  const bool taken = std::any_of(files.begin(), files.end(), [](const NamedFile& file) {
    return !file.path.empty() && destination_of(file.path).descriptor == STDOUT_FILENO;
  });
  return taken ? std::cerr : std::cout;
}

void GradcheckOptions::add_to(CLI::App& app) {
  CLI::Option* const op = app.add_option("--op", ops, "Only this op; may be repeated");
  CLI::Option* const list_flag =
      app.add_flag("--list", list, "What would be checked of each op, and how");
  CLI::Option* const mutants_flag =
      app.add_flag("--mutants", mutants, "Damage every backward, and see whether it is noticed")
          ->excludes(list_flag);
  add_model_options(app, model)->excludes(op)->excludes(list_flag)->excludes(mutants_flag);
  app.add_option("--dtype", dtype,
                 "float32, float64 or both (default: both; of a model float64; mutants are "
                 "float64)")
      ->excludes(list_flag);
  app.add_option(
      "--arch", arch,
      "Kernels to check (default: the best that this CPU runs, see `chainrule info`; the library's "
      "own tests check all)");
  app.add_option("--seed", seed, "Of all random numbers")->check(seed_text)->capture_default_str();
  add_reports(app, reports, list_flag);
  CLI::Option* const verbose = app.add_flag(
      "-v,--verbose", every_check, "A line for each gradient of each check, or for each mutant");
  app.add_flag("--summary", summary, "Only the last line")->excludes(verbose);
  app.footer(std::string(kGradcheckHelp) + kDataHelp + kGradcheckExamples);
}

std::vector<DType> GradcheckOptions::dtypes() const {
  if (dtype == "both" || (dtype.empty() && !of_model())) {
    return {DType::kFloat32, DType::kFloat64};
  }
  if (dtype.empty()) return {DType::kFloat64};
  return {parse_option("--dtype", [&] { return parse_dtype(dtype); })};
}

const KernelTable& GradcheckOptions::kernels() const {
  if (arch.empty()) return default_kernels();
  return *parse_option("--arch", [&] { return &kernels_named(arch); });
}

void GradcheckOptions::validate() const {
  static_cast<void>(dtypes());
  static_cast<void>(model.header.csv());
  if (mutants && !dtype.empty() && dtype != "float64") {
    throw UsageError(fmt::format(
        "--dtype {}: --mutants damages gradients in float64 only, expected float64", dtype));
  }
  expect_distinct(reports.named(), {{"--model", model.model}, data_file(model.data)});
}

}  // namespace chainrule::tools
