// SPDX-License-Identifier: Apache-2.0
//
// The table of benchmarks in README.md, from what `peers --json` wrote.

#include <fmt/format.h>

#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "chainrule/learn/output.hpp"
#include "seconds.hpp"

namespace {

using chainrule::bench::format_seconds;
using Json = nlohmann::ordered_json;

constexpr const char* kBegin = "<!-- benchmarks: begin -->\n";
constexpr const char* kEnd = "<!-- benchmarks: end -->\n";
constexpr const char* kUsage = R"(Usage: readme_table PEERS.json README.md

Writes the table of a run of `peers --json PEERS.json` into README.md, between the lines
<!-- benchmarks: begin --> and <!-- benchmarks: end -->.
)";

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(fmt::format("cannot read {}", path));
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
  if (workloads.empty()) throw std::runtime_error("the JSON holds no workload");
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

void write_table(const std::string& json, const std::string& readme) {
  const std::string made = table(Json::parse(read_file(json)));
  std::string text = read_file(readme);
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd);
  if (begin == std::string::npos || end == std::string::npos || end < begin) {
    throw std::runtime_error(
        fmt::format("{} has no lines <!-- benchmarks: begin --> and "
                    "<!-- benchmarks: end -->, in this order",
                    readme));
  }
  const std::size_t start = begin + std::string(kBegin).size();
  text.replace(start, end - start, made);
  chainrule::write_file(text, readme);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first == "--help" || first == "-h") {
    std::cout << kUsage;
    return 0;
  }
  if (argc != 3) {
    std::cerr << kUsage;
    return 2;
  }
  try {
    write_table(argv[1], argv[2]);
  } catch (const std::exception& error) {
    std::cerr << "readme_table: error: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
