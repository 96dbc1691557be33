// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/differentiate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/executor.hpp"
#include "numeric.hpp"

namespace chainrule {
namespace {

// The inputs of the feed that an evaluation reads: a feed may name more.
std::vector<std::pair<Value, ConstTensorView>> inputs_read(const Graph& graph,
                                                           const CompileOptions& options,
                                                           const Feed& feed) {
  std::vector<bool> needed(static_cast<std::size_t>(graph.size()));
  const auto mark = [&](Value value) {
    if (value && value.graph() == &graph) needed[static_cast<std::size_t>(value.id())] = true;
  };
  mark(options.loss);
  for (const Value& value : options.outputs) mark(value);
  for (const Value& value : options.output_tangents) mark(value);
  for (const Value& value : options.cotangents) mark(value);
  for (auto id = static_cast<NodeId>(graph.size()) - 1; id >= 0; --id) {
    if (!needed[static_cast<std::size_t>(id)]) continue;
    for (const NodeId i : graph.node(id).inputs) needed[static_cast<std::size_t>(i)] = true;
  }
  std::vector<std::pair<Value, ConstTensorView>> read;
  for (const auto& [value, view] : feed.inputs) {
    if (value.graph() != &graph) {
      throw ArgumentError("Feed: an input is no value of the evaluated graph");
    }
    if (needed[static_cast<std::size_t>(value.id())]) read.emplace_back(value, view);
  }
  return read;
}

Index batch_rows(const std::vector<std::pair<Value, ConstTensorView>>& inputs) {
  for (const auto& [value, view] : inputs) {
    if (value.shape().is_batched()) return view.rows;
  }
  return 0;
}

// The shape of a value in a batch of `rows`: [batch] is one column.
Shape matrix_shape(Value value, Index rows) {
  const Shape& shape = value.shape();
  if (!shape.is_batched()) return shape;
  return shape.rank() == 1 ? Shape{rows, 1} : shape.with_batch(rows);
}

Tensor copy(ConstTensorView view, const Shape& shape) {
  Tensor result(shape, view.dtype);
  copy_values(view, result.view());
  return result;
}

// One plan with its workspace, bound to a feed.
class Evaluation {
 public:
  Evaluation(const Graph& graph, const CompileOptions& options, const Feed& feed)
      : inputs_(inputs_read(graph, options, feed)),
        rows_(batch_rows(inputs_)),
        plan_(compile(graph, options)),
        workspace_(plan_, rows_),
        bindings_(plan_) {
    for (const auto& [value, view] : inputs_) bindings_.input(value, view);
    if (feed.parameters != nullptr) bindings_.parameters(*feed.parameters);
    bindings_.random(feed.random);
  }

  Index rows() const { return rows_; }
  Bindings& bindings() { return bindings_; }
  void run() { Executor().run(workspace_, bindings_); }
  const Workspace& workspace() const { return workspace_; }
  Shape shape_of(Value value) const { return matrix_shape(value, rows_); }

 private:
  std::vector<std::pair<Value, ConstTensorView>> inputs_;
  Index rows_;
  Plan plan_;
  Workspace workspace_;
  Bindings bindings_;
};

CompileOptions base_options(const Feed& feed) {
  CompileOptions options;
  options.dtype = feed.dtype;
  options.mode = feed.mode;
  return options;
}

CompileOptions vjp_options(const Feed& feed, Value output, Value node) {
  CompileOptions options = base_options(feed);
  options.cotangents = {output};
  options.gradients = {node};
  return options;
}

CompileOptions jvp_options(const Feed& feed, Value output, Value input) {
  CompileOptions options = base_options(feed);
  options.tangents = {input};
  options.output_tangents = {output};
  return options;
}

// The compiler would refuse too, but in its own terms.
void expect_dependent(std::string_view who, const Graph& graph, Value output, Value input) {
  if (output.graph() != &graph || input.graph() != &graph) return;  // compile() says so
  std::vector<bool> depends(static_cast<std::size_t>(graph.size()));
  depends[static_cast<std::size_t>(input.id())] = true;
  for (NodeId id = input.id() + 1; id <= output.id(); ++id) {
    depends[static_cast<std::size_t>(id)] = std::ranges::any_of(
        graph.node(id).inputs, [&](NodeId i) { return depends[static_cast<std::size_t>(i)]; });
  }
  if (depends[static_cast<std::size_t>(output.id())]) return;
  throw ArgumentError(fmt::format("{}: {} does not depend on {}", who, describe(output.node()),
                                  describe(input.node())));
}

bool mixes_rows(const Graph& graph, Value output, Value input, Mode mode) {
  std::vector<bool> depends(static_cast<std::size_t>(graph.size()));
  depends[static_cast<std::size_t>(input.id())] = true;
  for (NodeId id = input.id() + 1; id <= output.id(); ++id) {
    const Node& node = graph.node(id);
    const bool any = std::any_of(node.inputs.begin(), node.inputs.end(),
                                 [&](NodeId i) { return depends[static_cast<std::size_t>(i)]; });
    depends[static_cast<std::size_t>(id)] = any;
    // An op with running statistics uses them, and not the batch's, in inference.
    const bool mixing = node.op != nullptr && node.op->traits.kind != OpKind::kRowwise &&
                        (mode == Mode::kTraining || node.op->traits.state_input < 0);
    if (any && mixing) return true;
  }
  return false;
}

}  // namespace

Tensor evaluate(const Graph& graph, Value output, const Feed& feed) {
  CompileOptions options = base_options(feed);
  options.outputs = {output};
  Evaluation evaluation(graph, options, feed);
  evaluation.run();
  return copy(evaluation.workspace().output(output), evaluation.shape_of(output));
}

Tensor gradient(const Graph& graph, Value loss, Value node, const Feed& feed) {
  CompileOptions options = base_options(feed);
  options.loss = loss;
  options.gradients = {node};
  Evaluation evaluation(graph, options, feed);
  evaluation.run();
  return copy(evaluation.workspace().gradient(node), evaluation.shape_of(node));
}

Tensor vector_jacobian_product(const Graph& graph, Value output, Value node,
                               ConstTensorView cotangent, const Feed& feed) {
  expect_dependent("vector_jacobian_product", graph, output, node);
  Evaluation evaluation(graph, vjp_options(feed, output, node), feed);
  evaluation.bindings().cotangent(output, cotangent);
  evaluation.run();
  return copy(evaluation.workspace().gradient(node), evaluation.shape_of(node));
}

Tensor jacobian_vector_product(const Graph& graph, Value output, Value input,
                               ConstTensorView tangent, const Feed& feed) {
  expect_dependent("jacobian_vector_product", graph, output, input);
  Evaluation evaluation(graph, jvp_options(feed, output, input), feed);
  evaluation.bindings().tangent(input, tangent);
  evaluation.run();
  return copy(evaluation.workspace().tangent(output), evaluation.shape_of(output));
}

Tensor hessian_vector_product(const Graph& graph, Value loss, Value value, ConstTensorView tangent,
                              const Feed& feed) {
  CompileOptions options = base_options(feed);
  options.loss = loss;
  options.gradients = options.tangents = options.gradient_tangents = {value};
  Evaluation evaluation(graph, options, feed);
  evaluation.bindings().tangent(value, tangent);
  evaluation.run();
  return copy(evaluation.workspace().gradient_tangent(value), evaluation.shape_of(value));
}

Tensor elementwise_derivative(const Graph& graph, Value activation, const Feed& feed) {
  const Node& node = activation.node();
  if (node.op == nullptr || !node.op->traits.elementwise || node.inputs.size() != 1) {
    throw ArgumentError(fmt::format(
        "elementwise_derivative: {} is no elementwise function of one input", describe(node)));
  }
  const Value input(activation.graph(), node.inputs[0]);
  Evaluation evaluation(graph, vjp_options(feed, activation, input), feed);
  Tensor ones(evaluation.shape_of(activation), feed.dtype);
  for (Index i = 0; i < ones.rows(); ++i) {
    for (Index j = 0; j < ones.columns(); ++j) set_element(ones, i, j, 1);
  }
  evaluation.bindings().cotangent(activation, ones);
  evaluation.run();
  return copy(evaluation.workspace().gradient(input), evaluation.shape_of(input));
}

namespace {

// The unit vectors that a Jacobian is found with, one a pass, in the shape of what is
// differentiated by (forward) or of what is differentiated (reverse).
class Probe {
 public:
  Probe(const Graph& graph, Value output, Value input, const Feed& feed, bool forward)
      : evaluation_(graph,
                    forward ? jvp_options(feed, output, input) : vjp_options(feed, output, input),
                    feed),
        result_of_(forward ? output : input),
        forward_(forward),
        unit_(evaluation_.shape_of(forward ? input : output), feed.dtype) {
    if (forward) {
      evaluation_.bindings().tangent(input, unit_);
    } else {
      evaluation_.bindings().cotangent(output, unit_);
    }
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  const Evaluation& evaluation() const { return evaluation_; }
  Index columns() const { return unit_.columns(); }

  /// The product of the Jacobian with 1 at (i, j) for every i in [first, first + count).
  ConstTensorView along(Index first, Index count, Index j) {
    for (Index i = first; i < first + count; ++i) set_element(unit_, i, j, 1);
    evaluation_.run();
    for (Index i = first; i < first + count; ++i) set_element(unit_, i, j, 0);
    const Workspace& workspace = evaluation_.workspace();
    return forward_ ? workspace.tangent(result_of_) : workspace.gradient(result_of_);
  }

 private:
  Evaluation evaluation_;
  Value result_of_;
  bool forward_;
  Tensor unit_;
};

bool goes_forward(JacobianMode mode, Index inputs, Index outputs) {
  return mode == JacobianMode::kForward || (mode == JacobianMode::kAuto && inputs < outputs);
}

// Rows do not influence each other, so that one pass gives a row (or column) of every Jacobian.
Tensor jacobian_of_rows(const Graph& graph, Value output, Value input, const Feed& feed,
                        JacobianMode mode) {
  const Index m = output.shape().columns();
  const Index n = input.shape().columns();
  const bool forward = goes_forward(mode, n, m);
  Probe probe(graph, output, input, feed, forward);
  const Index rows = probe.evaluation().rows();
  Tensor result(Shape{rows, m, n}, feed.dtype);
  for (Index k = 0; k < probe.columns(); ++k) {
    const ConstTensorView product = probe.along(0, rows, k);
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < product.columns; ++j) {
        const double value = element(product, i, j);
        set_element(result, i * m + (forward ? j : k), forward ? k : j, value);
      }
    }
  }
  return result;
}

}  // namespace

Tensor jacobian(const Graph& graph, Value output, Value input, const Feed& feed,
                JacobianMode mode) {
  expect_dependent("jacobian", graph, output, input);
  const bool by_row = output.shape().is_batched();
  if (!by_row || !input.shape().is_batched()) {
    Tensor full = full_jacobian(graph, output, input, feed, mode);
    const Index m = by_row ? output.shape().columns() : full.rows();
    const Index rows = !by_row ? 1 : m == 0 ? 0 : full.rows() / m;
    Tensor result(Shape{rows, m, full.columns()}, feed.dtype);
    copy_values(full.view(), result.view());
    return result;
  }
  if (mixes_rows(graph, output, input, feed.mode)) {
    throw UnsupportedError(
        fmt::format("jacobian: an op between {} and {} mixes the rows of the batch, so there is no "
                    "Jacobian of a row; full_jacobian() gives that of the batch",
                    describe(input.node()), describe(output.node())));
  }
  return jacobian_of_rows(graph, output, input, feed, mode);
}

Tensor full_jacobian(const Graph& graph, Value output, Value input, const Feed& feed,
                     JacobianMode mode) {
  expect_dependent("full_jacobian", graph, output, input);
  const CompileOptions options = vjp_options(feed, output, input);
  const Index rows = batch_rows(inputs_read(graph, options, feed));
  const Index m = matrix_shape(output, rows).elements();
  const Index n = matrix_shape(input, rows).elements();
  const bool forward = goes_forward(mode, n, m);
  Probe probe(graph, output, input, feed, forward);
  Tensor result(Shape{m, n}, feed.dtype);
  for (Index k = 0; k < (forward ? n : m); ++k) {
    const ConstTensorView product = probe.along(k / probe.columns(), 1, k % probe.columns());
    for (Index e = 0; e < (forward ? m : n); ++e) {
      const double value = element(product, e / product.columns, e % product.columns);
      set_element(result, forward ? e : k, forward ? k : e, value);
    }
  }
  return result;
}

}  // namespace chainrule
