// SPDX-License-Identifier: Apache-2.0
//
// Whole training steps, predictions and gradients of named networks, on one and two threads, beside
// what the machine allows: its FMA peak, or the bytes that must be read.

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "common.hpp"
#include "step.hpp"
#include "workloads.hpp"

namespace {

using namespace chainrule;

using bench::Cost;
using bench::Limit;
using bench::Step;
using bench::Workload;

constexpr bench::Program kProgram{
    .name = "steps",
    .about =
        R"(Training steps, predictions and gradients of named networks, NAME/threads:1 and NAME/threads:2,
inside Executor::with_residents(), as Trainer runs them: helpers stay awake between the runs.
(Predictor does without; `scaling` tells what that costs.)

  fraction_of_limit  the least time that the FMA peak allows (latency: the bandwidth of reading the
                     weights, glm-gradient: of the inputs), measured in this process with as many
                     threads, by the time of a run
  fma_fraction       the share of those threads' FMA peak; flops: operations a second
  bits_ok            1: three runs end in the bits of the serial executor (threads:1: of three
                     threads), within 1e-4 of float64; 0: they do not, and nothing was timed
)",
    .has_bits = true};

// What is wrong with three steps beside float64 and beside the bits of other threads.
std::optional<std::string> find_fault(const Workload& workload, int threads) {
  const int other_threads = threads == 1 ? 3 : 1;
  const ScopedThreadLimit allowed(std::max(threads, other_threads));
  Step measured(workload, DType::kFloat32, threads);
  Step other(workload, DType::kFloat32, other_threads);
  Step reference(workload, DType::kFloat64, 1);
  for (Step* step : {&measured, &other, &reference}) {
    step->executor().with_residents([&] {
      for (int i = 0; i < 3; ++i) step->run();
    });
  }
  const auto ours = measured.results(), same = other.results(), right = reference.results();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (!bench::agrees(ours[i], right[i], 1e-4)) return "wrong result";
    if (!bench::same_bits(ours[i], same[i])) {
      return other_threads == 1 ? "other bits than the serial executor"
                                : fmt::format("other bits than on {} threads", other_threads);
    }
  }
  return std::nullopt;
}

// Seconds that a run takes at least on so many threads.
double limit(const Workload& workload, const Cost& cost, const KernelTable& kernels, int threads) {
  const auto rows = static_cast<double>(workload.batch);
  const auto reading = [&](double elements) {
    const double bytes = elements * sizeof(float);
    return bytes / bench::read_bandwidth(kernels, static_cast<Index>(bytes), threads);
  };
  switch (workload.limit) {
    case Limit::kWeightBytes:
      return reading(cost.weights);
    case Limit::kInputBytes:
      return reading(rows * cost.weights);  // one output: as many weights as columns
    case Limit::kFmaPeak:
      break;
  }
  return rows * cost.flops_per_row / (bench::fma_peak<float>(kernels) * threads);
}

void time_step(benchmark::State& state, const Workload& workload, int threads) {
  if (const auto fault = find_fault(workload, threads)) {
    state.SkipWithError(fault->c_str());
    return;
  }
  Step step(workload, DType::kFloat32, threads);
  const Cost cost = bench::cost_of(workload);
  const KernelTable& kernels = step.plan().kernels();
  const double least = limit(workload, cost, kernels, threads);
  double seconds = 0;
  step.executor().with_residents([&] {
    step.run();  // memory is touched for the first time
    seconds = bench::timed(state, [&] { step.run(); });
  });
  const double flops = cost.flops_per_row * static_cast<double>(workload.batch);
  bench::report_flops<float>(state, kernels, flops, seconds, threads);
  bench::report_limit(state, least, seconds);
}

void register_all() {
  for (const Workload& workload : bench::all_workloads()) {
    if (workload.task == bench::Task::kEpoch) continue;  // those of a step, many times
    for (const int threads : {1, 2}) {
      const std::string name = std::string(workload.name) + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [&workload, threads](benchmark::State& state) {
        time_step(state, workload, threads);
      });
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv, kProgram);
}
