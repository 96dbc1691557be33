// SPDX-License-Identifier: Apache-2.0
#include "step.hpp"

namespace chainrule::bench {
namespace {

Likelihood likelihood_of(Task task) {
  if (task == Task::kEpoch) return Categorical{};
  if (task == Task::kGradient) return Bernoulli{};
  return Gaussian{};
}

CompileOptions compile_options(const Model& model, const Workload& workload, DType dtype) {
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

}  // namespace

Model model_of(const Workload& workload, DType dtype) {
  Model model(mlp_layers(workload.widths, Relu{}), likelihood_of(workload.task), dtype);
  Index entry = 0;
  for (const LinearValues& layer : initial_layers(workload, dtype)) {
    for (const Tensor* values : {&layer.weights, &layer.bias}) {
      copy_values(*values, model.parameters().mutable_view(entry++));
    }
  }
  return model;
}

Step::Step(const Workload& workload, DType dtype, int threads)
    : model_(model_of(workload, dtype)),
      executor_(threads),
      options_(compile_options(model_, workload, dtype)),
      plan_(compile(model_.network().graph(), options_)),
      workspace_(executor_.make_workspace(plan_, workload.batch)),
      bindings_(plan_),
      // What is read from memory once should be nothing but numbers.
      x_(inputs_of(workload, dtype,
                   workload.task == Task::kGradient ? Layout::kDense : Layout::kPadded)) {
  bindings_.input(model_.network().x(), x_).parameters(model_.parameters());
  if (workload.task != Task::kPredict) {
    target_ = targets_of(workload, dtype, Layout::kPadded);
    bindings_.input(model_.network().target(), target_);
  }
  if (workload.task == Task::kStep) {
    update_scalars(sgd_, sgd_.learning_rate, 1, scalars_);
    bindings_.optimizer(state_, scalars_);
  }
}

std::vector<ConstTensorView> Step::gradients() const {
  std::vector<ConstTensorView> all;
  for (const Value& value : options_.gradients) all.push_back(workspace_.gradient(value));
  return all;
}

std::vector<ConstTensorView> Step::parameters() const {
  std::vector<ConstTensorView> all;
  for (Index i = 0; i < model_.parameters().size(); ++i) {
    all.push_back(model_.parameters().view(i));
  }
  return all;
}

std::vector<ConstTensorView> Step::results() const {
  std::vector<ConstTensorView> all = gradients();
  if (!options_.outputs.empty()) all.push_back(predictions());
  const std::vector<ConstTensorView> values = parameters();
  all.insert(all.end(), values.begin(), values.end());
  return all;
}

}  // namespace chainrule::bench
