// SPDX-License-Identifier: Apache-2.0
//
// Whole training steps and predictions of named networks, on one and two threads.

#include <array>
#include <cmath>
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

struct Workload {
  const char* name;
  const char* widths;
  Index batch;
  bool training;
};

constexpr std::array<Workload, 11> kWorkloads = {{
    {"tiny-step", "4-8-1", 1, true},
    {"tiny-predict", "4-8-1", 1, false},
    {"small-step", "32-64-64-1", 32, true},
    {"small-predict", "32-64-64-1", 32, false},
    {"mnist-step-32", "784-128-10", 32, true},
    {"mnist-step-128", "784-128-10", 128, true},
    {"deep-step", "784-512-512-10", 128, true},
    {"wide-step", "1024-1024-1024-1024", 256, true},
    {"deep-predict", "784-512-512-10", 128, false},
    {"latency", "784-128-10", 1, false},
    {"bulk-predict", "16-16-16-16-16", 262144, false},
}};

// Matrix products only: 2 B N K forward, as much again for dW, and for dX but of the first layer.
double flops_of(const Model& model, const Workload& workload) {
  double flops = 0;
  bool first = true;
  for (const Layer& layer : model.layers()) {
    const auto* linear = std::get_if<Linear>(&layer);
    if (linear == nullptr) continue;
    const double product = 2.0 * static_cast<double>(workload.batch) *
                           static_cast<double>(linear->in) * static_cast<double>(linear->out);
    flops += product * (workload.training ? (first ? 2 : 3) : 1);
    first = false;
  }
  return flops;
}

// A network with squared error and plain SGD, its plan and everything a run needs.
class Step {
 public:
  Step(const Workload& workload, DType dtype, int threads)
      : model_(mlp_layers(workload.widths, Relu{}), Gaussian{}, dtype, 1),
        executor_(threads),
        plan_(compile(model_.network().graph(), options(model_, workload, dtype))),
        workspace_(executor_.make_workspace(plan_, workload.batch)),
        bindings_(plan_),
        x_({workload.batch, model_.inputs()}, dtype),
        target_({workload.batch, model_.outputs()}, dtype) {
    initialize(uniform(1), {.seed = 1, .stream = 1}, x_);
    initialize(uniform(1), {.seed = 1, .stream = 2}, target_);
    bindings_.input(model_.network().x(), x_).parameters(model_.parameters());
    if (workload.training) {
      update_scalars(sgd_, sgd_.learning_rate, 1, scalars_);
      bindings_.input(model_.network().target(), target_).optimizer(state_, scalars_);
    }
  }

  void run() { executor_.run(workspace_, bindings_); }
  const Executor& executor() const { return executor_; }
  const Plan& plan() const { return plan_; }
  const Model& model() const { return model_; }
  ConstTensorView prediction() const {
    return workspace_.output(model_.network().prediction(false));
  }

 private:
  static CompileOptions options(const Model& model, const Workload& workload, DType dtype) {
    CompileOptions result;
    result.dtype = dtype;
    result.mode = workload.training ? Mode::kTraining : Mode::kInference;
    result.outputs = {model.network().prediction(false)};
    if (!workload.training) return result;
    result.loss = model.network().loss({});
    result.update = UpdateOptions{.def = &update_def(Sgd{}), .targets = {}};
    Graph* const graph = model.network().x().graph();
    for (const auto& entry : model.parameters().layout().entries) {
      result.update->targets.push_back({.parameter = Value(graph, entry.node), .group = 0});
    }
    return result;
  }

  Sgd sgd_{.learning_rate = 1e-4};
  Model model_;
  Executor executor_;
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

bool agrees(ConstTensorView value, ConstTensorView reference) {
  for (Index i = 0; i < value.rows; ++i) {
    for (Index j = 0; j < value.columns; ++j) {
      const double expected = element(reference, i, j);
      if (!(std::abs(element(value, i, j) - expected) <= 1e-4 * (1 + std::abs(expected)))) {
        return false;
      }
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
  Verdict verdict{.right = agrees(measured.prediction(), reference.prediction()),
                  .bits = same_bits(measured.prediction(), serial.prediction())};
  const Parameters& ours = measured.model().parameters();
  for (Index i = 0; i < ours.size(); ++i) {
    verdict.right &= agrees(ours.view(i), reference.model().parameters().view(i));
    verdict.bits &= same_bits(ours.view(i), serial.model().parameters().view(i));
  }
  return verdict;
}

void time_step(benchmark::State& state, const Workload& workload, int threads) {
  const Verdict verdict = judge(workload, threads);
  if (!verdict.right || !verdict.bits) {
    state.SkipWithError(verdict.right ? "other bits than the serial executor" : "wrong result");
    return;
  }
  Step step(workload, DType::kFloat32, threads);
  step.executor().with_residents([&] {
    for (auto _ : state) step.run();
  });
  bench::report_flops<float>(state, step.plan().kernels(), flops_of(step.model(), workload),
                             threads);
  state.counters["bits_ok"] = verdict.bits ? 1 : 0;
}

void register_all() {
  for (const Workload& workload : kWorkloads) {
    for (const int threads : {1, 2}) {
      const std::string name = std::string(workload.name) + "/threads:" + std::to_string(threads);
      benchmark::RegisterBenchmark(name.c_str(), [&workload, threads](benchmark::State& state) {
        time_step(state, workload, threads);
      })->UseRealTime();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv);
}
