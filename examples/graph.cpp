// SPDX-License-Identifier: Apache-2.0
//
// One floor below Model: a graph of ops, its gradients, and the objects of the chain rule.

#include <chainrule/chainrule.hpp>
#include <iostream>

namespace cr = chainrule;

int main() {
  cr::Graph graph;
  const cr::Value x = graph.input("x", {cr::kBatch, 3});
  const cr::Value y = graph.labels("y");
  const cr::Value w = graph.parameter("w", {3, 2});
  const cr::Value b = graph.parameter("b", {2});
  const cr::Value z = cr::add_bias(cr::matmul(x, w), b);
  const cr::Value loss = cr::softmax_cross_entropy(z, y);

  // Compile once, run many times; here once, in float64.
  const cr::Plan plan =
      cr::compile(graph, {.dtype = cr::DType::kFloat64, .loss = loss, .gradients = {w, z}});
  const cr::Parameters parameters(graph, cr::DType::kFloat64, /*seed=*/1);
  const double inputs[] = {1, 2, 3, -1, 0.5, 2};
  const std::int32_t labels[] = {0, 1};
  const cr::ConstTensorView x_view(inputs, cr::DType::kFloat64, 2, 3, 3);
  const cr::ConstTensorView y_view(labels, cr::DType::kInt32, 2, 1, 1);

  const cr::Executor executor;
  cr::Workspace workspace = executor.make_workspace(plan, 2);
  cr::Bindings bindings(plan);
  bindings.input(x, x_view).input(y, y_view).parameters(parameters);
  executor.run(workspace, bindings);
  std::cout << "loss " << workspace.loss() << "\n";
  std::cout << "delta of z, first row: " << cr::element(workspace.gradient(z), 0, 0) << " "
            << cr::element(workspace.gradient(z), 0, 1) << "\n";

  // The Jacobian dz/dx of each row is W transposed.
  const cr::Feed feed{.inputs = {{x, x_view}, {y, y_view}}, .parameters = &parameters};
  const cr::Tensor jacobian = cr::jacobian(graph, z, x, feed);
  std::cout << "dz/dx is " << cr::to_string(jacobian.shape())
            << "; dz_0/dx_2 = " << cr::element(jacobian.view(), 0, 2)
            << " = w_20 = " << cr::element(parameters.view(w), 2, 0) << "\n";

  // Nothing is trusted: every gradient against finite differences.
  std::cout << cr::check_gradients(graph, loss, feed).to_text();
}
