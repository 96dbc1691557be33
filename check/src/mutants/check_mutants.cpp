// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <utility>

#include "chainrule/check/mutants.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "mutant_list.hpp"

namespace chainrule {
namespace {

using internal::Detector;
using internal::InputSet;
using internal::Mutant;
using internal::MutantScope;
using internal::Specimen;

constexpr std::array<double, 3> kMutantScales = {0.1, 1, 10};
// The first with every scale. A square, so that a matrix is not told from its transpose by its
// shape, and a batch of two blocks have nothing to do with how large the numbers are.
constexpr auto kMutantSizes = std::to_array<CaseSize>({
    {"small", 5, 4},
    {"square", 4, 4},
    {"blocks", 18, 3},
});

// Where these have their kink does not move with x.
bool has_fixed_kink(const OpCase& op_case) {
  const std::string_view op = op_case.op->name;
  return !op_case.variant.empty() && (op == "hinge" || op == "huber");
}

std::vector<InputSet> input_sets(const OpCase& op_case, std::uint64_t seed) {
  std::vector<InputSet> sets;
  for (const CaseSize& size : kMutantSizes) {
    for (const double scale : kMutantScales) {
      if (scale == 1 || !has_fixed_kink(op_case)) sets.push_back({size, scale, seed});
    }
  }
  return sets;
}

bool is_worth_damaging(const InputSet& inputs) {
  return inputs.scale == 1 || inputs.size.name == kMutantSizes[0].name;
}

std::vector<const OpDef*> ops_named(const std::vector<std::string>& names) {
  std::vector<const OpDef*> ops;
  std::string known;
  for (const OpDef* op : all_ops()) known += (known.empty() ? "" : ", ") + std::string(op->name);
  for (const std::string& name : names) {
    const auto at = std::find_if(all_ops().begin(), all_ops().end(),
                                 [&](const OpDef* op) { return op->name == name; });
    if (at == all_ops().end()) {
      throw ArgumentError(
          fmt::format("check_mutants: no op is called '{}'; there are: {}", name, known));
    }
    if (std::find(ops.begin(), ops.end(), *at) == ops.end()) ops.push_back(*at);
  }
  return names.empty() ? std::vector<const OpDef*>(all_ops().begin(), all_ops().end()) : ops;
}

class Campaign {
 public:
  explicit Campaign(const MutationOptions& options) : options_(options) {}

  void attack(const OpDef& op) {
    for (const std::span<const OpCase> cases : {op_cases(), internal::cases_for_mutants()}) {
      for (const OpCase& op_case : cases) {
        if (op_case.op != &op) continue;
        for (const InputSet& inputs : input_sets(op_case, options_.seed)) {
          if (!is_worth_damaging(inputs)) continue;
          Specimen specimen(op_case, inputs, options_.kernels);
          damage(specimen);
        }
        for (int k = 0; k < options_.undamaged_seeds; ++k) check_undamaged(op_case, k);
      }
    }
  }

  MutationReport& report() { return report_; }

  void finish() {
    for (const MutantResult& mutant : report_.mutants) {
      report_.equivalent += mutant.equivalent ? 1 : 0;
      report_.total += mutant.equivalent ? 0 : 1;
      report_.caught += mutant.caught() ? 1 : 0;
      for (const Detector& detector : internal::detectors()) {
        const auto i = static_cast<std::size_t>(detector.name);
        report_.caught_by[i] += mutant.caught_by_detector(detector.name) ? 1 : 0;
      }
    }
  }

 private:
  void damage(Specimen& specimen) {
    const OpDef& op = *specimen.original().op;
    const std::vector<std::uint64_t> right = [&] {
      const MutantScope undamaged(op, nullptr);
      return specimen.bits();
    }();
    for (const Mutant& mutant : mutants_of(specimen)) {
      const MutantScope damaged(op, &mutant);
      MutantResult& result = report_.mutants.emplace_back();
      result.op = op.name;
      result.name = specimen.original().name();
      result.rows = specimen.inputs().size.rows;
      result.columns = specimen.inputs().size.columns;
      result.scale = specimen.inputs().scale;
      result.at_kinks = !specimen.kinks().empty();
      result.kind = mutant.kind;
      result.input = specimen.input(mutant.input).node().name;
      result.own_formula = !is_generic(mutant);
      result.description = mutant.description;
      result.equivalent = specimen.bits() == right;
      if (!result.equivalent) detect(specimen, result);
    }
  }

  static void detect(Specimen& specimen, MutantResult& result) {
    const CaseReport report = specimen.check();
    for (const Detector& detector : internal::detectors()) {
      std::string evidence = detector.detect(specimen, report);
      if (evidence.empty()) continue;
      if (!result.caught()) result.evidence = std::move(evidence);
      result.caught_by |= 1U << static_cast<unsigned>(detector.name);
    }
  }

  void check_undamaged(const OpCase& op_case, int further) {
    const std::uint64_t seed = options_.seed + static_cast<std::uint64_t>(further);
    for (const InputSet& inputs : input_sets(op_case, seed)) {
      Specimen specimen(op_case, inputs, options_.kernels);
      check_undamaged(specimen);
    }
  }

  void check_undamaged(Specimen& specimen) {
    {
      const MutantScope undamaged(*specimen.original().op, nullptr);
      const CaseReport report = specimen.check();
      for (const ValueCheck& check : report.gradients.values) {
        report_.inputs += check.elements;
        report_.unresolved += check.unresolved;
      }
      report_.kinks += std::ssize(specimen.kinks());
      expect_silence(specimen, report, "");
    }
    for (const Mutant& control : internal::controls_of(specimen)) {
      const MutantScope scope(*specimen.original().op, &control);
      ++report_.controls;
      expect_silence(specimen, specimen.check(), control.description + ", ");
    }
  }

  void expect_silence(Specimen& specimen, const CaseReport& report, const std::string& what) {
    for (const Detector& detector : internal::detectors()) {
      const std::string evidence = detector.detect(specimen, report);
      if (evidence.empty()) continue;
      FalseAlarm& alarm = report_.alarms.emplace_back();
      alarm.name = specimen.original().name();
      alarm.rows = specimen.inputs().size.rows;
      alarm.columns = specimen.inputs().size.columns;
      alarm.scale = specimen.inputs().scale;
      alarm.seed = specimen.inputs().seed;
      alarm.detector = detector.name;
      alarm.evidence = what + evidence;
    }
  }

  const MutationOptions& options_;
  MutationReport report_;
};

}  // namespace

std::string_view to_string(MutantClass kind) noexcept {
  switch (kind) {
    case MutantClass::kScaled:
      return "scaled";
    case MutantClass::kOneElement:
      return "one element";
    case MutantClass::kLastRow:
      return "last row";
    case MutantClass::kLastColumn:
      return "last column";
    case MutantClass::kSign:
      return "sign";
    case MutantClass::kTransposed:
      return "transposed";
    case MutantClass::kOverwritten:
      return "overwritten";
    case MutantClass::kWrongInput:
      return "wrong input";
    case MutantClass::kDropped:
      return "dropped";
    case MutantClass::kDroppedTerm:
      return "dropped term";
    case MutantClass::kWrongTerm:
      return "wrong term";
    case MutantClass::kCount:
      return "count";
    case MutantClass::kSavedValue:
      return "saved value";
    case MutantClass::kEpsilon:
      return "epsilon";
    case MutantClass::kBoundary:
      return "boundary";
  }
  return "unknown";
}

std::string_view to_string(MutantDetector detector) noexcept {
  switch (detector) {
    case MutantDetector::kDifferences:
      return "differences";
    case MutantDetector::kProperties:
      return "properties";
    case MutantDetector::kForwardMode:
      return "forward mode";
    case MutantDetector::kContract:
      return "contract";
  }
  return "unknown";
}

MutationReport check_mutants(const MutationOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  if (options.undamaged_seeds < 0) {
    throw ArgumentError(fmt::format("check_mutants: undamaged_seeds is {}, expected 0 or more",
                                    options.undamaged_seeds));
  }
  const std::vector<const OpDef*> ops = ops_named(options.ops);
  Campaign campaign(options);
  for (std::size_t k = 0; k < ops.size(); ++k) {
    if (options.progress) {
      options.progress({.op = ops[k]->name,
                        .done = static_cast<Index>(k),
                        .count = std::ssize(ops),
                        .mutants = std::ssize(campaign.report().mutants)});
    }
    campaign.attack(*ops[k]);
  }
  campaign.finish();
  MutationReport report = std::move(campaign.report());
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace chainrule
