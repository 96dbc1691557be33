// SPDX-License-Identifier: Apache-2.0
#include "mutant_run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "common.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {
namespace {

template <class NameOf>
std::vector<MutantCounts> counts_by(const MutationReport& report, NameOf&& name_of) {
  std::vector<MutantCounts> groups;
  for (const MutantResult& mutant : report.mutants) {
    const std::string name(name_of(mutant));
    const auto known = std::find_if(groups.begin(), groups.end(),
                                    [&](const MutantCounts& group) { return group.name == name; });
    MutantCounts& counts =
        known != groups.end() ? *known : groups.emplace_back(MutantCounts{.name = name});
    (mutant.equivalent ? counts.equivalent : counts.total) += 1;
    counts.caught += mutant.caught() ? 1 : 0;
    for (const MutantDetector detector : kDetectors) {
      const auto i = static_cast<std::size_t>(detector);
      counts.caught_by[i] += mutant.caught_by_detector(detector) ? 1 : 0;
    }
  }
  return groups;
}

template <class T>
void append(std::vector<T>& to, std::vector<T>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

void add(MutationReport& to, MutationReport&& from) {
  append(to.mutants, from.mutants);
  append(to.alarms, from.alarms);
  for (Index MutationReport::*count :
       {&MutationReport::total, &MutationReport::caught, &MutationReport::equivalent,
        &MutationReport::inputs, &MutationReport::kinks, &MutationReport::unresolved,
        &MutationReport::controls}) {
    to.*count += from.*count;
  }
  for (std::size_t i = 0; i < to.caught_by.size(); ++i) to.caught_by[i] += from.caught_by[i];
  to.seconds += from.seconds;
}

std::string alarms_text(const MutationReport& report) {
  return report.alarms.empty() ? "no false alarm"
                               : counted(std::ssize(report.alarms), "false alarm");
}

}  // namespace

void damage_ops(std::span<const SelectedOp> ops, const KernelTable& kernels,
                const MutantObserver& observer, MutantRun& run) {
  for (std::size_t i = 0; i < ops.size(); ++i) {
    observer.before(i, ops.size(), ops[i].name);
    MutationReport of_one_op =
        check_mutants({.ops = {ops[i].name}, .kernels = &kernels, .seed = run.seed});
    observer.op(of_one_op);
    add(run.report, std::move(of_one_op));
  }
}

std::vector<MutantCounts> counts_by_op(const MutationReport& report) {
  return counts_by(report, [](const MutantResult& mutant) { return mutant.op; });
}

std::vector<MutantCounts> counts_by_kind(const MutationReport& report) {
  return counts_by(report, [](const MutantResult& mutant) { return to_string(mutant.kind); });
}

std::vector<const MutantResult*> survivors_of(const MutationReport& report) {
  std::vector<const MutantResult*> survivors;
  for (const MutantResult& mutant : report.mutants) {
    if (survived(mutant)) survivors.push_back(&mutant);
  }
  return survivors;
}

std::string mutant_text(const MutantResult& mutant) {
  return fmt::format("{} {}x{}, scale {:g}{}: gradient of {}, {}: {}", mutant.name, mutant.rows,
                     mutant.columns, mutant.scale, mutant.at_kinks ? ", at kinks" : "",
                     mutant.input, to_string(mutant.kind), mutant.description);
}

std::string alarm_text(const FalseAlarm& alarm) {
  return fmt::format("{} {}x{}, scale {:g}, seed {}: {}: {}", alarm.name, alarm.rows, alarm.columns,
                     alarm.scale, alarm.seed, to_string(alarm.detector), alarm.evidence);
}

std::string detectors_of(const MutantResult& mutant) {
  std::string text;
  for (const MutantDetector detector : kDetectors) {
    if (!mutant.caught_by_detector(detector)) continue;
    text += (text.empty() ? "" : ", ") + std::string(to_string(detector));
  }
  return text;
}

std::string caught_text(const MutationReport& report) {
  std::string text = fmt::format("caught {} of {}", report.caught, counted(report.total, "mutant"));
  if (report.equivalent > 0) text += fmt::format(" ({} more equivalent)", report.equivalent);
  return text + ", " + alarms_text(report);
}

std::string undamaged_text(const MutationReport& report) {
  return fmt::format("{}, {} exactly at a kink, {} in place of backward: {}",
                     counted(report.inputs, "input"), report.kinks,
                     counted(report.controls, "right formula"), alarms_text(report));
}

}  // namespace chainrule::tools
