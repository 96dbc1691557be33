// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/columns.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

// Each input of a concat gets the columns of dy from `start(first)` on, wrapped around, where
// `first` is where they are.
template <class Start>
void concat_backward(const Call& call, const Start& start) {
  const Index columns = call.dy().columns;
  Index first = 0;
  for (int k = 0; k < call.context().input_count; ++k) {
    const MatrixView<double> g = call.gradient(k);  // all are wanted: there is no other way to here
    set_elements(g, [&](Index i, Index j) {
      return call.dy()(i, (start(first, g.columns) + j + columns) % columns);
    });
    first += g.columns;
  }
}

// dx(i, first + j) = dy(i, j), for j < count.
void slice_backward(const Call& call, Index first, Index count, Index row_offset) {
  const MatrixView<double> dx = call.gradient(0);
  const MatrixView<const double> dy = call.dy();
  for (Index i = 0; i < dx.rows; ++i) {
    for (Index j = 0; j < count; ++j) {
      dx(i, (first + j) % dx.columns) = dy((i + row_offset) % dy.rows, j);
    }
  }
}

}  // namespace

void add_column_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder concat(formulas, kConcatOp), slice(formulas, kSliceOp);
  concat.control(
      [](const Call& call) { concat_backward(call, [](Index first, Index) { return first; }); });
  slice.control(
      [](const Call& call) { slice_backward(call, call.integer(0), call.integer(1), 0); });
  concat(kWrongTerm, "columns one to the right", [](const Call& call) {
    concat_backward(call, [](Index first, Index) { return first + 1; });
  });
  concat(kWrongTerm, "columns one to the left", [](const Call& call) {
    concat_backward(call, [](Index first, Index) { return first - 1; });
  });
  concat(kWrongTerm, "every input gets the first columns",
         [](const Call& call) { concat_backward(call, [](Index, Index) { return Index{0}; }); });
  concat.where([](const Specimen& specimen) { return specimen.input(0) != specimen.input(1); })(
      kWrongTerm, "the inputs in reverse order", [](const Call& call) {
        concat_backward(
            call, [&](Index first, Index width) { return call.dy().columns - first - width; });
      });
  slice(kWrongTerm, "one column to the right",
        [](const Call& call) { slice_backward(call, call.integer(0) + 1, call.integer(1), 0); });
  slice(kDroppedTerm, "from the first column on",
        [](const Call& call) { slice_backward(call, 0, call.integer(1), 0); });
  slice(kLastColumn, "the last of the columns is left out",
        [](const Call& call) { slice_backward(call, call.integer(0), call.integer(1) - 1, 0); });
  slice(kWrongTerm, "dy of the next row",
        [](const Call& call) { slice_backward(call, call.integer(0), call.integer(1), 1); });
  slice(kWrongTerm, "the columns outside get dy, too", [](const Call& call) {
    set_elements(call.gradient(0), [&](Index i, Index j) {
      return call.dy()(i, (j - call.integer(0) + call.dy().columns) % call.dy().columns);
    });
  });
}

}  // namespace chainrule::internal
