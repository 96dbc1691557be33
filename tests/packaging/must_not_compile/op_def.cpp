// SPDX-License-Identifier: Apache-2.0
//
// Compiles as it stands; each macro takes one member away (or adds one too many).
#include "chainrule/core/op_def.hpp"
#include "chainrule/core/graph.hpp"

namespace {

using namespace chainrule;

struct Op {
#ifndef WITHOUT_NAME
  static constexpr std::string_view kName = "op";
#endif
#if defined(WITHOUT_FINISH)
  static constexpr OpTraits kTraits{.kind = OpKind::kBatchReduction};
#elif defined(WITHOUT_WEIGHT_GRADIENT)
  static constexpr OpTraits kTraits{.weight_input = 0};
#elif defined(WITHOUT_COMMIT)
  static constexpr OpTraits kTraits{.state_input = 0};
#elif defined(LINEAR_WITH_BACKWARD_JVP)
  static constexpr OpTraits kTraits{.linear = true};
#elif defined(WITHOUT_WEIGHT_GRADIENT_JVP)
  static constexpr OpTraits kTraits{.weight_input = 0};
  template <class T>
  static void weight_gradient(const OpContext&, Index, Index) {}
#elif !defined(WITHOUT_TRAITS)
  static constexpr OpTraits kTraits{};
#endif
#ifndef WITHOUT_SHAPE_RULE
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
#endif
#ifndef WITHOUT_FORWARD
  template <class T>
  static void forward(const OpContext&) {}
#endif
#ifndef WITHOUT_BACKWARD
  template <class T>
  static void backward(const OpContext&) {}
#endif
#ifndef WITHOUT_JVP
  template <class T>
  static void jvp(const OpContext&) {}
#endif
  template <class T>
  static void backward_jvp(const OpContext&) {}
#ifdef WITH_A_STRAY_WEIGHT_GRADIENT_JVP
  template <class T>
  static void weight_gradient_jvp(const OpContext&, Index, Index) {}
#endif
#ifdef WITH_BACKWARD_AND_NO_GRADIENT
  static constexpr bool kNoGradient = true;
#endif
};

constexpr OpDef kOp = define_op<Op>();

}  // namespace

int main() { return kOp.has_gradient() ? 0 : 1; }
