// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "workloads.hpp"

namespace chainrule::bench {

inline constexpr const char* kOurName = "chainrule";

/// Results may differ by this share of the largest absolute value among the predictions, a
/// gradient, or the changes that three steps make to a matrix.
inline constexpr double kTolerance = 1e-3;

/// A program peer_NAME.
struct Program {
  std::string name;
  std::filesystem::path path;
};

/// Those of a directory, ours first, then by name.
std::vector<Program> find_programs(const std::filesystem::path& directory);

enum class Status {
  kTimed,
  kAbsent,     ///< does not do this workload
  kDisagrees,  ///< computes something else than we do
  kFailed,     ///< ended, or answered nothing that makes sense
};
std::string_view name_of(Status status);

/// Seconds of a run.
struct Time {
  int threads = 1;
  double seconds = 0;            ///< the median of the rounds
  std::vector<double> rounds{};  ///< each of them
};

/// What became of one program in one workload.
struct Entry {
  std::string name;
  std::string library{};
  Status status = Status::kTimed;
  std::string message{};      ///< of what went wrong
  std::vector<Time> times{};  ///< by thread count

  const Time& best() const;
};

struct Outcome {
  const Workload* workload = nullptr;
  std::vector<Entry> entries;  ///< ours first

  /// Seconds of this entry's best thread count over ours; 0 unless both were timed.
  double ratio(const Entry& entry) const;
};

struct Settings {
  int rounds = 9;
  std::vector<int> threads = {1, 2};
  int busy = 0;  ///< processes that compute beside the contest
};

/// Starts a process for each program and thread count, compares what they compute with ours, and
/// then times those that agree, all of them once in each round.
Outcome hold_contest(const Workload& workload, const std::vector<Program>& programs,
                     const Settings& settings);

}  // namespace chainrule::bench
