// SPDX-License-Identifier: Apache-2.0
#include "report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

namespace chainrule::bench {
namespace {

using Json = nlohmann::ordered_json;

bool is_bad(const Entry& entry) {
  return entry.status == Status::kDisagrees || entry.status == Status::kFailed;
}

std::string cell(const Outcome& outcome, const Entry& entry) {
  if (entry.status == Status::kAbsent) return "-";
  if (entry.status != Status::kTimed) return std::string(name_of(entry.status));
  const Time& best = entry.best();
  const std::string time = fmt::format("{} ({})", format_seconds(best.seconds), best.threads);
  const double ratio = outcome.ratio(entry);
  if (&entry == &outcome.entries.front() || ratio == 0) return time;
  return fmt::format("{} {:>6}", time, fmt::format("{:.{}f}x", ratio, ratio < 10 ? 2 : 1));
}

std::vector<std::vector<std::string>> cells_of(const Report& report) {
  std::vector<std::vector<std::string>> rows{{"workload"}};
  rows.front().insert(rows.front().end(), report.names.begin(), report.names.end());
  for (const Outcome& outcome : report.outcomes) {
    auto& row = rows.emplace_back(std::vector<std::string>{outcome.workload->name});
    for (const Entry& entry : outcome.entries) row.push_back(cell(outcome, entry));
  }
  return rows;
}

std::string align(const std::vector<std::vector<std::string>>& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : rows) width = std::max(width, other[column].size());
      text += column == 0 ? fmt::format("{:<{}}", row[column], width)
                          : fmt::format("  {:>{}}", row[column], width);
    }
    text += '\n';
  }
  return text;
}

Json entry_json(const Outcome& outcome, const Entry& entry) {
  Json json{{"name", entry.name}, {"status", name_of(entry.status)}};
  if (!entry.library.empty()) json["library"] = entry.library;
  if (!entry.message.empty()) json["message"] = entry.message;
  if (entry.status != Status::kTimed) return json;
  for (const Time& time : entry.times) {
    json["times"].push_back(
        {{"threads", time.threads}, {"seconds", time.seconds}, {"rounds", time.rounds}});
  }
  json["best_threads"] = entry.best().threads;
  json["best_seconds"] = entry.best().seconds;
  const double ratio = outcome.ratio(entry);
  json["ratio"] = ratio > 0 ? Json(ratio) : Json();
  return json;
}

Json outcome_json(const Outcome& outcome) {
  const Workload& workload = *outcome.workload;
  Json json{{"workload", workload.name},
            {"widths", workload.widths},
            {"batch", workload.batch},
            {"task", name_of(workload.task)},
            {"entries", Json::array()}};
  for (const Entry& entry : outcome.entries) json["entries"].push_back(entry_json(outcome, entry));
  return json;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) result += c == '"' ? "\"\"" : std::string(1, c);
  return result + '"';
}

}  // namespace

bool Report::ok() const {
  return std::none_of(outcomes.begin(), outcomes.end(), [](const Outcome& outcome) {
    return std::any_of(outcome.entries.begin(), outcome.entries.end(), is_bad);
  });
}

std::string format_threads(const std::vector<int>& threads) {
  const bool one = threads.size() == 1 && threads.front() == 1;
  return fmt::format("{} thread{}", fmt::join(threads, " or "), one ? "" : "s");
}

std::string as_table(const Report& report) {
  std::string text = fmt::format(
      "Time of a run on the best of {} (that many are in brackets), the median of {} rounds;\n"
      "behind it the ratio to ours: above 1 we are faster.\n\n",
      format_threads(report.settings.threads), report.settings.rounds);
  if (report.settings.busy > 0) {
    text.insert(0, fmt::format("Beside {} busy processes.\n", report.settings.busy));
  }
  text += align(cells_of(report));
  for (const Outcome& outcome : report.outcomes) {
    for (const Entry& entry : outcome.entries) {
      if (!is_bad(entry)) continue;
      text += fmt::format("\n{}, {} {}: {}\n", outcome.workload->name, entry.name,
                          name_of(entry.status), entry.message);
    }
  }
  return text;
}

std::string as_json(const Report& report) {
  Json json{{"cpu", report.cpu},
            {"cores", report.cores},
            {"commit", report.commit.empty() ? Json() : Json(report.commit)},
            {"compiler", report.compiler},
            {"flags", report.flags},
            {"command", report.command},
            {"rounds", report.settings.rounds},
            {"threads", report.settings.threads},
            {"busy", report.settings.busy},
            {"tolerance", kTolerance},
            {"ok", report.ok()},
            {"workloads", Json::array()}};
  for (const Outcome& outcome : report.outcomes) json["workloads"].push_back(outcome_json(outcome));
  return json.dump(2) + '\n';
}

std::string as_csv(const Report& report) {
  std::string text = "workload,contender,library,status,threads,seconds,ratio_of_best\n";
  for (const Outcome& outcome : report.outcomes) {
    for (const Entry& entry : outcome.entries) {
      const std::string start = fmt::format("{},{},{},{}", outcome.workload->name, entry.name,
                                            quoted(entry.library), name_of(entry.status));
      if (entry.status != Status::kTimed) text += start + ",,,\n";
      for (const Time& time : entry.times) {
        const double ratio = outcome.ratio(entry);
        text += fmt::format("{},{},{:.6g},{}\n", start, time.threads, time.seconds,
                            ratio > 0 ? fmt::format("{:.4g}", ratio) : "");
      }
    }
  }
  return text;
}

}  // namespace chainrule::bench
