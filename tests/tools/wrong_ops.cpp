// SPDX-License-Identifier: Apache-2.0
#include "wrong_ops.hpp"

#include "chainrule/ops/ops.hpp"

namespace chainrule::testing {
namespace {

template <class T>
void multiply(MatrixView<T> view, T factor) {
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) view(i, j) *= factor;
  }
}

template <class T>
void doubled_backward(const OpContext& context) {
  kTanhOp.backward[dtype_index(kDTypeOf<T>)](context);
  multiply<T>(context.in_gradient<T>(0), 2);
}

template <class T>
void halved_jvp(const OpContext& context) {
  kTanhOp.jvp[dtype_index(kDTypeOf<T>)](context);
  multiply<T>(context.out_tangent<T>(), T{0.5});
}

OpDef tanh_called(std::string_view name) {
  OpDef def = kTanhOp;
  def.name = name;
  return def;
}

const OpDef& renamed_tanh() {
  static const OpDef def = tanh_called("saturated_tanh");
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
    OpDef result = tanh_called("twice_tanh");
    result.backward = {&doubled_backward<float>, &doubled_backward<double>};
    return result;
  }();
  return def;
}

const OpDef& half_jvp_tanh() {
  static const OpDef def = [] {
    OpDef result = tanh_called("half_jvp_tanh");
    result.jvp = {&halved_jvp<float>, &halved_jvp<double>};
    result.backward_jvp = {};
    return result;
  }();
  return def;
}

const OpDef& plain_tanh() {
  static const OpDef def = [] {
    OpDef result = tanh_called("plain_tanh");
    result.jvp = {};
    result.backward_jvp = {};
    return result;
  }();
  return def;
}

std::vector<OpCase> cases_with_wrong_ops() {
  return {unary_case(kTanhOp),         unary_case(kReluOp, {.kind = Fill::Kind::kOddSixteenths}),
          unary_case(plain_tanh()),    unary_case(doubled_tanh()),
          unary_case(half_jvp_tanh()), unary_case(renamed_tanh(), {.low = 40, .high = 44})};
}

}  // namespace chainrule::testing
