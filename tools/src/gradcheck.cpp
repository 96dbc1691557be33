// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chainrule/learn/output.hpp"
#include "commands.hpp"
#include "gradcheck_options.hpp"
#include "gradcheck_report.hpp"
#include "progress_line.hpp"

namespace chainrule::tools {
namespace {

// The terminal's side of a run: a table that grows while a bar below it moves.
class Terminal {
 public:
  explicit Terminal(const GradcheckOptions& options)
      : out_(options.reports.table_stream()), quiet_(options.summary) {}

  void fact(const std::string& name, const std::string& text) {
    if (!quiet_) out_ << fmt::format("{:<8}{}\n", name, text);
  }
  void progress(std::size_t done, std::size_t total, const std::string& next) {
    progress_.show(done, total, next);
  }
  void lines(const std::string& text) {
    if (quiet_) return;
    progress_.clear();
    out_ << text << std::flush;
  }
  /// What is said even with --summary.
  void conclude(const std::string& text) {
    progress_.clear();
    out_ << text << std::flush;
  }

 private:
  std::ostream& out_;
  ProgressLine progress_;
  bool quiet_;
};

// How it ended.
struct Conclusion {
  bool ok;
  std::string failures;
  std::string summary;
};

template <class Run>
void write_reports(const ReportFiles& files, const Run& run, std::string (*json)(const Run&),
                   std::string (*junit)(const Run&), std::string (*html)(const Run&)) {
  if (!files.json.empty()) write_file(json(run), files.json);
  if (!files.junit.empty()) write_file(junit(run), files.junit);
  if (!files.html.empty()) write_file(html(run), files.html);
}

// Prints how it ended and writes the reports; a failure is an error. What was found is said even
// if a report cannot be written.
template <class Write>
int conclude(Terminal& terminal, const Conclusion& conclusion, Write&& write) {
  const std::string line = "gradcheck: " + conclusion.summary;
  if (!conclusion.ok) terminal.conclude(conclusion.failures);
  try {
    write();
  } catch (const Error&) {
    terminal.conclude(line + "\n");
    throw;
  }
  if (!conclusion.ok) throw Error(line);
  terminal.conclude(line + "\n");
  return kExitOk;
}

int check_gradients_of(const GradcheckOptions& options, std::span<const SelectedOp> ops,
                       const KernelTable& kernels) {
  std::optional<ModelChecker> model;
  if (options.of_model()) model.emplace(options.model, options.seed);
  GradcheckRun run;
  run.of_model = options.of_model();
  run.architecture = kernels.architecture;
  run.seed = options.seed;
  if (model) run.facts = model->facts();

  Terminal terminal(options);
  const GradcheckTable table(
      run.of_model, model ? model->name_width() : gradcheck_name_width(ops, options.every_check),
      options.every_check);
  for (const auto& [name, text] : run.facts) terminal.fact(name, text);
  terminal.fact("kernels", run.architecture);
  terminal.lines(table.heading());
  const GradcheckObserver observer{
      .before = [&](std::size_t done, std::size_t total,
                    const std::string& next) { terminal.progress(done, total, next); },
      .group = [&](GradcheckGroup group) { terminal.lines(table.lines(group)); }};
  const auto start = std::chrono::steady_clock::now();
  if (model) {
    model->check(options.dtypes(), kernels, observer, run);
  } else {
    check_ops(ops, options.dtypes(), kernels, observer, run);
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  terminal.lines(totals_text(run));

  const std::size_t failed = run.failed();
  const std::string what =
      model ? options.model.model : fmt::format("{} op{}", ops.size(), ops.size() == 1 ? "" : "s");
  const Conclusion conclusion{
      .ok = failed == 0,
      .failures = failures_text(run),
      .summary = fmt::format("{}{} checks of {} {} ({:.1f} s)",
                             failed == 0 ? "" : fmt::format("{} of ", failed), run.records.size(),
                             what, failed == 0 ? "agree" : "failed", run.seconds)};
  return conclude(terminal, conclusion, [&] {
    write_reports(options.reports, run, &gradcheck_json, &gradcheck_junit, &gradcheck_html);
  });
}

int check_checker(const GradcheckOptions& options, std::span<const SelectedOp> ops,
                  const KernelTable& kernels) {
  MutantRun run{.architecture = std::string(kernels.architecture), .seed = options.seed};
  Terminal terminal(options);
  const MutantTable table(gradcheck_name_width(ops, /*every_check=*/false), options.every_check);
  terminal.fact("kernels", run.architecture);
  terminal.lines(table.heading());
  damage_ops(ops, kernels,
             {.before = [&](std::size_t done, std::size_t total,
                            const std::string& next) { terminal.progress(done, total, next); },
              .op = [&](const MutationReport& report) { terminal.lines(table.lines(report)); }},
             run);
  terminal.lines("undamaged: " + undamaged_text(run.report) + "\n");
  const Conclusion conclusion{
      .ok = run.report.ok(),
      .failures = mutant_failures_text(run.report),
      .summary = fmt::format("{} ({:.1f} s)", caught_text(run.report), run.report.seconds)};
  return conclude(terminal, conclusion, [&] {
    write_reports(options.reports, run, &mutants_json, &mutants_junit, &mutants_html);
  });
}

int gradcheck(const GradcheckOptions& options, std::span<const OpCase> cases,
              std::span<const OpDef* const> all) {
  options.validate();
  if (!options.of_model()) require_cases(all, cases, options.ops);
  const std::vector<SelectedOp> ops = select_ops(cases, options.ops);
  const KernelTable& kernels = options.kernels();
  if (options.list) {
    std::cout << list_of_checks(ops, kernels);
    return kExitOk;
  }
  for (const NamedFile& file : options.reports.named()) {
    if (!file.path.empty()) expect_writable(file.path);
  }
  return options.mutants ? check_checker(options, ops, kernels)
                         : check_gradients_of(options, ops, kernels);
}

}  // namespace

Command add_gradcheck(CLI::App& app, std::span<const OpCase> cases,
                      std::span<const OpDef* const> ops) {
  CLI::App* const sub =
      app.add_subcommand("gradcheck", "Compares every gradient with finite differences");
  const auto options = std::make_shared<GradcheckOptions>();
  options->add_to(*sub);
  return [options, cases, ops] { return gradcheck(*options, cases, ops); };
}

}  // namespace chainrule::tools
