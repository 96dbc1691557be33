// SPDX-License-Identifier: Apache-2.0
#include "wrong_ops.hpp"

#include "chainrule/ops/ops.hpp"

namespace chainrule::testing {
namespace {

template <class T>
void doubled_backward(const OpContext& context) {
  kTanhOp.backward[dtype_index(kDTypeOf<T>)](context);
  const MatrixView<T> g = context.in_gradient<T>(0);
  for (Index i = 0; i < g.rows; ++i) {
    for (Index j = 0; j < g.columns; ++j) g(i, j) *= 2;
  }
}

const OpDef& renamed_tanh() {
  static const OpDef def = [] {
    OpDef result = kTanhOp;
    result.name = "saturated_tanh";
    return result;
  }();
  return def;
}

OpCase unary_case(const OpDef& op, const Fill& fill = {}) {
  return {.op = &op, .variant = {}, .build = [&op, fill](CaseBuilder& b) {
            return b.graph().apply(op, {b.batch("x", fill)});
          }};
}

}  // namespace

const OpDef& doubled_tanh() {
  static const OpDef def = [] {
    OpDef result = kTanhOp;
    result.name = "twice_tanh";
    result.backward = {&doubled_backward<float>, &doubled_backward<double>};
    return result;
  }();
  return def;
}

std::vector<OpCase> cases_with_wrong_ops() {
  return {unary_case(kTanhOp), unary_case(kReluOp, {.kind = Fill::Kind::kOddSixteenths}),
          unary_case(doubled_tanh()), unary_case(renamed_tanh(), {.low = 40, .high = 44})};
}

}  // namespace chainrule::testing
