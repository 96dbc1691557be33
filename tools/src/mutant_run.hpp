// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/check/mutants.hpp"

namespace chainrule::tools {

/// All that one run of `gradcheck --mutants` found.
struct MutantRun {
  std::string architecture;
  std::uint64_t seed = 1;
  MutationReport report{};  ///< of all ops together
};

/// How many mutants of one group there were, and what became of them.
struct MutantCounts {
  std::string name;  ///< of the op, or of the kind of damage
  Index total = 0;   ///< without the equivalent ones
  Index caught = 0;
  Index equivalent = 0;
  std::array<Index, kMutantDetectors> caught_by{};
};

inline constexpr std::array<MutantDetector, kMutantDetectors> kDetectors = {
    MutantDetector::kDifferences, MutantDetector::kProperties, MutantDetector::kForwardMode,
    MutantDetector::kContract};

/// In the order in which they come.
std::vector<MutantCounts> counts_by_op(const MutationReport& report);
std::vector<MutantCounts> counts_by_kind(const MutationReport& report);

inline bool survived(const MutantResult& mutant) { return !mutant.equivalent && !mutant.caught(); }
std::vector<const MutantResult*> survivors_of(const MutationReport& report);

/// "layer_norm 5x4, scale 0.1: gradient of x, dropped term: the mean term is dropped".
std::string mutant_text(const MutantResult& mutant);
/// "relu 5x4, scale 10, seed 1: forward mode: ...".
std::string alarm_text(const FalseAlarm& alarm);
/// "differences, contract"; empty when nobody noticed.
std::string detectors_of(const MutantResult& mutant);
/// "caught 240 of 240 mutants (3 more equivalent), no false alarm".
std::string caught_text(const MutationReport& report);
/// "234 inputs, 12 exactly at a kink, 7 right formulas in place of backward: no false alarm".
std::string undamaged_text(const MutationReport& report);

/// The lines of the terminal's table; see GradcheckTable.
class MutantTable {
 public:
  /// `names` is the width of the first column. With `every_mutant` a line for each of them too.
  MutantTable(std::size_t names, bool every_mutant);

  std::string heading() const;
  std::string lines(const MutationReport& of_one_op) const;

 private:
  std::size_t names_;
  bool every_mutant_;
};

/// Every mutant that survived and every false alarm, at most 50 of each.
std::string mutant_failures_text(const MutationReport& report);

// Whole files.
std::string mutants_json(const MutantRun& run);
/// A suite for each op, with a case for each kind of damage and one for the undamaged op.
std::string mutants_junit(const MutantRun& run);
/// A page without anything outside it.
std::string mutants_html(const MutantRun& run);

}  // namespace chainrule::tools
