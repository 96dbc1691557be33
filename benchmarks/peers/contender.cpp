// SPDX-License-Identifier: Apache-2.0
#include "contender.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <exception>
#include <iostream>
#include <string_view>

#include "program.hpp"

namespace chainrule::bench {
namespace {

constexpr double kLeastSeconds = 0.05;

double seconds_of(Contender& contender, Index times) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  contender.run(times);
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Runs often enough for kLeastSeconds, and remembers in `times` how often that is.
double seconds_per_run(Contender& contender, Index& times) {
  for (;;) {
    const double seconds = seconds_of(contender, times);
    if (seconds >= kLeastSeconds) return seconds / static_cast<double>(times);
    const double factor = 1.2 * kLeastSeconds / std::max(seconds, kLeastSeconds / 100);
    times = static_cast<Index>(static_cast<double>(times) * factor) + 1;
  }
}

void print_results(const std::vector<float>& results) {
  std::cout << "results " << results.size() << '\n';
  std::cout.write(reinterpret_cast<const char*>(results.data()),
                  static_cast<std::streamsize>(results.size() * sizeof(float)));
  std::cout.flush();
}

std::vector<float> results_of(Contender& contender) {
  contender.run(kCheckedRuns);
  return contender.results();
}

int serve(Contender& contender) {
  Index times = 1;
  std::cout.precision(9);
  for (std::string line; std::getline(std::cin, line);) {
    if (line != "time") {
      std::cerr << "unknown request '" << line << "', expected 'time'\n";
      return kExitMisuse;
    }
    std::cout << seconds_per_run(contender, times) << std::endl;
  }
  return 0;
}

int parse_threads(std::string_view text) {
  int threads = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), threads);
  return error == std::errc() && end == text.data() + text.size() ? threads : 0;
}

}  // namespace

int contend(int argc, char** argv, const std::string& library,
            std::unique_ptr<Contender> (*make)(const Workload& workload, int threads)) {
  const Workload* const workload = argc == 3 ? find_workload(argv[1]) : nullptr;
  const int threads = argc == 3 ? parse_threads(argv[2]) : 0;
  if (workload == nullptr || threads < 1) {
    std::cerr << "usage: " << argv[0] << " WORKLOAD THREADS\n\nWorkloads:\n";
    for (const Workload& known : all_workloads()) std::cerr << "  " << known.name << '\n';
    return kExitMisuse;
  }
  try {
    const std::unique_ptr<Contender> contender = make(*workload, threads);
    if (contender == nullptr) {
      std::cerr << library << " has no " << workload->name << '\n';
      return kExitAbsent;
    }
    std::cout << "library " << library << '\n';
    print_results(results_of(*make(checked(*workload), threads)));
    return serve(*contender);
  } catch (const std::exception& error) {
    std::cerr << library << ": " << error.what() << '\n';
    return kExitError;
  }
}

Workload checked(const Workload& workload) {
  Workload result = workload;
  result.data_rows = std::min(workload.data_rows, 10 * workload.batch + workload.batch / 2);
  return result;
}

void append(std::vector<float>& to, const float* values, Index count) {
  to.insert(to.end(), values, values + count);
}

void append(std::vector<float>& to, ConstTensorView values) {
  for (Index i = 0; i < values.rows; ++i) append(to, values.as<float>().row(i), values.columns);
}

}  // namespace chainrule::bench
