// SPDX-License-Identifier: Apache-2.0
#include "training_case.hpp"

#include <algorithm>

#include "chainrule/ops/ops.hpp"

namespace chainrule::testing {

CompileOptions TrainingCase::options(Graph& g, DType dtype, GemmPath gemm) {
  const Value x = g.input("x", {kBatch, 64});
  const Value y = g.labels("y");
  const Value weights = g.input("weights", {kBatch});
  const auto linear = [&](Value in, const std::string& name, Index inputs, Index outputs) {
    return add_bias(matmul(in, g.parameter(name + ".w", {inputs, outputs})),
                    g.parameter(name + ".b", {outputs}));
  };
  Value h = meet(linear(x, "first", 64, 96));
  h = batch_norm(h, g.parameter("gamma", {96}, ones()), g.parameter("beta", {96}),
                 g.state("mean", {96}, zeros()), g.state("variance", {96}, ones()));
  h = dropout(relu(h), 0.3);
  const Value shared = g.parameter("shared", {96, 96});
  h = gelu(matmul(h, shared));
  h = layer_norm(matmul(h, shared), g.parameter("scale", {96}, ones()), g.parameter("shift", {96}));
  const Value z = g.rename(linear(h, "last", 96, 10), "z");

  CompileOptions options;
  options.loss = softmax_cross_entropy(z, y, {.label_smoothing = 0.1, .weights = weights});
  options.dtype = dtype;
  options.gemm = gemm;
  options.outputs = {z};
  options.gradients = {x};
  options.update = UpdateOptions{.def = &kAdamUpdate, .targets = all_parameters(g)};
  return options;
}

TrainingCase::TrainingCase(DType dtype, GemmPath gemm)
    : plan_(compile(graph_, options(graph_, dtype, gemm))),
      x_(random_tensor({3 * kRows, 64}, dtype, 1)),
      labels_(random_labels(3 * kRows, 10, 2)),
      weights_(random_tensor({3 * kRows, 1}, dtype, 3)) {
  for (int step = 1; step <= kMaxSteps; ++step) scalars_.push_back(adam_scalars(1e-2, step));
  // Weights in [0, 2), and one row in five that counts for nothing.
  for (Index i = 0; i < weights_.rows(); ++i) {
    const auto set = [&](auto view) { view(i, 0) = i % 5 == 0 ? 0 : view(i, 0) + 1; };
    dtype == DType::kFloat32 ? set(weights_.as<float>()) : set(weights_.as<double>());
  }
}

void TrainingCase::bind_batch(Bindings& bindings, int step) const {
  const Index rows = step % 3 == 2 ? kLastRows : kRows;
  const auto batch = [&](const Tensor& all) {
    ConstTensorView view = first_rows(all, rows);
    view.data = static_cast<const std::byte*>(view.data) +
                (step % 3) * kRows * view.ld * size_of(view.dtype);
    return view;
  };
  bindings.input("x", batch(x_)).input("y", batch(labels_)).input("weights", batch(weights_));
}

TrainingCase::Result TrainingCase::train(const Executor& executor, int steps, bool resident,
                                         int wait_for) const {
  Parameters parameters(graph_, plan_.dtype(), 5);
  OptimizerState state(parameters.layout(), kAdamUpdate.state_slots);
  Workspace workspace = executor.make_workspace(plan_, kRows);
  Result result;
  const Meeting meeting(wait_for);
  const auto body = [&] {
    Bindings bindings(plan_);
    bindings.parameters(parameters);
    for (int step = 0; step < steps; ++step) {
      bindings.optimizer(state, scalars_.at(static_cast<std::size_t>(step)));
      bindings.random({.seed = 9, .stream = static_cast<unsigned>(step)});
      bind_batch(bindings, step);
      executor.run(workspace, bindings);
      result.losses.push_back(workspace.loss());
    }
  };
  if (resident) {
    result.participants = executor.with_residents(body);
  } else {
    body();
    result.participants = std::max(1, meeting.arrived());
  }
  result.parameters = bytes(parameters);
  result.optimizer = bytes(state);
  Graph& graph = const_cast<Graph&>(graph_);
  result.last =
      bytes(workspace.output(graph.find("z"))) + bytes(workspace.gradient(graph.find("x")));
  return result;
}

}  // namespace chainrule::testing
