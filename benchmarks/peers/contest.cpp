// SPDX-License-Identifier: Apache-2.0
#include "contest.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "agreement.hpp"
#include "child.hpp"
#include "contender.hpp"
#include "figures.hpp"

namespace chainrule::bench {
namespace {

// Nothing of our environment but where to find things: no setting that slows a library down.
std::vector<std::string> clean_environment(int threads) {
  std::vector<std::string> variables{"OMP_WAIT_POLICY=passive",
                                     fmt::format("OMP_NUM_THREADS={}", threads),
                                     fmt::format("OPENBLAS_NUM_THREADS={}", threads)};
  for (const char* name : {"PATH", "LD_LIBRARY_PATH", "HOME"}) {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
    if (value != nullptr) variables.push_back(fmt::format("{}={}", name, value));
  }
  return variables;
}

// A program at work on one thread count.
struct Runner {
  std::size_t entry = 0;
  int threads = 1;
  std::unique_ptr<Child> child;
  std::vector<double> seconds{};
};

double read_seconds(Child& child) {
  const std::string text = child.read_line();
  std::size_t length = 0;
  double seconds = 0;
  try {
    seconds = std::stod(text, &length);
  } catch (const std::logic_error&) {
    length = 0;
  }
  if (length == 0 || length != text.size() || !std::isfinite(seconds) || seconds <= 0) {
    child.fail(fmt::format("said '{}', expected seconds", text.substr(0, 60)));
  }
  return seconds;
}

std::vector<float> read_results(Child& child) {
  const std::string text = child.read_value("results");
  constexpr std::size_t kMost = 1 << 28;
  std::size_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc() || end != text.data() + text.size() || count > kMost) {
    child.fail(fmt::format("said 'results {}', expected a count", text.substr(0, 60)));
  }
  return child.read_floats(count);
}

class Contest {
 public:
  Contest(const Workload& workload, const std::vector<Program>& programs, const Settings& settings)
      : workload_(workload), programs_(programs), settings_(settings) {
    outcome_.workload = &workload;
    for (const Program& program : programs) outcome_.entries.push_back({.name = program.name});
  }

  Outcome hold() {
    for (std::size_t i = 0; i < programs_.size(); ++i) {
      for (const int threads : settings_.threads) {
        if (entry(i).status == Status::kTimed) guarded(i, [&] { start(i, threads); });
      }
    }
    for (int round = 0; round < settings_.rounds; ++round) time_all();
    for (const Runner& runner : runners_) {
      if (entry(runner.entry).status != Status::kTimed) continue;
      entry(runner.entry)
          .times.push_back({.threads = runner.threads,
                            .seconds = median(runner.seconds),
                            .rounds = runner.seconds});
    }
    return std::move(outcome_);
  }

 private:
  Entry& entry(std::size_t i) { return outcome_.entries[i]; }

  // Notes an entry's failure.
  template <class Body>
  void guarded(std::size_t i, Body&& body) {
    try {
      body();
    } catch (const ChildError& error) {
      entry(i).status = error.code() == kExitAbsent ? Status::kAbsent : Status::kFailed;
      entry(i).message = error.what();
    }
  }

  void start(std::size_t i, int threads) {
    auto child =
        std::make_unique<Child>(std::vector<std::string>{programs_[i].path.string(), workload_.name,
                                                         std::to_string(threads)},
                                clean_environment(threads));
    entry(i).library = child->read_value("library");
    const std::vector<float> results = read_results(*child);
    if (ours_.empty() && i == 0) ours_ = results;
    const std::string different = ours_.empty() ? "there is nothing of ours to compare with"
                                                : disagreement(workload_, results, ours_);
    if (!different.empty()) {
      entry(i).status = Status::kDisagrees;
      entry(i).message =
          fmt::format("on {} thread{}: {}", threads, threads == 1 ? "" : "s", different);
      return;
    }
    runners_.push_back({.entry = i, .threads = threads, .child = std::move(child)});
  }

  void time_all() {
    for (Runner& runner : runners_) {
      if (entry(runner.entry).status != Status::kTimed) continue;
      guarded(runner.entry, [&] {
        runner.child->write_line("time");
        runner.seconds.push_back(read_seconds(*runner.child));
      });
    }
  }

  const Workload& workload_;
  const std::vector<Program>& programs_;
  const Settings& settings_;
  Outcome outcome_;
  std::vector<Runner> runners_;
  std::vector<float> ours_;
};

}  // namespace

std::vector<Program> find_programs(const std::filesystem::path& directory) {
  constexpr std::string_view kPrefix = "peer_";
  std::vector<Program> programs;
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    const std::string name = file.path().filename();
    if (!name.starts_with(kPrefix) || !file.is_regular_file()) continue;
    programs.push_back({.name = name.substr(kPrefix.size()), .path = file.path()});
  }
  std::sort(programs.begin(), programs.end(), [](const Program& a, const Program& b) {
    return std::pair(a.name != kOurName, a.name) < std::pair(b.name != kOurName, b.name);
  });
  return programs;
}

std::string_view name_of(Status status) {
  switch (status) {
    case Status::kTimed:
      return "timed";
    case Status::kAbsent:
      return "absent";
    case Status::kDisagrees:
      return "disagrees";
    case Status::kFailed:
      break;
  }
  return "failed";
}

const Time& Entry::best() const {
  return *std::min_element(times.begin(), times.end(),
                           [](const Time& a, const Time& b) { return a.seconds < b.seconds; });
}

double Outcome::ratio(const Entry& entry) const {
  const Entry& ours = entries.front();
  if (entry.status != Status::kTimed || ours.status != Status::kTimed) return 0;
  return entry.best().seconds / ours.best().seconds;
}

Outcome hold_contest(const Workload& workload, const std::vector<Program>& programs,
                     const Settings& settings) {
  return Contest(workload, programs, settings).hold();
}

}  // namespace chainrule::bench
