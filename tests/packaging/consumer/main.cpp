// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <chainrule/chainrule.hpp>
#include <iostream>
#include <span>

namespace cr = chainrule;

// The mean of x w with w = (0.5, 0.5); its gradient is the mean of the rows of x.
int main() {
  cr::Graph graph;
  const cr::Value x = graph.input("x", {cr::kBatch, 2});
  const cr::Value w = graph.parameter("w", {2, 1}, cr::constant(0.5));
  const cr::Value loss = cr::reduce_mean(cr::matmul(x, w), cr::Axis::kAll);
  const cr::Plan plan = cr::compile(graph, {.loss = loss, .gradients = {w}});

  const cr::Parameters parameters(graph);
  const std::array<float, 4> rows{1, 2, 3, 4};
  const cr::Tensor batch = cr::Tensor::from<float>({2, 2}, std::span<const float>(rows));
  const cr::Executor executor(2);
  cr::Workspace workspace = executor.make_workspace(plan, 2);
  cr::Bindings bindings(plan);
  bindings.input(x, batch.view()).parameters(parameters);
  executor.run(workspace, bindings);

  const cr::ConstTensorView gradient = workspace.gradient(w);
  std::cout << "loss " << workspace.loss() << " gradient " << cr::element(gradient, 0, 0) << " "
            << cr::element(gradient, 1, 0) << "\n";

  try {
    cr::matmul(w, w);
  } catch (const cr::ShapeError& error) {  // the type crosses the border of a shared library
    std::cout << "caught " << error.what() << "\n";
  }
}
