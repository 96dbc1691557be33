// SPDX-License-Identifier: Apache-2.0
//
// Compiles as it stands; each macro turns a right call into a wrong one.
#include <utility>

#include "chainrule/core/graph.hpp"
#include "chainrule/core/op_def.hpp"
#include "chainrule/core/tensor.hpp"

namespace {

using namespace chainrule;

struct Op {
  static constexpr std::string_view kName = "op";
  static constexpr OpTraits kTraits{};
  static constexpr bool kNoGradient = true;
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  template <class T>
  static void forward(const OpContext&) {}
};

constexpr OpDef kOp = define_op<Op>();

Value apply(Graph& graph, Value x) {
#ifdef TEMPORARY_OP_DEF
  return graph.apply(define_op<Op>(), {x});
#else
  return graph.apply(kOp, {x});
#endif
}

float* writable(const Tensor& tensor) {
#ifdef WRITING_TO_A_CONST_TENSOR
  MatrixView<float> view = tensor.as<float>();
  return view.data;
#else
  MatrixView<const float> view = tensor.as<float>();
  return const_cast<float*>(view.data);
#endif
}

}  // namespace

int main() {
  Graph graph;
#ifdef COPYING_A_GRAPH
  Graph other = graph;  // its values would belong to neither
#else
  Graph& other = graph;
#endif
  const Tensor tensor({1, 1});
  return apply(other, other.input("x", {kBatch, 1})) && writable(tensor) != nullptr ? 0 : 1;
}
