// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/losses.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

using Matrix = MatrixView<const double>;

// dx = dl (p mass - q'), q' = (1 - s) q + s / C, mass = sum_k q'_k, with what can be wrong about
// it.
struct EntropyVariation {
  bool probabilities = true;
  bool target = true;
  bool smoothing = true;
  bool keep = true;        // (1 - s) in front of q
  bool spread = true;      // s / C
  bool mass = true;        // else taken for 1
  bool gradient = true;    // dl, else 1
  Index classes = 0;       // s / (C + this)
  Index shift = 0;         // q of this many columns to the left
  Index row = 0;           // p of this many rows below
  Index gradient_row = 0;  // dl of this many rows below
};

template <const EntropyVariation& kEntropyVariation>
void entropy_with(const Call& call) {
  constexpr EntropyVariation v = kEntropyVariation;
  const bool labels = call.context().inputs[1].dtype == DType::kInt32;
  const Matrix p = call.saved();
  const double s = v.smoothing ? call.real()[0] : 0;
  const double spread = v.spread ? s / as_real(p.columns + v.classes) : 0;
  const auto target = [&](Index i, Index k) {
    const Index from = (k - v.shift + p.columns) % p.columns;
    const double q = labels ? (call.context().input<std::int32_t>(1)(i, 0) == from ? 1 : 0)
                            : call.in(1)(i, from);
    return (v.keep ? 1 - s : 1) * q + spread;
  };
  set_elements(call.gradient(0), [&](Index i, Index k) {
    double mass = 0;
    for (Index c = 0; c < p.columns; ++c) mass += target(i, c);
    const double factor = v.mass && !labels ? mass : 1;
    double difference = v.probabilities ? p((i + v.row) % p.rows, k) * factor : 0;
    if (v.target) difference -= target(i, k);
    return v.gradient ? call.dy()((i + v.gradient_row) % p.rows, 0) * difference : difference;
  });
}

constexpr EntropyVariation kRightEntropy{};
constexpr EntropyVariation kNoProbabilities{.probabilities = false};
constexpr EntropyVariation kNoTarget{.target = false};
constexpr EntropyVariation kNoSmoothing{.smoothing = false};
constexpr EntropyVariation kNoKeep{.keep = false};
constexpr EntropyVariation kNoSpread{.spread = false};
constexpr EntropyVariation kNoMass{.mass = false};
constexpr EntropyVariation kNoGradient{.gradient = false};
constexpr EntropyVariation kFewerClasses{.classes = -1};
constexpr EntropyVariation kShifted{.shift = 1};
constexpr EntropyVariation kNextRow{.row = 1};
constexpr EntropyVariation kNextGradient{.gradient_row = 1};

bool is_smoothed(const Specimen& specimen) { return specimen.node().attributes.real[0] > 0; }
bool sums_to_something_else(const Specimen& specimen) {
  return variant_is(specimen, "weights as target");
}

}  // namespace

void add_cross_entropy_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  for (const OpDef* op : {&kSoftmaxCrossEntropyOp, &kSoftmaxCrossEntropyProbabilitiesOp}) {
    const FormulaAdder add(formulas, *op), smoothed = add.where(is_smoothed);
    add.control(entropy_with<kRightEntropy>);
    add(kDroppedTerm, "softmax(x) is missing", entropy_with<kNoProbabilities>);
    add(kDroppedTerm, "the target is missing", entropy_with<kNoTarget>);
    add(kDroppedTerm, "dl is missing", entropy_with<kNoGradient>);
    add(kWrongTerm, "dl of the next row", entropy_with<kNextGradient>);
    add(kWrongTerm, "the label is off by one", entropy_with<kShifted>);
    add(kSavedValue, "softmax(x) of the next row", entropy_with<kNextRow>);
    add(kSavedValue, "the logits read for softmax(x)", [](const Call& call) {
      ChangedOperand x(call.in(0));
      OpContext changed = call.context();
      changed.saved = x.view();
      call.run_original(changed);
    });
    smoothed(kDroppedTerm, "smoothing is missing", entropy_with<kNoSmoothing>);
    smoothed(kDroppedTerm, "1 - smoothing is missing", entropy_with<kNoKeep>);
    smoothed(kDroppedTerm, "smoothing / C is missing", entropy_with<kNoSpread>);
    smoothed(kCount, "smoothing / (C - 1) for smoothing / C", entropy_with<kFewerClasses>);
  }
  const FormulaAdder weights(formulas, kSoftmaxCrossEntropyProbabilitiesOp, 0,
                             sums_to_something_else);
  weights(kDroppedTerm, "the target taken to sum to 1", entropy_with<kNoMass>);
}

}  // namespace chainrule::internal
