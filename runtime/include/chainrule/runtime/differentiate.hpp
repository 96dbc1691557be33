// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/runtime/parameters.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule {

/// The inputs of a graph by name or value, and what else a single evaluation needs. Each function
/// below compiles, runs once on the calling thread and returns copies: for looking at a network,
/// not for training it.
struct Feed {
  std::vector<std::pair<Value, ConstTensorView>> inputs;
  const Parameters* parameters = nullptr;  ///< may stay null in a graph without parameters
  DType dtype = DType::kFloat64;           ///< that of the inputs and parameters
  Mode mode = Mode::kInference;
  RandomKey random{};
};

/// The value of `output`, [batch, n] or its own shape.
CHAINRULE_API Tensor evaluate(const Graph& graph, Value output, const Feed& feed);

/// delta = dL/d(node) of a scalar loss, in the shape of the node: the row vectors that travel right
/// to left through the network (lecture notes S1). For a parameter or input, its gradient.
CHAINRULE_API Tensor gradient(const Graph& graph, Value loss, Value node, const Feed& feed);

/// v^T d(output)/d(node) for a cotangent v in the shape of the output.
CHAINRULE_API Tensor vector_jacobian_product(const Graph& graph, Value output, Value node,
                                             ConstTensorView cotangent, const Feed& feed);

/// J u, J = d(output)/d(input), for a tangent u in the shape of the input: the derivative of the
/// output when the input moves along u, in one forward pass. In the shape of the output.
CHAINRULE_API Tensor jacobian_vector_product(const Graph& graph, Value output, Value input,
                                             ConstTensorView tangent, const Feed& feed);

/// H u, H the Hessian of a scalar loss with respect to one value, for u and H u in its shape:
/// forward over reverse (Pearlmutter 1994), which never forms H. UnsupportedError, naming the op,
/// when one in between has no second derivatives.
CHAINRULE_API Tensor hessian_vector_product(const Graph& graph, Value loss, Value value,
                                            ConstTensorView tangent, const Feed& feed);

/// g'(z) of an elementwise node a = g(z) with one differentiated input: the diagonal of da/dz, in
/// the shape of z. ArgumentError when the op is not elementwise.
CHAINRULE_API Tensor elementwise_derivative(const Graph& graph, Value activation, const Feed& feed);

/// How a Jacobian is found: column by column with tangents of the input, row by row with
/// cotangents of the output, or by whichever takes fewer passes (reverse when both take as many).
/// The two agree up to rounding.
enum class JacobianMode : std::uint8_t { kAuto, kForward, kReverse };

/// The Jacobian of each row of `output` [batch, m] with respect to the same row of `input`
/// [batch, n] as a tensor [batch, m, n]; with respect to a value without batch dimension, of k
/// elements, as [batch, m, k]. An output without batch dimension counts as one row of all its
/// elements, and then the input's elements do too. UnsupportedError when an op in between mixes the
/// rows of the batch (batch_norm in training): see full_jacobian(). ArgumentError when the output
/// does not depend on the input at all: that is asked for by mistake, as a gradient would be.
CHAINRULE_API Tensor jacobian(const Graph& graph, Value output, Value input, const Feed& feed,
                              JacobianMode mode = JacobianMode::kAuto);

/// The Jacobian of all elements of `output` with respect to all elements of `input`, row-major, as
/// a matrix [elements of output, elements of input]. Costs one pass an input element (forward) or
/// an output element (reverse).
CHAINRULE_API Tensor full_jacobian(const Graph& graph, Value output, Value input, const Feed& feed,
                                   JacobianMode mode = JacobianMode::kAuto);

}  // namespace chainrule
