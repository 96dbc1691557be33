// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/matmul.hpp"

#include <algorithm>

#include "chainrule/ops/add_bias.hpp"
#include "chainrule/ops/embedding.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

// dw(k, j) = sum_i factor(i, k, j), rows [first, first + count) of w.
template <class Factor>
void weight_gradient(const Call& call, const Factor& factor) {
  const MatrixView<double> dw = call.gradient(1);
  const Index rows = call.dy().rows;
  set_elements(dw, [&](Index k, Index j) {
    double sum = 0;
    for (Index i = 0; i < rows; ++i) sum += factor(i, call.first() + k, j);
    return sum;
  });
}

bool is_square(const Specimen& specimen) {
  const Shape& w = specimen.input(1).shape();
  return w.rows() == w.columns() && w.rows() > 1;
}
bool several_outputs(const Specimen& specimen) { return specimen.input(1).shape().columns() > 1; }

// dx = dy W^T from a mirror of W that is not what it should be.
template <class Change>
void with_mirror(const Call& call, const Change& change) {
  ChangedOperand mirror(call.context().mirror.as<double>());
  change(mirror);
  OpContext changed = call.context();
  changed.mirror = mirror.view();
  call.run_original(changed);
}

void add_input_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder dx(formulas, kMatmulOp);
  dx.control([](const Call& call) { with_mirror(call, [](ChangedOperand&) {}); });
  dx.where(is_square)(kTransposed, "dy W for dy W^T", [](const Call& call) {
    with_mirror(call, [&](ChangedOperand& mirror) {
      for (Index i = 0; i < mirror.rows(); ++i) {
        for (Index j = 0; j < mirror.columns(); ++j) mirror(i, j) = call.in(1)(i, j);
      }
    });
  });
  dx(kSavedValue, "the mirror of W is stale: from before a step of 1e-6", [](const Call& call) {
    with_mirror(call, [](ChangedOperand& mirror) {
      for (Index i = 0; i < mirror.rows(); ++i) {
        for (Index j = 0; j < mirror.columns(); ++j) mirror(i, j) += 1e-6;
      }
    });
  });
  dx(kSavedValue, "one element of the mirror of W was not written", [](const Call& call) {
    with_mirror(call, [](ChangedOperand& m) { m(m.rows() - 1, m.columns() - 1) = 0; });
  });
  dx.where(several_outputs)(kLastColumn, "the sum leaves out the last output",
                            [](const Call& call) {
                              with_mirror(call, [](ChangedOperand& mirror) {
                                for (Index j = 0; j < mirror.columns(); ++j)
                                  mirror(mirror.rows() - 1, j) = 0;
                              });
                            });
}

void add_weight_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder dw = FormulaAdder(formulas, kMatmulOp).of(1);
  dw.control([](const Call& call) {
    weight_gradient(call,
                    [&](Index i, Index k, Index j) { return call.in(0)(i, k) * call.dy()(i, j); });
  });
  dw(kLastRow, "the last row of the batch is left out", [](const Call& call) {
    weight_gradient(call, [&](Index i, Index k, Index j) {
      return i + 1 < call.dy().rows ? call.in(0)(i, k) * call.dy()(i, j) : 0;
    });
  });
  dw(kWrongTerm, "x of the next row", [](const Call& call) {
    weight_gradient(call, [&](Index i, Index k, Index j) {
      return call.in(0)((i + 1) % call.dy().rows, k) * call.dy()(i, j);
    });
  });
  dw.where(is_square)(kTransposed, "dy^T x for x^T dy", [](const Call& call) {
    weight_gradient(call,
                    [&](Index i, Index k, Index j) { return call.in(0)(i, j) * call.dy()(i, k); });
  });
  dw(kCount, "the mean over the batch for the sum", [](const Call& call) {
    weight_gradient(call, [&](Index i, Index k, Index j) {
      return call.in(0)(i, k) * call.dy()(i, j) / as_real(call.dy().rows);
    });
  });
  dw(kDroppedTerm, "x is missing", [](const Call& call) {
    weight_gradient(call, [&](Index i, Index, Index j) { return call.dy()(i, j); });
  });
}

void add_product_formulas(std::vector<WrongFormula>& formulas) {
  add_input_formulas(formulas);
  add_weight_formulas(formulas);
}

// db(j) = sum_i term(i, j) over the rows of this call.
template <class Term>
void bias_gradient(const Call& call, const Term& term) {
  call.run_original();
  const MatrixView<double> db = call.gradient(1);
  const Index rows = call.dy().rows;
  set_elements(db, [&](Index, Index j) {
    double sum = 0;
    for (Index i = 0; i < rows; ++i) sum += term(i, j);
    return sum;
  });
}

void add_bias_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder add(formulas, kAddBiasOp, 1);
  add.control([](const Call& call) {
    bias_gradient(call, [&](Index i, Index j) { return call.dy()(i, j); });
  });
  add(kLastRow, "the last row of the batch is left out", [](const Call& call) {
    bias_gradient(call,
                  [&](Index i, Index j) { return call.is_last_row(i) ? 0 : call.dy()(i, j); });
  });
  add(kCount, "the mean over the batch for the sum", [](const Call& call) {
    bias_gradient(call, [&](Index i, Index j) {
      return call.dy()(i, j) / as_real(call.context().batch_rows);
    });
  });
  add(kDroppedTerm, "the first row of a block for all of them", [](const Call& call) {
    bias_gradient(call, [&](Index i, Index j) { return i == 0 ? call.dy()(0, j) : 0; });
  });
  add(kWrongTerm, "each row's columns rotated by one", [](const Call& call) {
    bias_gradient(call,
                  [&](Index i, Index j) { return call.dy()(i, (j + 1) % call.dy().columns); });
  });
}

// dtable from every (row of the batch, index column), through `add(table_row, i, j)`.
template <class Add>
void embedding_gradient(const Call& call, const Add& add) {
  const MatrixView<const std::int32_t> indices = call.context().input<std::int32_t>(0);
  for (Index i = 0; i < indices.rows; ++i) {
    for (Index j = 0; j < indices.columns; ++j) {
      const Index row = indices(i, j) - call.first();
      if (row >= 0 && row < call.count()) add(row, i, j);
    }
  }
}

void add_row(const Call& call, Index table_row, Index i, Index block, double factor) {
  const MatrixView<double> dtable = call.gradient(1);
  for (Index c = 0; c < dtable.columns; ++c) {
    dtable(table_row, c) += factor * call.dy()(i, block * dtable.columns + c);
  }
}

bool several_indices(const Specimen& specimen) { return specimen.input(0).shape().columns() > 1; }

void add_embedding_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder add(formulas, kEmbeddingOp, 1);
  const FormulaAdder several = add.where(several_indices);
  add.control([](const Call& call) {
    embedding_gradient(call, [&](Index row, Index i, Index j) { add_row(call, row, i, j, 1); });
  });
  add(kDroppedTerm, "an index that occurs again replaces what it should add to",
      [](const Call& call) {
        embedding_gradient(call, [&](Index row, Index i, Index j) {
          const MatrixView<double> dtable = call.gradient(1);
          std::fill_n(dtable.row(row), dtable.columns, 0.0);
          add_row(call, row, i, j, 1);
        });
      });
  add(kWrongTerm, "the next row of the table", [](const Call& call) {
    embedding_gradient(call, [&](Index row, Index i, Index j) {
      add_row(call, (row + 1) % call.count(), i, j, 1);
    });
  });
  several(kDroppedTerm, "only the first index of a row", [](const Call& call) {
    embedding_gradient(call, [&](Index row, Index i, Index j) {
      if (j == 0) add_row(call, row, i, j, 1);
    });
  });
  several(kWrongTerm, "the first index's columns of dy for every index", [](const Call& call) {
    embedding_gradient(call, [&](Index row, Index i, Index) { add_row(call, row, i, 0, 1); });
  });
  add(kCount, "the mean over an index's occurrences for their sum", [](const Call& call) {
    std::vector<double> times(static_cast<std::size_t>(call.count()));
    embedding_gradient(call,
                       [&](Index row, Index, Index) { times[static_cast<std::size_t>(row)] += 1; });
    embedding_gradient(call, [&](Index row, Index i, Index j) {
      add_row(call, row, i, j, 1 / times[static_cast<std::size_t>(row)]);
    });
  });
  add(kLastRow, "the last row of the batch is left out", [](const Call& call) {
    embedding_gradient(call, [&](Index row, Index i, Index j) {
      if (i + 1 < call.dy().rows) add_row(call, row, i, j, 1);
    });
  });
}

}  // namespace

void add_matmul_formulas(std::vector<WrongFormula>& formulas) {
  add_product_formulas(formulas);
  add_bias_formulas(formulas);
  add_embedding_formulas(formulas);
}

}  // namespace chainrule::internal
