// SPDX-License-Identifier: Apache-2.0
//
// Whole training steps, predictions and gradients of named networks, on one and two threads, beside
// what the machine allows: its FMA peak, or the bytes that must be read.

#include <cstring>
#include <string>
#include <vector>

#include "common.hpp"
#include "step.hpp"
#include "workloads.hpp"

namespace {

using namespace chainrule;

using bench::Cost;
using bench::Limit;
using bench::Step;
using bench::Workload;

bool same_bits(ConstTensorView a, ConstTensorView b) {
  for (Index i = 0; i < a.rows; ++i) {
    const auto* left = static_cast<const std::byte*>(a.data) + i * a.ld * size_of(a.dtype);
    const auto* right = static_cast<const std::byte*>(b.data) + i * b.ld * size_of(b.dtype);
    if (std::memcmp(left, right, static_cast<std::size_t>(a.columns * size_of(a.dtype))) != 0) {
      return false;
    }
  }
  return true;
}

// Three steps against float64 (right) and against the serial executor (same bits).
struct Verdict {
  bool right = true;
  bool bits = true;
};

Verdict judge(const Workload& workload, int threads) {
  Step measured(workload, DType::kFloat32, threads);
  Step serial(workload, DType::kFloat32, 1);
  Step reference(workload, DType::kFloat64, 1);
  for (Step* step : {&measured, &serial, &reference}) {
    step->executor().with_residents([&] {
      for (int i = 0; i < 3; ++i) step->run();
    });
  }
  Verdict verdict;
  const auto ours = measured.results(), same = serial.results(), right = reference.results();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    verdict.right &= bench::agrees(ours[i], right[i], 1e-4);
    verdict.bits &= same_bits(ours[i], same[i]);
  }
  return verdict;
}

// Seconds that a run takes at least on so many threads, whose reading adds up.
double limit(const Workload& workload, const Cost& cost, const KernelTable& kernels, int threads) {
  const auto rows = static_cast<double>(workload.batch);
  const auto reading = [&](double elements) {
    const double bytes = elements * sizeof(float);
    return bytes / (bench::read_bandwidth(kernels, static_cast<Index>(bytes)) * threads);
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
  const Verdict verdict = judge(workload, threads);
  if (!verdict.right || !verdict.bits) {
    state.SkipWithError(verdict.right ? "other bits than the serial executor" : "wrong result");
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
  state.counters["fraction_of_limit"] = least / seconds;
  state.counters["bits_ok"] = verdict.bits ? 1 : 0;
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
  return chainrule::bench::run(argc, argv);
}
