// SPDX-License-Identifier: Apache-2.0
//
// Our workloads against other libraries, each in a process of its own.

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <regex>
#include <string>
#include <vector>

#include "build_info.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/runtime/machine.hpp"
#include "child.hpp"
#include "program.hpp"
#include "report.hpp"

namespace chainrule::bench {
namespace {

constexpr const char* kHelp =
    R"(Runs the workloads of `steps` with us and with every other library that was found when this was
built, each in a process of its own, in an environment without settings but thread counts and
OMP_WAIT_POLICY=passive. What a peer computes in three runs must agree with ours (within {} of the
largest value; weights by how far they moved), or it is not timed. Then all are timed in rounds.
We run inside Executor::with_residents(), as Trainer does; `scaling` tells what Predictor costs.

Exit code 0 when everything agreed, 1 when something did not, or died, or a file could not be
written, 2 for misuse.

Examples:
  peers
  peers --filter 'step$' --peers torch,eigen --rounds 15
  peers --filter deep-step --threads 2 --busy 2
  peers --json peers.json --csv peers.csv --svg peers.svg)";

struct Options {
  std::string filter = ".*";
  std::vector<std::string> peers;
  std::filesystem::path directory;
  Settings settings;
  std::string json, csv, svg;
};

std::filesystem::path own_directory() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path();
}

void add_options(CLI::App& app, Options& options) {
  options.directory = own_directory();
  app.add_option("--filter", options.filter,
                 "Only workloads in whose name this regular expression is found");
  app.add_option("--rounds", options.settings.rounds, "How often each is timed")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--threads", options.settings.threads, "Thread counts, the best of which counts")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--busy", options.settings.busy,
                 "So many other processes keep the cores busy meanwhile: who is a good neighbour?")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--peers", options.peers,
                 "Only these peers, joined by commas (default: all built)")
      ->delimiter(',');
  app.add_option("--directory", options.directory, "Where the programs peer_NAME are")
      ->check(CLI::ExistingDirectory);
  app.add_option("--json", options.json, "JSON file to write, with everything");
  app.add_option("--csv", options.csv, "CSV file to write: a line for each time");
  app.add_option("--svg", options.svg, "SVG file to write: a chart of the ratios");
  app.footer(fmt::format(kHelp, kTolerance));
}

std::vector<const Workload*> chosen_workloads(const Options& options) {
  std::vector<const Workload*> chosen;
  try {
    const std::regex pattern(options.filter);
    for (const Workload& workload : all_workloads()) {
      if (std::regex_search(workload.name, pattern)) chosen.push_back(&workload);
    }
  } catch (const std::regex_error& error) {
    throw Misuse(fmt::format("--filter {}: {}", options.filter, error.what()));
  }
  if (!chosen.empty()) return chosen;
  std::vector<std::string> names;
  for (const Workload& workload : all_workloads()) names.emplace_back(workload.name);
  throw Misuse(fmt::format("--filter {}: no workload is called so; there are {}", options.filter,
                           fmt::join(names, ", ")));
}

std::vector<Program> chosen_programs(const Options& options) {
  const std::vector<Program> found = find_programs(options.directory);
  if (found.empty() || found.front().name != kOurName) {
    throw Error(fmt::format("no peer_{} in {}", kOurName, options.directory.string()));
  }
  std::vector<std::string> names;
  for (const Program& program : found) names.push_back(program.name);
  for (const std::string& name : options.peers) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      throw Misuse(
          fmt::format("--peers {0}: there is no peer_{0} in {1}, only {2}; install its library and "
                      "configure anew",
                      name, options.directory.string(), fmt::join(names, ", ")));
    }
  }
  if (options.peers.empty()) return found;
  std::vector<Program> chosen;
  std::copy_if(found.begin(), found.end(), std::back_inserter(chosen), [&](const Program& program) {
    return program.name == kOurName || std::find(options.peers.begin(), options.peers.end(),
                                                 program.name) != options.peers.end();
  });
  return chosen;
}

Report measure(const Options& options, std::string command) {
  const std::vector<const Workload*> workloads = chosen_workloads(options);
  const std::vector<Program> programs = chosen_programs(options);
  const MachineInfo machine = machine_info();
  Report report{.cpu = machine.cpu,
                .cores = machine.cores,
                .commit = kCommit,
                .compiler = kCompiler,
                .flags = kFlags,
                .command = std::move(command),
                .settings = options.settings};
  for (const Program& program : programs) report.names.push_back(program.name);
  const BusyProcesses busy(options.settings.busy);
  for (const Workload* workload : workloads) {
    if (::isatty(STDERR_FILENO) != 0) std::cerr << fmt::format("{} ...\n", workload->name);
    report.outcomes.push_back(hold_contest(*workload, programs, options.settings));
  }
  return report;
}

int run(int argc, char** argv) {
  CLI::App app("How fast others do what we do.", "peers");
  Options options;
  add_options(app, options);
  if (!parse(app, argc, argv)) return 0;
  for (const std::string& path : {options.json, options.csv, options.svg}) {
    if (!path.empty()) expect_writable(path);
  }
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const Report report = measure(options, fmt::format("peers {}", fmt::join(arguments, " ")));
  std::cout << as_table(report) << std::flush;
  write_outputs({{options.json, [&] { return as_json(report); }},
                 {options.csv, [&] { return as_csv(report); }},
                 {options.svg, [&] { return as_svg(report); }}});
  return report.ok() ? 0 : kExitError;
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::run_main("peers", [&] { return chainrule::bench::run(argc, argv); });
}
