// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "specimen.hpp"

namespace chainrule::internal {

/// A wrong backward formula of one op: a mistake that people make.
struct WrongFormula {
  const OpDef* op;
  MutantClass kind;
  std::string_view description;
  WrongDerivative derivative = nullptr;  ///< either this, for input 0 ...
  WrongBackward backward = nullptr;      ///< ... or this
  int input = 0;                         ///< whose gradient is wrong
  /// Null: in every case of the op. Elsewhere the formula is right, or not meant.
  bool (*applies)(const Specimen& specimen) = nullptr;
  /// A control: the right formula, written like the wrong ones. To catch it would mean that these
  /// are caught for how they are made and not for what is wrong with them.
  bool right = false;
};

void add_activation_formulas(std::vector<WrongFormula>& formulas);
void add_arithmetic_formulas(std::vector<WrongFormula>& formulas);
void add_matmul_formulas(std::vector<WrongFormula>& formulas);
void add_column_formulas(std::vector<WrongFormula>& formulas);
void add_softmax_formulas(std::vector<WrongFormula>& formulas);
void add_normalization_formulas(std::vector<WrongFormula>& formulas);
void add_reduction_formulas(std::vector<WrongFormula>& formulas);
void add_loss_formulas(std::vector<WrongFormula>& formulas);
void add_cross_entropy_formulas(std::vector<WrongFormula>& formulas);
void add_gp_formulas(std::vector<WrongFormula>& formulas);

/// All of them.
std::span<const WrongFormula> wrong_formulas();

/// The mutants of a specimen: what every op can suffer, then its own wrong formulas. A mutant that
/// could not change this gradient (the last of one row, the transpose of a constant) is not made.
std::vector<Mutant> mutants_of(Specimen& specimen);
/// The right formulas of the op.
std::vector<Mutant> controls_of(const Specimen& specimen);

}  // namespace chainrule::internal
