// SPDX-License-Identifier: Apache-2.0
//
// How the time and the memory of a training step grow with threads, batch, width and depth, what a
// simple model makes of the figures for more cores than there are, and what predictions cost
// without residents.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/output.hpp"
#include "chainrule/runtime/machine.hpp"
#include "figures.hpp"
#include "measure.hpp"
#include "program.hpp"
#include "scaling_model.hpp"
#include "step.hpp"
#include "workloads.hpp"

namespace chainrule::bench {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int kSeries = 5;

struct Options {
  double seconds = 0.2;
  std::string json;
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Seconds of CPU time of all threads.
double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

/// The mean wall-clock seconds of a run, of runs for so many seconds.
template <class Run>
double mean_seconds(double seconds, const Run& run) {
  const auto start = Clock::now();
  int runs = 0;
  do {
    run();
    ++runs;
  } while (seconds_since(start) < seconds);
  return seconds_since(start) / runs;
}

/// One step on each of these thread counts, whose series are run in turn.
std::vector<Timing> time_steps(const Workload& workload, const std::vector<int>& counts,
                               double seconds) {
  std::vector<std::unique_ptr<Step>> steps;
  std::vector<Timing> timings;
  std::vector<double> wall(counts.size()), cpu(counts.size());
  for (const int threads : counts) {
    steps.push_back(std::make_unique<Step>(workload, DType::kFloat32, threads));
    timings.push_back({.threads = threads});
    steps.back()->run();  // memory is touched for the first time
  }
  for (int series = 0; series < kSeries; ++series) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const int participants = steps[i]->executor().with_residents([&] {
        const double cpu_before = cpu_seconds();
        const auto start = Clock::now();
        timings[i].series.push_back(mean_seconds(seconds / kSeries, [&] { steps[i]->run(); }));
        wall[i] += seconds_since(start);
        cpu[i] += cpu_seconds() - cpu_before;
      });
      timings[i].participants = std::max(timings[i].participants, participants);
      timings[i].cpu_share = cpu[i] / (wall[i] * counts[i]);
    }
  }
  return timings;
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
                      .seconds = time_steps(workload, {1}, options.seconds).front().best(),
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

Json growths(const Options& options) {
  const auto same = [](Index) -> Index { return 128; };
  return {growth(
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
}

std::string threads_text(int threads) {
  return fmt::format("{} thread{}", threads, threads == 1 ? "" : "s");
}

Json measured_json(const Timing& timing, double speedup) {
  return {{"threads", timing.threads},
          {"seconds", timing.best()},
          {"speedup", speedup},
          {"series", timing.series},
          {"cpu_share", timing.cpu_share},
          {"participants", timing.participants}};
}

constexpr std::array kModelCores = {4, 8, 16, 32, 64};

/// A workload's line of the table; what it says no more of goes to `remarks`.
Json scale_threads(const Workload& workload, const std::vector<int>& counts, double seconds,
                   std::string& remarks) {
  const std::vector<Timing> timings = time_steps(workload, counts, seconds);
  Json json{{"workload", workload.name}, {"measured", Json::array()}, {"model", Json::array()}};
  std::cout << fmt::format("{:<16}", workload.name);
  const double one = timings.front().best();
  for (const Timing& timing : timings) {
    const double speedup = one / timing.best();
    std::cout << fmt::format("  {:>8}", format_seconds(timing.best()));
    if (timing.threads > 1) std::cout << fmt::format(" {:>5.2f}x", speedup);
    json["measured"].push_back(measured_json(timing, speedup));
  }
  const auto bytes = static_cast<Index>(cost_of(workload).weights * sizeof(float));
  const double bandwidth = read_bandwidth(default_kernels(), std::max<Index>(bytes, 65536));
  const ScalingModel model(workload, timings[0], timings[1], bandwidth);
  const std::string doubt = model.doubt();
  json["serial"] = model.is_serial();
  json["serial_share"] = model.is_serial() ? 1 : model.serial_share();
  json["doubt"] = doubt;
  for (const int p : kModelCores) {
    if (!doubt.empty()) {
      std::cout << fmt::format("  {:>8}", "-");
      continue;
    }
    const double modelled = model.seconds(p);
    std::cout << fmt::format("  {:>7.1f}x", one / modelled);
    json["model"].push_back({{"threads", p}, {"seconds", modelled}});
  }
  std::cout << std::endl;
  if (!doubt.empty()) {
    remarks += fmt::format("{}: not extrapolated, {}\n", workload.name, doubt);
  } else if (model.is_serial()) {
    remarks += fmt::format("{}: too short for more than one thread\n", workload.name);
  }
  return json;
}

Json thread_scaling(const Options& options) {
  const int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  std::vector<int> counts;
  for (int p = 1; p <= std::max(2, cores); p *= 2) counts.push_back(p);
  std::cout << fmt::format("{:<16}", "workload");
  for (const int p : counts) std::cout << fmt::format("  {:>{}}", threads_text(p), p == 1 ? 8 : 15);
  for (const int p : kModelCores) std::cout << fmt::format("  {:>8}", fmt::format("model {}", p));
  std::cout << '\n';
  Json all = Json::array();
  std::string remarks;
  for (const Workload& workload : all_workloads()) {
    if (workload.task != Task::kStep) continue;
    all.push_back(scale_threads(workload, counts, options.seconds, remarks));
  }
  std::cout << '\n' << remarks;
  return all;
}

Json model_json() {
  return {{"formula", kModelFormula},
          {"terms", kModelTerms},
          {"assumptions", kModelAssumptions},
          {"barrier_seconds", kBarrierSeconds},
          {"controller_threads", kControllerThreads},
          {"weight_passes", kWeightPasses}};
}

void print_model() {
  std::cout << fmt::format("\nModel: {}\n", kModelFormula);
  for (const char* term : kModelTerms) std::cout << fmt::format("  {}\n", term);
  std::cout << "Assumed:\n";
  for (const char* assumption : kModelAssumptions) std::cout << fmt::format("  {}\n", assumption);
}

/// A prediction inside with_residents(), as training runs and as `steps` and `peers` time; by
/// itself; and by Predictor, which runs by itself and makes a new tensor of the result.
Json time_prediction(const Workload& workload, int threads, double seconds) {
  Step step(workload, DType::kFloat32, threads);
  Predictor predictor(model_of(workload, DType::kFloat32), {.threads = threads});
  const Tensor x = inputs_of(workload, DType::kFloat32, Layout::kPadded);
  if (!same_bits(predictor.predict(x), (step.run(), step.predictions()))) {
    throw Error(fmt::format("{}: Predictor gives other bits than the plan", workload.name));
  }
  std::array<double, 3> best;
  best.fill(std::numeric_limits<double>::infinity());
  for (int series = 0; series < kSeries; ++series) {
    const double least = seconds / kSeries;
    step.executor().with_residents(
        [&] { best[0] = std::min(best[0], mean_seconds(least, [&] { step.run(); })); });
    best[1] = std::min(best[1], mean_seconds(least, [&] { step.run(); }));
    best[2] = std::min(best[2], mean_seconds(least, [&] { predictor.predict(x); }));
  }
  std::cout << fmt::format("{:<16}  {:>9}  {:>9}  {:>9}  {:>9}\n", workload.name,
                           threads_text(threads), format_seconds(best[0]), format_seconds(best[1]),
                           format_seconds(best[2]));
  return {{"workload", workload.name},
          {"threads", threads},
          {"resident_seconds", best[0]},
          {"alone_seconds", best[1]},
          {"predictor_seconds", best[2]}};
}

Json predictions(const Options& options) {
  std::cout << fmt::format("\n{:<16}  {:>9}  {:>9}  {:>9}  {:>9}\n", "prediction", "", "resident",
                           "alone", "Predictor");
  Json all = Json::array();
  for (const Workload& workload : all_workloads()) {
    if (workload.task != Task::kPredict) continue;
    for (const int threads : {1, 2}) {
      all.push_back(time_prediction(workload, threads, options.seconds));
    }
  }
  return all;
}

Json measure(const Options& options) {
  const MachineInfo machine = machine_info();
  std::cout << fmt::format("{}, {} cores, kernels {}\n\n", machine.cpu, machine.cores,
                           machine.architecture);
  Json json{{"cpu", machine.cpu}, {"cores", machine.cores}, {"kernels", machine.architecture}};
  json["threads"] = thread_scaling(options);
  print_model();
  json["model"] = model_json();
  json["growth"] = growths(options);
  json["predictions"] = predictions(options);
  return json;
}

int run(int argc, char** argv) {
  CLI::App app(
      "How the time and the memory of a training step grow with threads, batch, width and depth; a "
      "model of 4 to 64 cores; what predictions cost with and without residents.",
      "scaling");
  Options options;
  app.add_option("--seconds", options.seconds, "For each measurement")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  app.add_option("--json", options.json, "JSON file to write, with everything");
  app.footer("Exit code 0, 1 when something was wrong, 2 for misuse.");
  if (!parse(app, argc, argv)) return 0;
  if (!options.json.empty()) expect_writable(options.json);
  const Json json = measure(options);
  write_outputs({{options.json, [&] { return json.dump(2) + '\n'; }}});
  return 0;
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::run_main("scaling", [&] { return chainrule::bench::run(argc, argv); });
}
