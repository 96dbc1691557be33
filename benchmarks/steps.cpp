// SPDX-License-Identifier: Apache-2.0
//
// Whole training steps, predictions and gradients of named networks, on one and two threads, beside
// what the machine allows: its FMA peak, or the bytes that must be read.

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "chainrule/core/initializer.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/learn/optimizer.hpp"
#include "chainrule/runtime/executor.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

// What a run does: a training step, predictions, or the gradient of the loss alone.
enum class Task { kStep, kPredict, kGradient };
// What it cannot be faster than.
enum class Limit { kFmaPeak, kWeightBytes, kInputBytes };

struct Workload {
  const char* name;
  const char* widths;
  Index batch;
  Task task;
  Limit limit = Limit::kFmaPeak;
};

constexpr std::array<Workload, 12> kWorkloads = {{
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
}};

// Elements of the weight matrices, and the flops of their products for one row: 2 K N forward, as
// much again for dW, and for dX but of the first layer.
struct Cost {
  double weights = 0;
  double flops_per_row = 0;
};

Cost cost_of(const Model& model, Task task) {
  Cost cost;
  for (const Layer& layer : model.layers()) {
    const auto* linear = std::get_if<Linear>(&layer);
    if (linear == nullptr) continue;
    const double products = task == Task::kPredict ? 1 : cost.weights == 0 ? 2 : 3;
    const double weights = static_cast<double>(linear->in) * static_cast<double>(linear->out);
    cost.weights += weights;
    cost.flops_per_row += 2 * products * weights;
  }
  return cost;
}

// A network with plain SGD, its plan and everything a run needs.
class Step {
 public:
  Step(const Workload& workload, DType dtype, int threads)
      : model_(mlp_layers(workload.widths, Relu{}), likelihood(workload), dtype, 1),
        executor_(threads),
        options_(options(model_, workload, dtype)),
        plan_(compile(model_.network().graph(), options_)),
        workspace_(executor_.make_workspace(plan_, workload.batch)),
        bindings_(plan_),
        x_({workload.batch, model_.inputs()}, dtype),
        target_({workload.batch, model_.outputs()}, dtype) {
    initialize(uniform(1), {.seed = 1, .stream = 1}, x_);
    initialize(uniform(1), {.seed = 1, .stream = 2}, target_);
    bindings_.input(model_.network().x(), x_).parameters(model_.parameters());
    if (workload.task != Task::kPredict) bindings_.input(model_.network().target(), target_);
    if (workload.task == Task::kStep) {
      update_scalars(sgd_, sgd_.learning_rate, 1, scalars_);
      bindings_.optimizer(state_, scalars_);
    }
    if (workload.task == Task::kGradient) make_classes();
  }

  void run() { executor_.run(workspace_, bindings_); }
  const Executor& executor() const { return executor_; }
  const Plan& plan() const { return plan_; }
  const Model& model() const { return model_; }
  /// What a run computes: predictions and weights, or the loss's gradients.
  std::vector<ConstTensorView> results() const {
    std::vector<ConstTensorView> all;
    for (const Value& value : options_.outputs) all.push_back(workspace_.output(value));
    for (const Value& value : options_.gradients) all.push_back(workspace_.gradient(value));
    for (Index i = 0; i < model_.parameters().size(); ++i) {
      all.push_back(model_.parameters().view(i));
    }
    return all;
  }

 private:
  static Likelihood likelihood(const Workload& workload) {
    if (workload.task == Task::kGradient) return Bernoulli{};
    return Gaussian{};
  }
  // Targets 0 and 1.
  void make_classes() {
    for (Index i = 0; i < target_.rows(); ++i) {
      set_element(target_.view(), i, 0, element(target_, i, 0) > 0 ? 1 : 0);
    }
  }
  static CompileOptions options(const Model& model, const Workload& workload, DType dtype) {
    CompileOptions result;
    result.dtype = dtype;
    result.mode = workload.task == Task::kPredict ? Mode::kInference : Mode::kTraining;
    if (workload.task != Task::kGradient) result.outputs = {model.network().prediction(false)};
    if (workload.task == Task::kPredict) return result;
    result.loss = model.network().loss({});
    if (workload.task == Task::kStep) {
      result.update = UpdateOptions{.def = &update_def(Sgd{}), .targets = {}};
    }
    Graph* const graph = model.network().x().graph();
    for (const auto& entry : model.parameters().layout().entries) {
      const Value parameter(graph, entry.node);
      if (workload.task == Task::kGradient) {
        result.gradients.push_back(parameter);
      } else {
        result.update->targets.push_back({.parameter = parameter, .group = 0});
      }
    }
    return result;
  }

  Sgd sgd_{.learning_rate = 1e-4};
  Model model_;
  Executor executor_;
  CompileOptions options_;
  Plan plan_;
  Workspace workspace_;
  Bindings bindings_;
  OptimizerState state_;
  std::array<double, kParameterGroups * kUpdateScalars> scalars_{};
  Tensor x_;
  Tensor target_;
};

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
  const Cost cost = cost_of(step.model(), workload.task);
  const KernelTable& kernels = step.plan().kernels();
  const double least = limit(workload, cost, kernels, threads);
  double seconds = 0;
  step.executor().with_residents([&] { seconds = bench::timed(state, [&] { step.run(); }); });
  const double flops = cost.flops_per_row * static_cast<double>(workload.batch);
  bench::report_flops<float>(state, kernels, flops, seconds, threads);
  state.counters["fraction_of_limit"] = least / seconds;
  state.counters["bits_ok"] = verdict.bits ? 1 : 0;
}

void register_all() {
  for (const Workload& workload : kWorkloads) {
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
