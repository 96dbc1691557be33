// SPDX-License-Identifier: Apache-2.0
#include "mutant_list.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace chainrule::internal {
namespace {

constexpr double kPartInAMillion = 1e-6;
constexpr double kThousandth = 1e-3;
constexpr std::uint64_t kElementStream = 33;

// The elements of a gradient as the undamaged op gives it.
class Elements {
 public:
  explicit Elements(const Tensor& gradient) : view_(gradient.as<double>()) {
    for (Index k = 0; k < count(); ++k) largest_ = std::max(largest_, std::abs(at(k)));
  }

  Index rows() const { return view_.rows; }
  Index columns() const { return view_.columns; }
  Index count() const { return view_.rows * view_.columns; }
  double largest() const { return largest_; }
  bool is_constant() const {
    for (Index k = 1; k < count(); ++k) {
      if (at(k) != at(0)) return false;
    }
    return true;
  }
  /// The first element from `start` on, wrapped around, that matters. In one that does not, such as
  /// 1 - tanh(20)^2, a part in 10^6 is less than what backward itself rounds.
  Index mattering_from(Index start) const {
    while (!matters(start)) start = (start + 1) % count();
    return start;
  }
  /// The last row and column where something that matters can be lost.
  Index last_row() const {
    Index k = count() - 1;
    while (!matters(k)) --k;
    return k / columns();
  }
  Index last_column() const {
    Index result = 0;
    for (Index k = 0; k < count(); ++k) {
      if (matters(k)) result = std::max(result, k % columns());
    }
    return result;
  }

 private:
  double at(Index k) const { return view_(k / view_.columns, k % view_.columns); }
  bool matters(Index k) const { return std::abs(at(k)) >= largest_ * kThousandth; }

  MatrixView<const double> view_;
  double largest_ = 0;
};

class GenericMutants {
 public:
  GenericMutants(Specimen& specimen, std::vector<Mutant>& mutants)
      : specimen_(specimen), mutants_(mutants), gradients_(specimen.gradients()) {}

  void add_all() {
    const std::vector<int> inputs = specimen_.differentiable_inputs();
    for (const int input : inputs) add_to_input(input);
    for (const int from : inputs) {
      for (const int to : inputs) add_wrong_input(from, to);
    }
    add(inputs.front(), MutantClass::kOverwritten, "replaces what it should be added to");
  }

 private:
  Mutant& add(int input, MutantClass kind, std::string description) {
    Mutant& mutant = mutants_.emplace_back();
    mutant.kind = kind;
    mutant.input = input;
    mutant.description = std::move(description);
    return mutant;
  }

  Elements gradient(int input) const {
    const std::vector<Value>& leaves = specimen_.leaves();
    const auto at = std::find(leaves.begin(), leaves.end(), specimen_.input(input));
    return Elements(gradients_[static_cast<std::size_t>(at - leaves.begin())]);
  }

  void add_to_input(int input) {
    const Elements g = gradient(input);
    add(input, MutantClass::kScaled, "times 1 + 1e-6").amount = kPartInAMillion;
    add(input, MutantClass::kScaled, "times 1 - 1e-6").amount = -kPartInAMillion;
    add_one_element(input, g);
    add_last(input, g);
    add(input, MutantClass::kSign, "the other sign");
    if (!g.is_constant()) {
      const bool vector = g.rows() == 1 || g.columns() == 1;
      add(input, MutantClass::kTransposed, vector ? "back to front" : "transposed");
    }
    add(input, MutantClass::kDropped, "zero");
  }

  void add_last(int input, const Elements& g) {
    if (g.rows() > 1) {
      add(input, MutantClass::kLastRow, "the last row is lost").row = g.last_row();
    }
    if (g.columns() > 1) {
      add(input, MutantClass::kLastColumn, "the last column is lost").column = g.last_column();
    }
    // Of a batched gradient its own rows, of any other what those of dY add to it.
    const Index batch = specimen_.inputs().size.rows, block = Plan::block_rows(batch);
    const bool batched = specimen_.input(input).shape().is_batched();
    const bool weight = input == specimen_.original().op->traits.weight_input;
    if (weight || !specimen_.runs_in_blocks() || block >= batch) return;
    if (batched && g.last_row() < (batch - 1) / block * block) return;
    add(input, MutantClass::kLastRow, "the last block of rows is lost").last_block = true;
  }

  void add_one_element(int input, const Elements& g) {
    const RandomKey key{.seed = specimen_.inputs().seed, .stream = kElementStream};
    const double u = random_uniform(key, static_cast<std::uint64_t>(input));
    const auto drawn = static_cast<Index>(u * static_cast<double>(g.count()));
    const auto add_element = [&](Index k, std::string_view what) -> Mutant& {
      const Index row = k / g.columns(), column = k % g.columns();
      Mutant& mutant = add(input, MutantClass::kOneElement,
                           fmt::format("element ({}, {}) {}", row, column, what));
      mutant.row = row;
      mutant.column = column;
      return mutant;
    };
    add_element(g.mattering_from(drawn), "times 1 + 1e-6").amount = kPartInAMillion;
    add_element(drawn, "is off by a thousandth of the largest").addend = kThousandth * g.largest();
  }

  void add_wrong_input(int from, int to) {
    const Value source = specimen_.input(from), target = specimen_.input(to);
    if (source == target || source.shape() != target.shape()) return;
    add(from, MutantClass::kWrongInput, fmt::format("goes to {} instead", target.node().name))
        .other_input = to;
  }

  Specimen& specimen_;
  std::vector<Mutant>& mutants_;
  std::vector<Tensor> gradients_;
};

void add_formulas(const Specimen& specimen, bool right, std::vector<Mutant>& mutants) {
  for (const WrongFormula& formula : wrong_formulas()) {
    if (formula.op != specimen.original().op || formula.right != right) continue;
    if (formula.kind == MutantClass::kBoundary && specimen.kinks().empty()) continue;
    if (formula.applies != nullptr && !formula.applies(specimen)) continue;
    Mutant& mutant = mutants.emplace_back();
    mutant.kind = formula.kind;
    mutant.input = formula.input;
    mutant.description = formula.description;
    mutant.backward = formula.backward;
    mutant.derivative = formula.derivative;
  }
}

}  // namespace

std::span<const WrongFormula> wrong_formulas() {
  static const std::vector<WrongFormula> formulas = [] {
    std::vector<WrongFormula> result;
    add_activation_formulas(result);
    add_arithmetic_formulas(result);
    add_matmul_formulas(result);
    add_column_formulas(result);
    add_softmax_formulas(result);
    add_normalization_formulas(result);
    add_reduction_formulas(result);
    add_loss_formulas(result);
    add_cross_entropy_formulas(result);
    add_gp_formulas(result);
    return result;
  }();
  return formulas;
}

std::vector<Mutant> mutants_of(Specimen& specimen) {
  std::vector<Mutant> mutants;
  const MutantScope undamaged(*specimen.original().op, nullptr);
  GenericMutants(specimen, mutants).add_all();
  add_formulas(specimen, false, mutants);
  return mutants;
}

std::vector<Mutant> controls_of(const Specimen& specimen) {
  std::vector<Mutant> controls;
  add_formulas(specimen, true, controls);
  return controls;
}

}  // namespace chainrule::internal
