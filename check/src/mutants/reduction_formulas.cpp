// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/reductions.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

double weight_of(const Call& call, Index row) {
  return call.context().input_count > 1 ? call.in(1)(row, 0) : 1;
}

// dx(i, j) = factor(i) dy(j), of the reductions over the batch.
template <class Factor>
void batch_backward(const Call& call, const Factor& factor) {
  set_elements(call.gradient(0), [&](Index i, Index j) { return factor(i) * call.dy()(0, j); });
}

double batch_count(const Call& call) { return as_real(call.context().batch_rows); }
double total_weight(const Call& call) { return call.in(2)(0, 0); }

bool is_weighted(const Specimen& specimen) { return variant_is(specimen, "weights"); }
bool is_unweighted(const Specimen& specimen) { return !is_weighted(specimen); }
double weight_at(const Specimen& specimen, Index row) {
  return element(specimen.data(specimen.input(1)), row, 0);
}
// Else dividing by the number of rows is right by accident.
bool total_is_not_rows(const Specimen& specimen) {
  if (!is_weighted(specimen)) return false;
  const Index rows = specimen.inputs().size.rows;
  double total = 0;
  for (Index i = 0; i < rows; ++i) total += weight_at(specimen, i);
  return total != as_real(rows);
}
bool has_weight_zero(const Specimen& specimen) {
  if (!is_weighted(specimen)) return false;
  for (Index i = 0; i < specimen.inputs().size.rows; ++i) {
    if (weight_at(specimen, i) == 0) return true;
  }
  return false;
}
bool is_unweighted_in_blocks(const Specimen& specimen) {
  return is_unweighted(specimen) && has_blocks(specimen);
}

void add_batch_sum_formulas(const FormulaAdder& add) {
  using enum MutantClass;
  add.control(
      [](const Call& call) { batch_backward(call, [&](Index i) { return weight_of(call, i); }); });
  add.where(is_unweighted)(kCount, "the mean for the sum", [](const Call& call) {
    batch_backward(call, [&](Index) { return 1 / batch_count(call); });
  });
  add.where(is_weighted)(kDroppedTerm, "the weights are missing",
                         [](const Call& call) { batch_backward(call, [](Index) { return 1.0; }); });
  add.where(is_weighted)(kWrongTerm, "the weights squared", [](const Call& call) {
    batch_backward(call, [&](Index i) { return weight_of(call, i) * weight_of(call, i); });
  });
  add.where(is_weighted)(kWrongTerm, "the weight of the next row", [](const Call& call) {
    batch_backward(call, [&](Index i) { return weight_of(call, (i + 1) % call.gradient(0).rows); });
  });
}

void add_batch_mean_formulas(const FormulaAdder& add) {
  using enum MutantClass;
  add.control([](const Call& call) {
    batch_backward(call, [&](Index i) {
      const bool weighted = call.context().input_count > 1;
      return weight_of(call, i) / (weighted ? total_weight(call) : batch_count(call));
    });
  });
  add.where(is_unweighted)(kCount, "1 / B is missing", [](const Call& call) {
    batch_backward(call, [](Index) { return 1.0; });
  });
  add.where(is_unweighted)(kCount, "1 / (B - 1) for 1 / B", [](const Call& call) {
    batch_backward(call, [&](Index) { return 1 / (batch_count(call) - 1); });
  });
  add.where(is_unweighted_in_blocks)(
      kCount, "1 / the rows of a block for 1 / B", [](const Call& call) {
        batch_backward(call, [&](Index) { return 1 / as_real(call.gradient(0).rows); });
      });
  add.where(is_weighted)(kCount, "1 / total is missing", [](const Call& call) {
    batch_backward(call, [&](Index i) { return weight_of(call, i); });
  });
  add.where(total_is_not_rows)(
      kCount, "the weights over the rows for over their total", [](const Call& call) {
        batch_backward(call, [&](Index i) { return weight_of(call, i) / batch_count(call); });
      });
  add.where(is_weighted)(kDroppedTerm, "the weights are missing", [](const Call& call) {
    batch_backward(call, [&](Index) { return 1 / total_weight(call); });
  });
  add.where(has_weight_zero)(kWrongTerm, "rows of weight 0 weigh 1", [](const Call& call) {
    batch_backward(call, [&](Index i) {
      const double weight = weight_of(call, i);
      return (weight == 0 ? 1 : weight) / total_weight(call);
    });
  });
}

double column_count(const Call& call) { return as_real(call.gradient(0).columns); }

// dx(i, j) = factor dy(row(i)), of the reductions over the columns.
template <class Row>
void feature_backward(const Call& call, double factor, const Row& row) {
  set_elements(call.gradient(0), [&](Index i, Index) { return factor * call.dy()(row(i), 0); });
}

void same_row(const Call& call, double factor) {
  feature_backward(call, factor, [](Index i) { return i; });
}

void add_feature_formulas(const FormulaAdder& sum, const FormulaAdder& mean) {
  using enum MutantClass;
  sum.control([](const Call& call) { same_row(call, 1); });
  mean.control([](const Call& call) { same_row(call, 1 / column_count(call)); });
  sum(kCount, "the mean for the sum",
      [](const Call& call) { same_row(call, 1 / column_count(call)); });
  sum(kWrongTerm, "dy of the first row for all rows",
      [](const Call& call) { feature_backward(call, 1, [](Index) { return 0; }); });
  sum(kWrongTerm, "dy of the next row", [](const Call& call) {
    feature_backward(call, 1, [&](Index i) { return (i + 1) % call.dy().rows; });
  });
  mean(kCount, "1 / n is missing", [](const Call& call) { same_row(call, 1); });
  mean(kCount, "1 / (n - 1) for 1 / n",
       [](const Call& call) { same_row(call, 1 / (column_count(call) - 1)); });
  mean(kWrongTerm, "dy of the next row", [](const Call& call) {
    feature_backward(call, 1 / column_count(call),
                     [&](Index i) { return (i + 1) % call.dy().rows; });
  });
}

double element_count(const Call& call) {
  const MatrixView<double> dx = call.gradient(0);
  return as_real(dx.rows * dx.columns);
}

void spread(const Call& call, double factor) {
  set_elements(call.gradient(0), [&](Index, Index) { return factor * call.dy()(0, 0); });
}

void add_total_formulas(const FormulaAdder& sum, const FormulaAdder& mean) {
  using enum MutantClass;
  sum.control([](const Call& call) { spread(call, 1); });
  mean.control([](const Call& call) { spread(call, 1 / element_count(call)); });
  sum(kCount, "the mean for the sum",
      [](const Call& call) { spread(call, 1 / element_count(call)); });
  mean(kCount, "1 / n is missing", [](const Call& call) { spread(call, 1); });
  mean(kCount, "1 / (n - 1) for 1 / n",
       [](const Call& call) { spread(call, 1 / (element_count(call) - 1)); });
  mean(kCount, "1 / (n + 1) for 1 / n",
       [](const Call& call) { spread(call, 1 / (element_count(call) + 1)); });
}

}  // namespace

void add_reduction_formulas(std::vector<WrongFormula>& formulas) {
  add_batch_sum_formulas(FormulaAdder(formulas, kBatchSumOp));
  add_batch_mean_formulas(FormulaAdder(formulas, kBatchMeanOp));
  add_feature_formulas(FormulaAdder(formulas, kFeatureSumOp),
                       FormulaAdder(formulas, kFeatureMeanOp));
  add_total_formulas(FormulaAdder(formulas, kTotalSumOp), FormulaAdder(formulas, kTotalMeanOp));
}

}  // namespace chainrule::internal
