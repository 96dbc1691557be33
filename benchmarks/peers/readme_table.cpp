// SPDX-License-Identifier: Apache-2.0
//
// The table of benchmarks in README.md, from what `peers --json` wrote.

#include <fmt/format.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "figures.hpp"
#include "program.hpp"

namespace chainrule::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kBegin = "<!-- benchmarks: begin -->\n";
constexpr const char* kEnd = "<!-- benchmarks: end -->\n";
constexpr const char* kUsage = R"(Usage: readme_table PEERS.json README.md

Writes the table of a run of `peers --json PEERS.json` into README.md, between the lines
<!-- benchmarks: begin --> and <!-- benchmarks: end -->. Exit code 0, 1 when something is wrong (then
README.md stays as it is), 2 for misuse.
)";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw FormatError(fmt::format("cannot read {}", path));
  return {std::istreambuf_iterator<char>(file), {}};
}

// Ours is a time, a peer's the ratio of its time to ours.
std::string cell(const Json& entry, bool ours) {
  const std::string status = entry.at("status");
  if (status != "timed") return status == "absent" ? "" : status;
  if (ours) {
    return fmt::format("{} ({})", format_seconds(entry.at("best_seconds")),
                       entry.at("best_threads").get<int>());
  }
  return entry.at("ratio").is_null() ? "" : fmt::format("{:.2f}x", entry.at("ratio").get<double>());
}

std::string table(const Json& report) {
  const Json& workloads = report.at("workloads");
  if (workloads.empty()) throw FormatError("it holds no workload");
  std::string head = "| workload | network | batch |";
  std::string rule = "|---|---|---:|";
  for (const Json& entry : workloads.front().at("entries")) {
    head += fmt::format(" {} |", entry.at("name").get<std::string>());
    rule += "---:|";
  }
  std::string text = head + '\n' + rule + '\n';
  for (const Json& workload : workloads) {
    text += fmt::format("| {} | {} | {} |", workload.at("workload").get<std::string>(),
                        workload.at("widths").get<std::string>(), workload.at("batch").get<long>());
    bool ours = true;
    for (const Json& entry : workload.at("entries")) {
      text += fmt::format(" {} |", cell(entry, ours));
      ours = false;
    }
    text += '\n';
  }
  const std::string commit = report.at("commit").is_null() ? "unknown" : report.at("commit");
  text += fmt::format(
      "\nchainrule: time of a run, in brackets the threads that were best. Others: their best time "
      "by "
      "ours; above 1 chainrule is faster.\nMedians of {} rounds on {}, {} cores; commit {}, {}, "
      "`{}`;"
      " `{}`.\n",
      report.at("rounds").get<int>(), report.at("cpu").get<std::string>(),
      report.at("cores").get<int>(), commit, report.at("compiler").get<std::string>(),
      report.at("flags").get<std::string>(), report.at("command").get<std::string>());
  return text;
}

std::string table_of_file(const std::string& path) {
  const std::string text = read_file(path);
  try {
    return table(Json::parse(text));
  } catch (const Json::parse_error& error) {
    throw FormatError(fmt::format("{} is not JSON, at byte {}", path, error.byte));
  } catch (const Json::exception& error) {
    throw FormatError(fmt::format("{} is not what peers --json writes: {}", path, error.what()));
  } catch (const FormatError& error) {
    throw FormatError(fmt::format("{} is not what peers --json writes: {}", path, error.what()));
  }
}

void write_table(const std::string& json, const std::string& readme) {
  const std::string made = table_of_file(json);
  std::string text = read_file(readme);
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    throw FormatError(
        fmt::format("{} has no lines <!-- benchmarks: begin --> and "
                    "<!-- benchmarks: end -->, in this order",
                    readme));
  }
  const std::size_t start = begin + std::string(kBegin).size();
  text.replace(start, end - start, made);
  write_outputs({{readme, [&] { return text; }}});
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  using namespace chainrule::bench;
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    std::cout << kUsage;
    return 0;
  }
  if (argc != 3) {
    std::cerr << kUsage;
    return kExitMisuse;
  }
  return run_main("readme_table", [&] {
    write_table(argv[1], argv[2]);
    return 0;
  });
}
