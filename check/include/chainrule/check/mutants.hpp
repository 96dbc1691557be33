// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/shape.hpp"
#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule {

/// What is wrong with a damaged backward. The first nine damage what the op computed, whatever the
/// op; the others are wrong formulas of one op.
enum class MutantClass : std::uint8_t {
  kScaled,       ///< times 1 + 1e-6 or 1 - 1e-6
  kOneElement,   ///< an element of at least a thousandth of the largest off by a part in 10^6, or
                 ///< any by a thousandth of the largest
  kLastRow,      ///< the last row that has such an element, or the last block of rows, is lost
  kLastColumn,   ///< the last column that has one is lost
  kSign,         ///< the other sign
  kTransposed,   ///< read column by column; a vector back to front
  kOverwritten,  ///< replaces what it should be added to
  kWrongInput,   ///< goes to another input
  kDropped,      ///< zero
  kDroppedTerm,  ///< a term or factor is missing
  kWrongTerm,    ///< a term or factor that belongs to something else
  kCount,        ///< n against n - 1 or 1, a sum against a mean
  kSavedValue,   ///< wrong saved value, or one value read for another
  kEpsilon,      ///< epsilon outside the root, or missing
  kBoundary,     ///< wrong exactly at a kink and nowhere else
};

/// "scaled", "one element", "last row", ...
CHAINRULE_API std::string_view to_string(MutantClass kind) noexcept;

/// Who notices a damaged backward.
enum class MutantDetector : std::uint8_t {
  kDifferences,  ///< check_case(): a comparison with finite differences disagrees
  kProperties,   ///< check_case(): any other failure, such as "applied twice" or determinism
  kForwardMode,  ///< check_case(): backward against the op's jvp, which is not damaged
  kContract,     ///< the value that the op's contract states at a kink
};
inline constexpr int kMutantDetectors = 4;

/// "differences", "properties", "forward mode" or "contract".
CHAINRULE_API std::string_view to_string(MutantDetector detector) noexcept;

/// One way to damage one op, on one set of inputs.
struct MutantResult {
  std::string op;    ///< "layer_norm"
  std::string name;  ///< OpCase::name(), "softmax_cross_entropy (smoothing)"
  Index rows = 0;    ///< size of the case
  Index columns = 0;
  double scale = 1;       ///< factor on the inputs' random numbers
  bool at_kinks = false;  ///< some inputs sit exactly at a kink
  MutantClass kind = MutantClass::kScaled;
  std::string input;         ///< whose gradient is wrong
  bool own_formula = false;  ///< a wrong formula of this op, not what could happen to any
  std::string description;   ///< "the mean term is dropped"
  /// Not a bit of any gradient changed, also not where the op is applied twice.
  bool equivalent = false;
  std::uint32_t caught_by = 0;  ///< bit i: MutantDetector i
  std::string evidence;         ///< what the first of these said

  bool caught() const noexcept { return caught_by != 0; }
  bool caught_by_detector(MutantDetector detector) const noexcept {
    return ((caught_by >> static_cast<unsigned>(detector)) & 1U) != 0;
  }
};

/// A detector that found something on an op that nobody damaged, or on a control.
struct FalseAlarm {
  std::string name;
  Index rows = 0;
  Index columns = 0;
  double scale = 1;
  std::uint64_t seed = 0;
  MutantDetector detector = MutantDetector::kDifferences;
  std::string evidence;
};

struct CHAINRULE_API MutationReport {
  /// Op by op; those that escaped are neither equivalent nor caught.
  std::vector<MutantResult> mutants;
  Index total = 0;  ///< mutants that changed some bit: the ones there are to catch
  Index caught = 0;
  Index equivalent = 0;
  /// How many each detector caught, in the order of MutantDetector.
  std::array<Index, kMutantDetectors> caught_by{};

  /// The undamaged ops on the same inputs and with other seeds.
  Index inputs = 0;      ///< elements whose gradient was compared
  Index kinks = 0;       ///< of these, how many sat exactly at a kink
  Index unresolved = 0;  ///< of these, where differences could say nothing
  Index controls = 0;    ///< right formulas put in place of an op's backward as wrong ones are
  std::vector<FalseAlarm> alarms;
  double seconds = 0;

  /// Something was damaged, all of it was caught, and nothing undamaged was.
  bool ok() const noexcept { return total > 0 && caught == total && alarms.empty(); }
};

struct MutationProgress {
  std::string_view op;  ///< about to be damaged
  Index done = 0;       ///< ops
  Index count = 0;
  Index mutants = 0;  ///< so far
};

struct MutationOptions {
  /// Names of ops; empty: all. ArgumentError for an unknown one.
  std::vector<std::string> ops{};
  const KernelTable* kernels = nullptr;  ///< null: default_kernels()
  std::uint64_t seed = 1;
  /// Seeds with which the undamaged ops are checked, one after the other. ArgumentError for a
  /// negative number.
  int undamaged_seeds = 1;
  std::function<void(const MutationProgress&)> progress{};
};

/// The proof that the gradient checker sees: backward of every op, in every case of the table, is
/// damaged on purpose, in float64, and the checker is run on it: check_case() but for its second
/// order, and the contract's values at kinks. Inputs are the case's random numbers
/// times 0.1, 1 and 10 (data that no gradient reaches stays in its domain), the square ones and
/// those of several blocks of rows at scale 1 alone, and inputs that sit exactly at kinks. Those of
/// ops with kinks are odd multiples of 1/16, so exactly on a kink or at least 1/16 times the scale
/// away from it: nothing is damaged between. An unresolved right op counts as `unresolved`, not as
/// a false alarm. In float32 there is nothing to learn from this: backward is the same template,
/// and a part in 10^6 is within its rounding.
///
/// Nothing is printed. An escaped mutant or a false alarm stands in the report. Calls from several
/// threads take turns.
CHAINRULE_API MutationReport check_mutants(const MutationOptions& options = {});

}  // namespace chainrule
