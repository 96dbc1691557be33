// SPDX-License-Identifier: Apache-2.0
#include "damaged_op.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

struct Active {
  const OpDef* original = nullptr;
  const Mutant* mutant = nullptr;
};

// Functions of ops are plain pointers without a closure, so this is how a damaged one learns what
// to do, on whatever thread it runs. One thread at a time may damage.
constinit std::atomic<const OpDef*> active_original{nullptr};
constinit std::atomic<const Mutant*> active_mutant{nullptr};

std::recursive_mutex& damaging() {
  static std::recursive_mutex mutex;
  return mutex;
}

// What one call adds to the gradients, in memory of its own.
class Contribution {
 public:
  Contribution(const OpContext& context, std::uint32_t inputs) : context_(context) {
    context_.overwrite = kAllInputs;
    for (std::size_t i = 0; i < kMaxInputs; ++i) {
      TensorView& view = context_.input_gradients[i];
      if (((inputs >> i) & 1U) == 0) view = {};
      if (view.data == nullptr) continue;
      memory_[i].assign(static_cast<std::size_t>(view.rows * view.columns), 0.0);
      view = {memory_[i].data(), DType::kFloat64, view.rows, view.columns, view.columns};
    }
  }
  Contribution(const Contribution&) = delete;
  Contribution& operator=(const Contribution&) = delete;

  const OpContext& context() const noexcept { return context_; }

  void deliver(const OpContext& to, const Mutant* mutant) const {
    for (int i = 0; i < to.input_count; ++i) {
      if (!context_.wants(i)) continue;
      const bool replaces = mutant != nullptr && mutant->kind == MutantClass::kOverwritten;
      const bool accumulate = to.accumulates(i) && !replaces;
      const MatrixView<double> from = context_.in_gradient<double>(i);
      const MatrixView<double> gradient = to.in_gradient<double>(i);
      for (Index r = 0; r < from.rows; ++r) {
        for (Index c = 0; c < from.columns; ++c) {
          gradient(r, c) = accumulate ? gradient(r, c) + from(r, c) : from(r, c);
        }
      }
    }
  }

 private:
  OpContext context_;
  std::array<std::vector<double>, kMaxInputs> memory_;
};

template <class Change>
void for_elements(MatrixView<double> g, const Change& change) {
  for (Index i = 0; i < g.rows; ++i) {
    for (Index j = 0; j < g.columns; ++j) change(i, j, g(i, j));
  }
}

// Read column by column; a vector back to front.
void read_transposed(MatrixView<double> g) {
  const std::vector<double> copy(g.data, g.data + g.rows * g.columns);
  const bool vector = g.rows == 1 || g.columns == 1;
  for_elements(g, [&](Index i, Index j, double& value) {
    const Index k = i * g.columns + j;
    const auto at = static_cast<std::size_t>(vector ? g.rows * g.columns - 1 - k : j * g.rows + i);
    value = copy[at];
  });
}

void multiply_all(MatrixView<double> g, double factor) {
  for_elements(g, [factor](Index, Index, double& value) { value *= factor; });
}

// Damages rows [first, first + g.rows) of a gradient.
void damage_rows(const Mutant& mutant, const OpContext& context, MatrixView<double> g,
                 Index first) {
  const bool last_block =
      context.first_row > 0 && context.first_row + context.rows == context.batch_rows;
  switch (mutant.kind) {
    case MutantClass::kScaled:
      multiply_all(g, 1 + mutant.amount);
      break;
    case MutantClass::kOneElement:
      if (mutant.row >= first && mutant.row < first + g.rows) {
        double& value = g(mutant.row - first, mutant.column);
        value += value * mutant.amount + mutant.addend;
      }
      break;
    case MutantClass::kLastRow:
      for_elements(g, [&](Index i, Index, double& value) {
        if (mutant.last_block ? last_block : first + i == mutant.row) value = 0;
      });
      break;
    case MutantClass::kLastColumn:
      for_elements(g, [&](Index, Index j, double& value) {
        if (j == mutant.column) value = 0;
      });
      break;
    case MutantClass::kSign:
      multiply_all(g, -1);
      break;
    case MutantClass::kTransposed:
      read_transposed(g);
      break;
    case MutantClass::kDropped:
      for_elements(g, [](Index, Index, double& value) { value = 0; });
      break;
    default:
      break;  // not a matter of one gradient's elements
  }
}

void move_to_other(const Mutant& mutant, const Contribution& contribution) {
  if (!contribution.context().wants(mutant.other_input)) return;
  const MatrixView<double> from = contribution.context().in_gradient<double>(mutant.input);
  const MatrixView<double> to = contribution.context().in_gradient<double>(mutant.other_input);
  for_elements(from, [&](Index i, Index j, double& value) {
    to(i, j) += value;
    value = 0;
  });
}

// dx = dy f'(x): elementwise, or the mean over the columns of a loss.
void apply_derivative(const Call& call, WrongDerivative derivative) {
  const MatrixView<double> dx = call.gradient(0);
  const MatrixView<const double> x = call.in(0);
  const MatrixView<const double> dy = call.dy();
  const bool loss = call.context().input_count == 2;
  const MatrixView<const double> other = loss ? call.in(1) : call.out();
  for_elements(dx, [&](Index i, Index j, double& value) {
    const double d = loss ? dy(i, 0) / static_cast<double>(dx.columns) : dy(i, j);
    value = d * derivative(x(i, j), other(i, j), call.real());
  });
}

void compute(const Call& call, const Mutant* mutant) {
  if (mutant == nullptr || is_generic(*mutant)) {
    call.run_original();
  } else if (mutant->backward != nullptr) {
    mutant->backward(call);
  } else {
    apply_derivative(call, mutant->derivative);
  }
}

Active active() {
  const Active now{active_original.load(), active_mutant.load()};
  if (now.original == nullptr) throw Error("a damageable op runs outside of every MutantScope");
  return now;
}

void damaged_backward(const OpContext& context) {
  auto [original, mutant] = active();
  const int weight = original->traits.weight_input;
  if (mutant != nullptr && mutant->input == weight && mutant->kind != MutantClass::kOverwritten) {
    mutant = nullptr;
  }
  const Contribution contribution(context, kAllInputs);
  compute(Call(*original, contribution.context()), mutant);
  if (mutant != nullptr && is_generic(*mutant) && contribution.context().wants(mutant->input)) {
    const MatrixView<double> g = contribution.context().in_gradient<double>(mutant->input);
    // Windows on a batch are smaller than it; anything else is whole.
    const bool window = g.rows == context.rows && context.rows < context.batch_rows;
    damage_rows(*mutant, context, g, window ? context.first_row : 0);
    if (mutant->kind == MutantClass::kWrongInput) move_to_other(*mutant, contribution);
  }
  contribution.deliver(context, mutant);
}

void damaged_weight_gradient(const OpContext& context, Index first, Index count) {
  auto [original, mutant] = active();
  const int weight = original->traits.weight_input;
  if (mutant != nullptr && mutant->input != weight && mutant->kind != MutantClass::kOverwritten) {
    mutant = nullptr;
  }
  const Contribution contribution(context, 1U << weight);
  compute(Call(*original, contribution.context(), first, count), mutant);
  if (mutant != nullptr && is_generic(*mutant)) {
    const MatrixView<double> g = contribution.context().in_gradient<double>(weight);
    damage_rows(*mutant, context, g, first);
  }
  contribution.deliver(context, mutant);
}

void refuse_backward(const OpContext&) {
  throw UnsupportedError("mutants: a damaged op runs in float64 only");
}

void refuse_weight_gradient(const OpContext& context, Index, Index) { refuse_backward(context); }

}  // namespace

MatrixView<double> Call::gradient(int i) const noexcept {
  return context_.wants(i) ? context_.in_gradient<double>(i) : MatrixView<double>{};
}

void Call::run_original(const OpContext& changed) const {
  if (weight_) {
    original_.weight_gradient[dtype_index(DType::kFloat64)](changed, first_, count_);
  } else {
    original_.backward[dtype_index(DType::kFloat64)](changed);
  }
}

OpDef damageable(const OpDef& original) {
  OpDef op = original;
  op.traits.backward_reads = {.inputs = kAllInputs, .output = true};
  op.traits.output_may_alias_input = false;
  op.traits.gradient_may_alias = false;
  op.traits.handles_overwrite = true;
  op.traits.weight_columns = false;
  op.backward = {&refuse_backward, &damaged_backward};
  if (original.traits.weight_input >= 0) {
    op.weight_gradient = {&refuse_weight_gradient, &damaged_weight_gradient};
    op.weight_gradient_cannot_fail = false;
  }
  return op;
}

MutantScope::MutantScope(const OpDef& original, const Mutant* mutant)
    : lock_(damaging()),
      outer_original_(active_original.exchange(&original)),
      outer_mutant_(active_mutant.exchange(mutant)) {}

MutantScope::~MutantScope() {
  active_original.store(outer_original_);
  active_mutant.store(outer_mutant_);
}

}  // namespace chainrule::internal
