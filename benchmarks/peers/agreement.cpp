// SPDX-License-Identifier: Apache-2.0
#include "agreement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "contender.hpp"
#include "contest.hpp"

namespace chainrule::bench {
namespace {

// Results that share a scale, as differences from `start`.
struct Block {
  std::string name;
  std::vector<float> start;
};

std::vector<Block> blocks_of(const Workload& workload) {
  const std::vector<Index> widths = widths_of(workload);
  const auto zeros = [](Index count) {
    return std::vector<float>(static_cast<std::size_t>(count), 0.0F);
  };
  if (workload.task == Task::kPredict)
    return {{"predictions", zeros(workload.batch * widths.back())}};
  if (workload.task == Task::kGradient) return {{"gradient", zeros(widths.front() + 1)}};
  std::vector<Block> blocks;
  const auto add = [&](const char* part, const Tensor& start) {
    Block& block = blocks.emplace_back();
    block.name = fmt::format("change of {} {}", part, (blocks.size() - 1) / 2);
    append(block.start, start);
  };
  for (const LinearValues& layer : initial_layers(workload)) {
    add("weights", layer.weights);
    add("bias", layer.bias);
  }
  return blocks;
}

// What rounding may do to a weight to which each row is added by itself.
double rounding(const Workload& workload, float start) {
  const auto rows = static_cast<double>(checked(workload).rows());
  const double additions = std::sqrt(rows) * kCheckedRuns;
  return additions * std::numeric_limits<float>::epsilon() * std::abs(static_cast<double>(start));
}

std::string compare(const Workload& workload, const Block& block, const float* theirs,
                    const float* ours) {
  const std::size_t count = block.start.size();
  const auto moved = [&](const float* values, std::size_t i) {
    return static_cast<double>(values[i]) - static_cast<double>(block.start[i]);
  };
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(moved(ours, i)));
  for (std::size_t i = 0; i < count; ++i) {
    const double got = moved(theirs, i), expected = moved(ours, i);
    const double tolerated = kTolerance * largest + rounding(workload, block.start[i]);
    if (std::abs(got - expected) <= tolerated) continue;
    return fmt::format("{}, element {}: {:.6g}, ours {:.6g}, tolerated {:.2g}", block.name, i, got,
                       expected, tolerated);
  }
  return "";
}

}  // namespace

std::string disagreement(const Workload& workload, const std::vector<float>& results,
                         const std::vector<float>& ours) {
  const std::vector<Block> blocks = blocks_of(workload);
  std::size_t count = 0;
  for (const Block& block : blocks) count += block.start.size();
  for (const std::vector<float>* values : {&ours, &results}) {
    if (values->size() != count) {
      return fmt::format("{} results, expected {}", values->size(), count);
    }
  }
  std::size_t at = 0;
  for (const Block& block : blocks) {
    const std::string found = compare(workload, block, results.data() + at, ours.data() + at);
    if (!found.empty()) return found;
    at += block.start.size();
  }
  return "";
}

}  // namespace chainrule::bench
