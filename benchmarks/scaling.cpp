// SPDX-License-Identifier: Apache-2.0
//
// How the time and the memory of a training step grow with threads, batch, width and depth, and
// what a simple model makes of the figures for more cores than there are.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/runtime/machine.hpp"
#include "common.hpp"
#include "step.hpp"
#include "workloads.hpp"

namespace chainrule::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Options {
  double seconds = 0.2;
  std::string json;
};

/// Seconds of a training step: the least mean of five series.
double time_of(const Workload& workload, int threads, double seconds) {
  using Clock = std::chrono::steady_clock;
  Step step(workload, DType::kFloat32, threads);
  double best = 1e300;
  step.executor().with_residents([&] {
    step.run();
    for (int series = 0; series < 5; ++series) {
      const auto start = Clock::now();
      const auto elapsed = [&] {
        return std::chrono::duration<double>(Clock::now() - start).count();
      };
      int runs = 0;
      do {
        step.run();
        ++runs;
      } while (elapsed() < seconds / 5);
      best = std::min(best, elapsed() / runs);
    }
  });
  return best;
}

double memory_of(const Workload& workload, int threads) {
  const Step step(workload, DType::kFloat32, threads);
  return static_cast<double>(step.plan().workspace_bytes(workload.batch, threads));
}

struct Point {
  double x = 0;
  double seconds = 0;
  double bytes = 0;
};

/// The slope of a least-squares line through (log x, log y).
template <class Get>
double slope(const std::vector<Point>& points, Get y) {
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const Point& point : points) {
    const double u = std::log(point.x), v = std::log(y(point));
    sx += u;
    sy += v;
    sxx += u * u;
    sxy += u * v;
  }
  const auto n = static_cast<double>(points.size());
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

/// Steps of a family of networks, one a value of what grows.
Json growth(const std::string& what, const std::vector<Index>& values, const Options& options,
            std::string (*widths)(Index), Index (*batch)(Index)) {
  std::vector<Point> points;
  std::cout << fmt::format("\n{:>8}  {:>12}  {:>14}\n", what, "us a step", "workspace KiB");
  Json json{{"grows", what}, {"points", Json::array()}};
  for (const Index value : values) {
    const std::string text = widths(value);
    const Workload workload{"", text.c_str(), batch(value), Task::kStep};
    const Point point{.x = static_cast<double>(value),
                      .seconds = time_of(workload, 1, options.seconds),
                      .bytes = memory_of(workload, 1)};
    points.push_back(point);
    std::cout << fmt::format("{:>8}  {:>12.2f}  {:>14.1f}\n", value, point.seconds * 1e6,
                             point.bytes / 1024);
    json["points"].push_back({{what, value},
                              {"widths", text},
                              {"batch", workload.batch},
                              {"seconds", point.seconds},
                              {"workspace_bytes", point.bytes}});
  }
  const double time = slope(points, [](const Point& point) { return point.seconds; });
  const double memory = slope(points, [](const Point& point) { return point.bytes; });
  const std::vector<Point> upper(points.end() - std::ptrdiff_t(points.size() / 2 + 1),
                                 points.end());
  const double late = slope(upper, [](const Point& point) { return point.seconds; });
  std::cout << fmt::format(
      "log-log slope of the time {:.2f}, of its upper half {:.2f}; of the "
      "memory {:.2f}\n",
      time, late, memory);
  json["time_slope"] = time;
  json["time_slope_upper_half"] = late;
  json["memory_slope"] = memory;
  return json;
}

constexpr const char* kModelText = R"(
Model: T(p) = serial + T1 (1 - f) / p + barriers x b, and never less than bytes / bandwidth(p), where
  f, the serial share, is what Amdahl's law makes of the measured T(1) and T(2),
  b = 1 us for each of a step's two barriers and each doubling of p (they are trees of cache lines),
  bytes = weights read three times and written twice, mirrors written once,
  bandwidth(p) = p times what one thread was measured to read, up to 12 threads a memory controller
  (as common servers have), and a batch gives no more than one block of rows a worker.
Assumed: as many physical cores as threads, one NUMA node, the clock of one busy core.
)";

/// What the model gives on `p` cores.
double modelled(const Workload& workload, double t1, double t2, double bandwidth, int p) {
  constexpr double kBarrier = 1e-6;
  constexpr double kControllerThreads = 12;
  const double share = std::clamp(2 * t2 / t1 - 1, 0.0, 1.0);
  if (share == 1) return t1;  // the executor runs it serially, or might as well
  const double blocks = std::ceil(static_cast<double>(workload.batch) /
                                  static_cast<double>(Plan::block_rows(workload.batch)));
  const double workers = std::min<double>(p, std::max(blocks, 1.0));
  // Rows are shared among as many workers as there are blocks; weight tiles, a third of the work,
  // among all.
  const double parallel = t1 * (1 - share) * (2.0 / 3 / workers + 1.0 / 3 / p);
  const double barriers = 2 * kBarrier * std::log2(p);
  const double bytes = 6 * sizeof(float) * cost_of(workload).weights;
  const double reading = bytes / (bandwidth * std::min<double>(p, kControllerThreads));
  return std::max(t1 * share + parallel + barriers, reading);
}

Json thread_scaling(const Options& options) {
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::cout << fmt::format("{:<16}", "workload");
  std::vector<int> counts;
  for (int p = 1; p <= std::max(2, cores); p *= 2) counts.push_back(p);
  const std::vector<int> models = {4, 8, 16, 32, 64};
  for (const int p : counts) std::cout << fmt::format("  {:>14}", fmt::format("{} threads", p));
  for (const int p : models) std::cout << fmt::format("  {:>9}", fmt::format("model {}", p));
  std::cout << '\n';
  Json all = Json::array();
  for (const Workload& workload : all_workloads()) {
    if (workload.task != Task::kStep) continue;
    Json json{{"workload", workload.name}, {"measured", Json::array()}, {"model", Json::array()}};
    std::vector<double> times;
    std::cout << fmt::format("{:<16}", workload.name);
    for (const int p : counts) {
      times.push_back(time_of(workload, p, options.seconds));
      const double speedup = times.front() / times.back();
      std::cout << fmt::format("  {:>8.1f}us{:>4.2f}", times.back() * 1e6, speedup) << std::flush;
      json["measured"].push_back({{"threads", p}, {"seconds", times.back()}, {"speedup", speedup}});
    }
    const auto bytes = static_cast<Index>(cost_of(workload).weights * sizeof(float));
    const double bandwidth = read_bandwidth(default_kernels(), std::max<Index>(bytes, 65536));
    for (const int p : models) {
      const double seconds = modelled(workload, times[0], times[1], bandwidth, p);
      std::cout << fmt::format("  {:>8.1f}x", times.front() / seconds);
      json["model"].push_back({{"threads", p}, {"seconds", seconds}});
    }
    std::cout << '\n';
    all.push_back(std::move(json));
  }
  std::cout << kModelText;
  return all;
}

Json measure(const Options& options) {
  const MachineInfo machine = machine_info();
  std::cout << fmt::format("{}, {} cores, kernels {}\n\n", machine.cpu, machine.cores,
                           machine.architecture);
  Json json{{"cpu", machine.cpu}, {"cores", machine.cores}, {"kernels", machine.architecture}};
  json["threads"] = thread_scaling(options);
  const auto same = [](Index) -> Index { return 128; };
  json["growth"] = {growth(
                        "batch", {16, 32, 64, 128, 256, 512, 1024, 2048}, options,
                        [](Index) { return std::string("784-128-10"); }, [](Index b) { return b; }),
                    growth(
                        "width", {32, 64, 128, 256, 512, 1024}, options,
                        [](Index w) { return fmt::format("{0}-{0}-{0}", w); }, same),
                    growth(
                        "depth", {1, 2, 4, 8, 16, 32}, options,
                        [](Index depth) {
                          std::string widths = "128";
                          for (Index i = 0; i < depth; ++i) widths += "-128";
                          return widths;
                        },
                        same)};
  return json;
}

int measure_and_print(int argc, char** argv) {
  CLI::App app(
      "How the time and the memory of a training step grow with threads, batch, width and depth, "
      "and "
      "a model of 4 to 64 cores.",
      "scaling");
  Options options;
  app.add_option("--seconds", options.seconds, "For each measurement")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  app.add_option("--json", options.json, "JSON file to write, with everything");
  CLI11_PARSE(app, argc, argv);
  const Json json = measure(options);
  if (!options.json.empty()) write_file(json.dump(2) + '\n', options.json);
  return 0;
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  try {
    return chainrule::bench::measure_and_print(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "scaling: error: " << error.what() << '\n';
    return 1;
  }
}
