// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "chainrule/ops/dropout.hpp"
#include "chainrule/ops/softmax.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

using Matrix = MatrixView<const double>;

// sum_k term(i, k) over the columns of a row.
template <class Term>
double row_sum(Matrix y, Index i, const Term& term) {
  double sum = 0;
  for (Index k = 0; k < y.columns; ++k) sum += term(i, k);
  return sum;
}

// sum_i term(i, j) over the rows at hand: the wrong axis.
template <class Term>
double column_sum(Matrix y, Index j, const Term& term) {
  double sum = 0;
  for (Index i = 0; i < y.rows; ++i) sum += term(i, j);
  return sum;
}

void add_wrong_sums(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder add(formulas, kSoftmaxOp);
  add.control([](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    const auto product = [&](Index i, Index k) { return y(i, k) * dy(i, k); };
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return y(i, j) * (dy(i, j) - row_sum(y, i, product)); });
  });
  add(kDroppedTerm, "y dy: the sum is missing", [](const Call& call) {
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return call.out()(i, j) * call.dy()(i, j); });
  });
  add(kDroppedTerm, "y (dy - sum dy): y is missing in the sum", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return y(i, j) * (dy(i, j) - row_sum(y, i, dy)); });
  });
  add(kDroppedTerm, "dy - sum y dy: y is missing in front", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    const auto product = [&](Index i, Index k) { return y(i, k) * dy(i, k); };
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return dy(i, j) - row_sum(y, i, product); });
  });
  add(kWrongTerm, "the sum over the rows", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    const auto product = [&](Index i, Index k) { return y(i, k) * dy(i, k); };
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return y(i, j) * (dy(i, j) - column_sum(y, j, product));
    });
  });
  add(kLastColumn, "the sum leaves out the last column", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    const auto product = [&](Index i, Index k) {
      return k + 1 < y.columns ? y(i, k) * dy(i, k) : 0;
    };
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return y(i, j) * (dy(i, j) - row_sum(y, i, product)); });
  });
  add(kDroppedTerm, "y (1 - y) dy: the diagonal only", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return y(i, j) * (1 - y(i, j)) * dy(i, j); });
  });
}

void add_wrong_values(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder add(formulas, kSoftmaxOp);
  add(kSavedValue, "x read for y", [](const Call& call) {
    OpContext changed = call.context();
    ChangedOperand x(call.in(0));
    changed.output = x.view();
    call.run_original(changed);
  });
  add(kSavedValue, "y of the next row", [](const Call& call) {
    OpContext changed = call.context();
    ChangedOperand y(call.out());
    for (Index i = 0; i < y.rows(); ++i) {
      for (Index j = 0; j < y.columns(); ++j) y(i, j) = call.out()((i + 1) % y.rows(), j);
    }
    changed.output = y.view();
    call.run_original(changed);
  });
}

void add_softmax_itself(std::vector<WrongFormula>& formulas) {
  add_wrong_sums(formulas);
  add_wrong_values(formulas);
}

void add_log_softmax(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder add(formulas, kLogSoftmaxOp);
  add.control([](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return dy(i, j) - std::exp(y(i, j)) * row_sum(y, i, dy);
    });
  });
  add(kDroppedTerm, "dy: the sum is missing", [](const Call& call) {
    set_elements(call.gradient(0), [&](Index i, Index j) { return call.dy()(i, j); });
  });
  add(kDroppedTerm, "dy - y sum dy: e^ is missing", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0),
                 [&](Index i, Index j) { return dy(i, j) - y(i, j) * row_sum(y, i, dy); });
  });
  add(kDroppedTerm, "dy - sum dy: e^y is missing", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0), [&](Index i, Index j) { return dy(i, j) - row_sum(y, i, dy); });
  });
  add(kCount, "the mean of dy for its sum", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return dy(i, j) - std::exp(y(i, j)) * row_sum(y, i, dy) / as_real(y.columns);
    });
  });
  add(kWrongTerm, "the sum over the rows", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return dy(i, j) - std::exp(y(i, j)) * column_sum(y, j, dy);
    });
  });
  add(kWrongTerm, "the backward of softmax", [](const Call& call) {
    const Matrix y = call.out(), dy = call.dy();
    const auto product = [&](Index i, Index k) { return std::exp(y(i, k)) * dy(i, k); };
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return std::exp(y(i, j)) * (dy(i, j) - row_sum(y, i, product));
    });
  });
  add(kSavedValue, "e^x for e^y", [](const Call& call) {
    const Matrix x = call.in(0), dy = call.dy();
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return dy(i, j) - std::exp(x(i, j)) * row_sum(x, i, dy);
    });
  });
}

// dx = dy m, m from `mask(i, j)`.
template <class Mask>
void dropout_backward(const Call& call, const Mask& mask) {
  set_elements(call.gradient(0), [&](Index i, Index j) { return call.dy()(i, j) * mask(i, j); });
}

void add_dropout(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder add(formulas, kDropoutOp, 0, is_training);
  add.control([](const Call& call) {
    dropout_backward(call, [&](Index i, Index j) { return call.saved()(i, j); });
  });
  add(kDroppedTerm, "the mask is not applied",
      [](const Call& call) { dropout_backward(call, [](Index, Index) { return 1.0; }); });
  add(kDroppedTerm, "1 / (1 - rate) is missing", [](const Call& call) {
    dropout_backward(call, [&](Index i, Index j) { return call.saved()(i, j) != 0 ? 1.0 : 0.0; });
  });
  add(kWrongTerm, "1 / (1 - rate) twice", [](const Call& call) {
    dropout_backward(call,
                     [&](Index i, Index j) { return call.saved()(i, j) * call.saved()(i, j); });
  });
  add(kWrongTerm, "what was dropped gets the gradient", [](const Call& call) {
    const double kept = 1 / (1 - call.real()[0]);
    dropout_backward(call, [&](Index i, Index j) { return call.saved()(i, j) != 0 ? 0 : kept; });
  });
  add(kWrongTerm, "1 / rate for 1 / (1 - rate)", [](const Call& call) {
    dropout_backward(
        call, [&](Index i, Index j) { return call.saved()(i, j) != 0 ? 1 / call.real()[0] : 0; });
  });
  add(kSavedValue, "the mask of the next row", [](const Call& call) {
    dropout_backward(
        call, [&](Index i, Index j) { return call.saved()((i + 1) % call.saved().rows, j); });
  });
  add.where(is_inference)(kWrongTerm, "1 / (1 - rate) in inference", [](const Call& call) {
    dropout_backward(call, [&](Index, Index) { return 1 / (1 - call.real()[0]); });
  });
}

}  // namespace

void add_softmax_formulas(std::vector<WrongFormula>& formulas) {
  add_softmax_itself(formulas);
  add_log_softmax(formulas);
  add_dropout(formulas);
}

}  // namespace chainrule::internal
