// SPDX-License-Identifier: Apache-2.0
#include "scaling_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "chainrule/runtime/plan.hpp"

namespace chainrule::bench {
namespace {

double barriers(int p) { return 2 * kBarrierSeconds * std::log2(p); }

}  // namespace

double Timing::best() const { return *std::min_element(series.begin(), series.end()); }

ScalingModel::ScalingModel(const Workload& workload, Timing one, Timing two, double bandwidth)
    : one_(std::move(one)), two_(std::move(two)), bandwidth_(bandwidth) {
  const Cost cost = cost_of(workload);
  bytes_ = kWeightPasses * cost.weights * sizeof(float);
  const Index block = Plan::block_rows(workload.batch);
  blocks_ = static_cast<double>((workload.batch + block - 1) / block);
  weight_share_ = 2 * cost.weights / cost.flops_per_row;
}

double ScalingModel::parallel_time(int p) const {
  return (1 - weight_share_) / std::min<double>(p, blocks_) + weight_share_ / p;
}

double ScalingModel::serial_share(double one, double two) const {
  const double ideal = parallel_time(2);
  return std::max(0.0, ((two - barriers(2)) / one - ideal) / (1 - ideal));
}

double ScalingModel::seconds(int p, double serial_share) const {
  const double computing =
      one_.best() * (serial_share + (1 - serial_share) * parallel_time(p)) + barriers(p);
  return std::max(computing, bytes_ / (bandwidth_ * std::min(p, kControllerThreads)));
}

bool ScalingModel::is_serial() const { return two_.participants == 1 && one_.best() < barriers(2); }

std::string ScalingModel::doubt() const {
  constexpr double kLeastCpuShare = 0.85;
  constexpr int kCores = 8;
  constexpr double kMostSpread = 1.5;
  if (is_serial()) return "";
  for (const Timing* timing : {&one_, &two_}) {
    if (timing->cpu_share < kLeastCpuShare) {
      return fmt::format("too noisy: {} thread{} got {:.0f} % of the CPU time", timing->threads,
                         timing->threads == 1 ? "" : "s", 100 * timing->cpu_share);
    }
  }
  if (two_.participants == 1)
    return "no second thread took part: too noisy, or too little to share";
  if (serial_share() >= 1) return "two threads gained nothing: too noisy, or too little to share";
  // The series were run in turn: one of either at a time is a measurement of its own.
  std::vector<double> predictions;
  for (std::size_t i = 0; i < one_.series.size(); ++i) {
    predictions.push_back(seconds(kCores, serial_share(one_.series[i], two_.series[i])));
  }
  std::sort(predictions.begin(), predictions.end());
  const std::size_t quarter = predictions.size() / 4;
  const double spread = predictions[predictions.size() - 1 - quarter] / predictions[quarter];
  if (spread <= kMostSpread) return "";
  return fmt::format("too noisy: of {} measurements the quartiles differ {:.1f} times for {} cores",
                     predictions.size(), spread, kCores);
}

}  // namespace chainrule::bench
