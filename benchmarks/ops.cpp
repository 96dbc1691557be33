// SPDX-License-Identifier: Apache-2.0
//
// Every row of the case table: forward and backward of one op in a plan of its own, one thread.

#include <string>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/check/check_case.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/executor.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

constexpr CaseSize kTimed{.name = "timed", .rows = 128, .columns = 256};

CompileOptions options_for(const CaseInstance& instance, const OpCase& one, DType dtype,
                           bool backward) {
  CompileOptions options;
  options.dtype = dtype;
  options.mode = one.mode;
  if (!backward) {
    options.outputs = {instance.output()};
    return options;
  }
  options.cotangents = {instance.output()};
  const Node& node = instance.output().node();
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    if (((one.op->traits.differentiable_inputs >> i) & 1U) != 0) {
      options.gradients.emplace_back(instance.output().graph(), node.inputs[i]);
    }
  }
  return options;
}

// A case at the size that is timed, its plan and everything a run needs.
class Timed {
 public:
  Timed(const OpCase& one, DType dtype, bool backward, const KernelTable& kernels)
      : instance_(one, kTimed, dtype),
        options_(options_for(instance_, one, dtype, backward)),
        plan_(compile(instance_.graph(), with(options_, kernels))),
        workspace_(executor_.make_workspace(plan_, instance_.rows())),
        feed_(instance_.feed()),
        bindings_(plan_) {
    for (const auto& [value, view] : feed_.inputs) bindings_.input(value, view);
    if (feed_.parameters != nullptr) bindings_.parameters(*feed_.parameters);
    if (!backward) return;
    const Shape& shape = instance_.output().shape();
    cotangent_ =
        Tensor(shape.is_batched() ? Shape{instance_.rows(), shape.columns()} : shape, dtype);
    initialize(uniform(1), {.seed = 1, .stream = 9}, cotangent_);
    bindings_.cotangent(instance_.output(), cotangent_);
  }

  void run() { executor_.run(workspace_, bindings_); }
  double flops() const { return plan_.flops(instance_.rows()); }
  const KernelTable& kernels() const { return plan_.kernels(); }

  /// Outputs or gradients, after a run.
  std::vector<ConstTensorView> results() const {
    std::vector<ConstTensorView> all;
    for (const Value& value : options_.outputs) all.push_back(workspace_.output(value));
    for (const Value& value : options_.gradients) all.push_back(workspace_.gradient(value));
    return all;
  }

 private:
  static CompileOptions with(CompileOptions options, const KernelTable& kernels) {
    options.kernels = &kernels;
    return options;
  }

  CaseInstance instance_;
  CompileOptions options_;
  Plan plan_;
  Executor executor_;
  Workspace workspace_;
  Feed feed_;
  Bindings bindings_;
  Tensor cotangent_;
};

// The gradient checker passes the op, and at this size it agrees with float64 on baseline kernels.
bool is_right(const OpCase& one, DType dtype, bool backward, Timed& timed) {
  if (!check_case(one, case_sizes()[0], dtype).ok()) return false;
  Timed reference(one, DType::kFloat64, backward, kernels_named("baseline"));
  timed.run();
  reference.run();
  const std::vector<ConstTensorView> ours = timed.results(), right = reference.results();
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (!bench::agrees(ours[i], right[i], dtype == DType::kFloat32 ? 1e-4 : 1e-11)) return false;
  }
  return !ours.empty();
}

void time_op(benchmark::State& state, const OpCase& one, DType dtype, bool backward) {
  if (backward && !one.op->has_gradient()) {
    state.SkipWithError("no gradient");
    return;
  }
  Timed timed(one, dtype, backward, default_kernels());
  if (!is_right(one, dtype, backward, timed)) {
    state.SkipWithError("wrong result");
    return;
  }
  const double seconds = bench::timed(state, [&] { timed.run(); });
  if (dtype == DType::kFloat32) {
    bench::report_flops<float>(state, timed.kernels(), timed.flops(), seconds);
  } else {
    bench::report_flops<double>(state, timed.kernels(), timed.flops(), seconds);
  }
}

void register_all() {
  for (const OpCase& one : op_cases()) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      for (const bool backward : {false, true}) {
        const std::string name = one.name() + (backward ? "/forward+backward/" : "/forward/") +
                                 std::string(to_string(dtype));
        benchmark::RegisterBenchmark(name.c_str(),
                                     [&one, dtype, backward](benchmark::State& state) {
                                       time_op(state, one, dtype, backward);
                                     });
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv);
}
