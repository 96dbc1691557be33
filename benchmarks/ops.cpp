// SPDX-License-Identifier: Apache-2.0
//
// Every row of the case table: forward and backward of one op in a plan of its own, one thread.

#include <string>

#include "chainrule/check/case_table.hpp"
#include "chainrule/check/check_case.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/executor.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

constexpr CaseSize kTimed{.name = "timed", .rows = 128, .columns = 256};

// Only what the gradient checker passes is timed; it sees the first, typical size.
bool is_right(const OpCase& one, DType dtype) {
  return check_case(one, case_sizes()[0], dtype).ok();
}

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

void time_op(benchmark::State& state, const OpCase& one, DType dtype, bool backward) {
  if (backward && !one.op->has_gradient()) {
    state.SkipWithError("no gradient");
    return;
  }
  if (!is_right(one, dtype)) {
    state.SkipWithError("wrong result");
    return;
  }
  CaseInstance instance(one, kTimed, dtype);
  const Plan plan = compile(instance.graph(), options_for(instance, one, dtype, backward));
  const Executor executor;
  Workspace workspace = executor.make_workspace(plan, instance.rows());
  const Feed feed = instance.feed();
  Bindings bindings(plan);
  for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
  if (feed.parameters != nullptr) bindings.parameters(*feed.parameters);
  const Shape& shape = instance.output().shape();
  Tensor cotangent(shape.is_batched() ? Shape{instance.rows(), shape.columns()} : shape, dtype);
  if (backward) {
    initialize(uniform(1), {.seed = 1, .stream = 9}, cotangent);
    bindings.cotangent(instance.output(), cotangent);
  }
  for (auto _ : state) executor.run(workspace, bindings);
  const double flops = plan.flops(instance.rows());
  if (dtype == DType::kFloat32) {
    bench::report_flops<float>(state, plan.kernels(), flops);
  } else {
    bench::report_flops<double>(state, plan.kernels(), flops);
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
