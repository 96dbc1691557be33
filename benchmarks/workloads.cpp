// SPDX-License-Identifier: Apache-2.0
#include "workloads.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "chainrule/core/initializer.hpp"
#include "chainrule/core/random.hpp"

namespace chainrule::bench {
namespace {

constexpr std::array<Workload, 13> kWorkloads = {{
    {"tiny-step", "4-8-1", 1, Task::kStep},
    {"tiny-predict", "4-8-1", 1, Task::kPredict},
    {"small-step", "32-64-64-1", 32, Task::kStep},
    {"small-predict", "32-64-64-1", 32, Task::kPredict},
    {"mnist-step-32", "784-128-10", 32, Task::kStep},
    {"mnist-step-128", "784-128-10", 128, Task::kStep},
    {"deep-step", "784-512-512-10", 128, Task::kStep},
    {"wide-step", "1024-1024-1024-1024", 256, Task::kStep},
    {"deep-predict", "784-512-512-10", 128, Task::kPredict},
    {"latency", "784-128-10", 1, Task::kPredict, Limit::kWeightBytes},
    {"bulk-predict", "16-16-16-16-16", 262144, Task::kPredict},
    {"glm-gradient", "128-1", 400000, Task::kGradient, Limit::kInputBytes},
    // As large as Fashion-MNIST.
    {"fashion-epoch", "784-256-128-10", 128, Task::kEpoch, Limit::kFmaPeak, 60000},
}};

constexpr std::uint64_t kSeed = 1;
// Streams of the data; the layers' are 2 i and 2 i + 1.
constexpr std::uint64_t kInputStream = 100;
constexpr std::uint64_t kTargetStream = 101;

Tensor drawn(const Initializer& initializer, std::uint64_t stream, const Shape& shape, DType dtype,
             Layout layout) {
  Tensor values(shape, dtype, layout);
  initialize(initializer, {.seed = kSeed, .stream = stream}, values);
  return values;
}

}  // namespace

std::string_view name_of(Task task) {
  switch (task) {
    case Task::kStep:
      return "step";
    case Task::kPredict:
      return "predict";
    case Task::kEpoch:
      return "epoch";
    case Task::kGradient:
      break;
  }
  return "gradient";
}

std::span<const Workload> all_workloads() { return kWorkloads; }

const Workload* find_workload(std::string_view name) {
  const auto found = std::find_if(kWorkloads.begin(), kWorkloads.end(),
                                  [&](const Workload& workload) { return workload.name == name; });
  return found == kWorkloads.end() ? nullptr : &*found;
}

Cost cost_of(const Workload& workload) {
  Cost cost;
  const std::vector<Index> widths = widths_of(workload);
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    const double products = workload.task == Task::kPredict ? 1 : i == 0 ? 2 : 3;
    const double weights = static_cast<double>(widths[i]) * static_cast<double>(widths[i + 1]);
    cost.weights += weights;
    cost.flops_per_row += 2 * products * weights;
  }
  return cost;
}

std::vector<Index> widths_of(const Workload& workload) {
  std::vector<Index> widths;
  const std::string_view text = workload.widths;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end; ++at) {  // past the '-'
    at = std::from_chars(at, end, widths.emplace_back()).ptr;
  }
  return widths;
}

std::vector<LinearValues> initial_layers(const Workload& workload, DType dtype, Layout layout) {
  const std::vector<Index> widths = widths_of(workload);
  std::vector<LinearValues> layers;
  for (std::size_t i = 0; i + 1 < widths.size(); ++i) {
    Initializer glorot = glorot_uniform();
    glorot.fan_in = widths[i];
    glorot.fan_out = widths[i + 1];
    layers.push_back({.weights = drawn(glorot, 2 * i, {widths[i], widths[i + 1]}, dtype, layout),
                      .bias = drawn(glorot, 2 * i + 1, {1, widths[i + 1]}, dtype, layout)});
  }
  return layers;
}

Tensor inputs_of(const Workload& workload, DType dtype, Layout layout) {
  const Shape shape{workload.rows(), widths_of(workload).front()};
  return drawn(uniform(1), kInputStream, shape, dtype, layout);
}

Tensor targets_of(const Workload& workload, DType dtype, Layout layout) {
  const Shape shape{workload.batch, widths_of(workload).back()};
  Tensor targets = drawn(uniform(1), kTargetStream, shape, dtype, layout);
  if (workload.task != Task::kGradient) return targets;
  for (Index i = 0; i < targets.rows(); ++i) {
    set_element(targets, i, 0, element(targets, i, 0) > 0 ? 1 : 0);
  }
  return targets;
}

std::vector<std::int32_t> labels_of(const Workload& workload) {
  const Tensor x = inputs_of(workload);
  const Index classes = widths_of(workload).back();
  std::vector<std::int32_t> labels;
  for (Index i = 0; i < x.rows(); ++i) {
    const float* const row = x.as<float>().row(i);
    labels.push_back(static_cast<std::int32_t>(std::max_element(row, row + classes) - row));
  }
  return labels;
}

std::vector<std::uint32_t> order_of(const Workload& workload, Index epoch) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(workload.rows()));
  const RandomKey key{.seed = kShuffleSeed, .stream = static_cast<std::uint64_t>(epoch)};
  random_permutation(derive(key, 0), order);
  return order;
}

}  // namespace chainrule::bench
