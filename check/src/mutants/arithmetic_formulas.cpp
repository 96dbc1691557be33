// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/arithmetic.hpp"

#include <cmath>

#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

// The gradients of both inputs of a product from `factor(i, j)` of either input.
template <class Factor>
void mul_backward(const Call& call, const Factor& factor) {
  for (const int input : {0, 1}) {
    const MatrixView<double> g = call.gradient(input);
    if (g.data == nullptr) continue;
    set_elements(g, [&](Index i, Index j) { return call.dy()(i, j) * factor(input, i, j); });
  }
}

bool two_values(const Specimen& specimen) { return specimen.input(0) != specimen.input(1); }

}  // namespace

void add_arithmetic_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder mul(formulas, kMulOp);
  mul.control([](const Call& call) {
    mul_backward(call, [&](int k, Index i, Index j) { return call.in(1 - k)(i, j); });
  });
  mul.where(two_values)(kWrongTerm, "each input's own value for the other's", [](const Call& call) {
    mul_backward(call, [&](int k, Index i, Index j) { return call.in(k)(i, j); });
  });
  mul(kWrongTerm, "the product for the other input", [](const Call& call) {
    mul_backward(call, [&](int, Index i, Index j) { return call.out()(i, j); });
  });
  mul(kDroppedTerm, "1 for the other input",
      [](const Call& call) { mul_backward(call, [](int, Index, Index) { return 1.0; }); });
  mul(kDroppedTerm, "only the first input gets its gradient", [](const Call& call) {
    mul_backward(call, [&](int k, Index i, Index j) { return k == 0 ? call.in(1)(i, j) : 0.0; });
  });
  const FormulaAdder sub(formulas, kSubOp);
  sub.control([](const Call& call) {
    mul_backward(call, [](int k, Index, Index) { return k == 0 ? 1.0 : -1.0; });
  });
  sub(kSign, "b gets what a gets",
      [](const Call& call) { mul_backward(call, [](int, Index, Index) { return 1.0; }); });
  sub(kSign, "a gets what b gets",
      [](const Call& call) { mul_backward(call, [](int, Index, Index) { return -1.0; }); });
  const FormulaAdder add(formulas, kAddOp);
  add.control([](const Call& call) { mul_backward(call, [](int, Index, Index) { return 1.0; }); });
  add(kCount, "half for each",
      [](const Call& call) { mul_backward(call, [](int, Index, Index) { return 0.5; }); });
  const FormulaAdder scale(formulas, kScaleOp);
  scale.control([](double, double, const double* p) { return p[0]; });
  scale(kDroppedTerm, "the factor is missing", [](double, double, const double*) { return 1.0; });
  scale(kWrongTerm, "the factor's reciprocal",
        [](double, double, const double* p) { return 1 / p[0]; });
  scale(kSign, "the factor's magnitude",
        [](double, double, const double* p) { return std::abs(p[0]); });
}

}  // namespace chainrule::internal
