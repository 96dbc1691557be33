// SPDX-License-Identifier: Apache-2.0
#include "common.hpp"

int main(int argc, char** argv) {
  using namespace chainrule::bench;
  benchmark::RegisterBenchmark("right/threads:1", [](benchmark::State& state) {
    report_limit(state, 1e-12, timed(state, [] { benchmark::ClobberMemory(); }));
  });
  benchmark::RegisterBenchmark("wrong/threads:1", [](benchmark::State& state) {
    state.SkipWithError("other bits than before");
  });
  constexpr Program kProgram{
      .name = "right_and_wrong", .about = "Two benchmarks.\n", .has_bits = true};
  return run(argc, argv, kProgram);
}
