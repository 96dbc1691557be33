// SPDX-License-Identifier: Apache-2.0
#include "common.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/machine.hpp"
#include "program.hpp"
#include "reporter.hpp"

namespace chainrule::bench {
namespace {

// For print_help(), which Google Benchmark calls without arguments, for --help and for formats that
// it does not know, before it exits with 0.
const Program* running = nullptr;
bool help_wanted = false;

void print_help() {
  if (!help_wanted) {
    std::cerr << fmt::format("{0}: error: a format is unknown (see {0} --help)\n", running->name);
    std::exit(kExitMisuse);
  }
  std::cout << fmt::format("{}\nExit code 0, 1 when something was wrong, 2 for misuse.\n\n",
                           running->about);
  benchmark::PrintDefaultHelp();
}

// What an option of Google Benchmark's was set to, by --NAME=... or else by the environment.
std::string option(const std::vector<std::string_view>& arguments, const std::string& name,
                   const char* variable) {
  const char* const inherited = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
  std::string value = inherited == nullptr ? "" : inherited;
  const std::string prefix = "--" + name + "=";
  for (const std::string_view argument : arguments) {
    if (argument.starts_with(prefix)) value = argument.substr(prefix.size());
  }
  return value;
}

void add_context() {
  const MachineInfo machine = machine_info();
  const KernelTable& kernels = default_kernels();
  benchmark::AddCustomContext("cpu", machine.cpu);
  benchmark::AddCustomContext("kernels", machine.architecture);
  benchmark::AddCustomContext("blas_core", machine.blas.core);
  benchmark::AddCustomContext("default_threads", std::to_string(machine.default_threads));
  benchmark::AddCustomContext("fma_peak_float32_gflops",
                              fmt::format("{:.1f}", fma_peak<float>(kernels) * 1e-9));
  benchmark::AddCustomContext("fma_peak_float64_gflops",
                              fmt::format("{:.1f}", fma_peak<double>(kernels) * 1e-9));
  if (!machine.warnings.empty()) {
    benchmark::AddCustomContext("warnings", fmt::format("{}", fmt::join(machine.warnings, "; ")));
  }
}

int run_benchmarks(int argc, char** argv, const Program& program) {
  const std::vector<std::string_view> arguments(argv + 1, argv + argc);
  running = &program;
  for (const std::string_view argument : arguments) help_wanted |= argument == "--help";
  const std::string file = option(arguments, "benchmark_out", "BENCHMARK_OUT");
  const std::string format = option(arguments, "benchmark_out_format", "BENCHMARK_OUT_FORMAT");
  benchmark::Initialize(&argc, argv, print_help);
  if (argc > 1) throw Misuse(fmt::format("there is no option {}", argv[1]));
  add_context();

  CheckedReporter shown(*benchmark::CreateDefaultDisplayReporter(), program.has_bits);
  const auto in_file = make_file_reporter(format);
  CheckedReporter written(*in_file, program.has_bits);
  const std::size_t count =
      benchmark::RunSpecifiedBenchmarks(&shown, file.empty() ? nullptr : &written);
  benchmark::Shutdown();
  if (!file.empty() && written.is_lost()) throw Error("cannot write " + file);
  // That there is no such benchmark has been said.
  return count == 0 || shown.had_errors() ? kExitError : 0;
}

}  // namespace

template <class T>
void report_flops(benchmark::State& state, const KernelTable& kernels, double flops, double seconds,
                  int threads) {
  state.counters["flops"] = flops / seconds;
  state.counters["fma_fraction"] = flops / seconds / (fma_peak<T>(kernels) * threads);
}

template void report_flops<float>(benchmark::State&, const KernelTable&, double, double, int);
template void report_flops<double>(benchmark::State&, const KernelTable&, double, double, int);

void report_limit(benchmark::State& state, double limit, double seconds) {
  state.counters["fraction_of_limit"] = limit / seconds;
  state.counters["bits_ok"] = 1;
}

int run(int argc, char** argv, const Program& program) {
  return run_main(program.name, [&] { return run_benchmarks(argc, argv, program); });
}

}  // namespace chainrule::bench
