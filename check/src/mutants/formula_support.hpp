// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include "mutant_list.hpp"

namespace chainrule::internal {

/// Adds wrong formulas of the gradient of one input of an op.
class FormulaAdder {
 public:
  using Applies = bool (*)(const Specimen&);

  FormulaAdder(std::vector<WrongFormula>& formulas, const OpDef& op, int input = 0,
               Applies applies = nullptr)
      : formulas_(formulas), op_(op), input_(input), applies_(applies) {}

  void operator()(MutantClass kind, std::string_view description,
                  WrongDerivative derivative) const {
    formulas_.push_back({.op = &op_,
                         .kind = kind,
                         .description = description,
                         .derivative = derivative,
                         .applies = applies_});
  }
  void operator()(MutantClass kind, std::string_view description, WrongBackward backward) const {
    formulas_.push_back({.op = &op_,
                         .kind = kind,
                         .description = description,
                         .backward = backward,
                         .input = input_,
                         .applies = applies_});
  }
  /// The right formula; see WrongFormula::right.
  template <class Function>
  void control(Function function) const {
    (*this)(MutantClass::kWrongTerm, "control: the right formula", function);
    formulas_.back().right = true;
  }
  /// The same for another input, or for some of the op's cases only.
  FormulaAdder of(int input) const { return {formulas_, op_, input, applies_}; }
  FormulaAdder where(Applies applies) const { return {formulas_, op_, input_, applies}; }

 private:
  std::vector<WrongFormula>& formulas_;
  const OpDef& op_;
  int input_;
  Applies applies_;
};

/// An operand to change before the op sees it.
class ChangedOperand {
 public:
  explicit ChangedOperand(MatrixView<const double> from)
      : rows_(from.rows), columns_(from.columns) {
    for (Index i = 0; i < from.rows; ++i) {
      values_.insert(values_.end(), from.row(i), from.row(i) + from.columns);
    }
  }

  double& operator()(Index i, Index j) {
    return values_[static_cast<std::size_t>(i * columns_ + j)];
  }
  Index rows() const { return rows_; }
  Index columns() const { return columns_; }
  TensorView view() { return {values_.data(), DType::kFloat64, rows_, columns_, columns_}; }

 private:
  Index rows_;
  Index columns_;
  std::vector<double> values_;
};

template <class Set>
void set_elements(MatrixView<double> g, const Set& value) {
  for (Index i = 0; i < g.rows; ++i) {
    for (Index j = 0; j < g.columns; ++j) g(i, j) = value(i, j);
  }
}

inline void multiply(MatrixView<double> g, double factor) {
  set_elements(g, [&](Index i, Index j) { return g(i, j) * factor; });
}

inline double sigma(double x) { return 1 / (1 + std::exp(-x)); }
inline double as_real(Index n) { return static_cast<double>(n); }

inline bool variant_is(const Specimen& specimen, std::string_view variant) {
  return specimen.original().variant == variant;
}
inline bool is_training(const Specimen& specimen) {
  return specimen.original().mode == Mode::kTraining;
}
inline bool is_inference(const Specimen& specimen) { return !is_training(specimen); }
inline bool has_blocks(const Specimen& specimen) {
  return specimen.runs_in_blocks() &&
         Plan::block_rows(specimen.inputs().size.rows) < specimen.inputs().size.rows;
}

}  // namespace chainrule::internal
