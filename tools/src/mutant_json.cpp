// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>

#include "chainrule/core/version.hpp"
#include "common.hpp"
#include "mutant_run.hpp"

namespace chainrule::tools {
namespace {

using MutantJson = nlohmann::ordered_json;

MutantJson as_json(const std::array<Index, kMutantDetectors>& caught_by) {
  MutantJson json = MutantJson::object();
  for (const MutantDetector detector : kDetectors) {
    json[std::string(to_string(detector))] = caught_by[static_cast<std::size_t>(detector)];
  }
  return json;
}

MutantJson as_json(const MutantResult& mutant) {
  MutantJson json{{"op", mutant.op},
                  {"case", mutant.name},
                  {"rows", mutant.rows},
                  {"columns", mutant.columns},
                  {"scale", mutant.scale},
                  {"at_kinks", mutant.at_kinks},
                  {"input", mutant.input},
                  {"kind", to_string(mutant.kind)},
                  {"own_formula", mutant.own_formula},
                  {"description", mutant.description},
                  {"equivalent", mutant.equivalent},
                  {"caught", mutant.caught()},
                  {"caught_by", MutantJson::array()}};
  for (const MutantDetector detector : kDetectors) {
    if (mutant.caught_by_detector(detector)) json["caught_by"].push_back(to_string(detector));
  }
  if (mutant.caught()) json["evidence"] = mutant.evidence;
  return json;
}

MutantJson as_json(const FalseAlarm& alarm) {
  return {{"case", alarm.name},        {"rows", alarm.rows},
          {"columns", alarm.columns},  {"scale", alarm.scale},
          {"seed", alarm.seed},        {"detector", to_string(alarm.detector)},
          {"evidence", alarm.evidence}};
}

MutantJson as_json(const MutantCounts& counts) {
  return {{"op", counts.name},
          {"caught", counts.caught},
          {"total", counts.total},
          {"equivalent", counts.equivalent},
          {"caught_by", as_json(counts.caught_by)}};
}

template <class Range>
MutantJson list_of(const Range& items) {
  MutantJson list = MutantJson::array();
  for (const auto& item : items) list.push_back(as_json(item));
  return list;
}

}  // namespace

std::string mutants_json(const MutantRun& run) {
  const MutationReport& report = run.report;
  return to_text({{"version", CHAINRULE_VERSION_STRING},
                  {"arch", run.architecture},
                  {"dtype", "float64"},
                  {"seed", run.seed},
                  {"ok", report.ok()},
                  {"caught", report.caught},
                  {"total", report.total},
                  {"equivalent", report.equivalent},
                  {"caught_by", as_json(report.caught_by)},
                  {"undamaged",
                   {{"inputs", report.inputs},
                    {"kinks", report.kinks},
                    {"unresolved", report.unresolved},
                    {"controls", report.controls},
                    {"alarms", report.alarms.size()}}},
                  {"seconds", report.seconds},
                  {"ops", list_of(counts_by_op(report))},
                  {"alarms", list_of(report.alarms)},
                  {"mutants", list_of(report.mutants)}});
}

}  // namespace chainrule::tools
