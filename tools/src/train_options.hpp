// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "chainrule/learn/layers.hpp"
#include "chainrule/learn/optimizer.hpp"
#include "chainrule/learn/schedule.hpp"
#include "common.hpp"
#include "data.hpp"

namespace chainrule::tools {

/// The options of `chainrule train`, as typed.
struct TrainOptions {
  std::string data;
  std::string target;
  std::string weights;
  std::string offset;
  HeaderOption header;
  std::string model;
  std::string activation = "relu";
  std::string loss;
  std::string optimizer = "adam";
  std::optional<double> learning_rate;
  std::optional<double> weight_decay;
  std::optional<double> momentum;
  bool nesterov = false;
  std::string schedule = "constant";
  Index epochs = 10;
  Index batch = 32;
  double validation = 0;
  std::uint64_t seed = 0;
  std::string dtype = "float32";
  bool standardize = false;
  std::string out;
  std::string history;
  bool quiet = false;
  ComputeOptions compute;

  void add_to(CLI::App& app);
};

/// The same with names resolved.
struct TrainSettings {
  std::string model;  ///< --model, or the default for the data
  std::vector<Layer> layers{};
  std::optional<Likelihood> likelihood;  ///< empty: chosen by the target column
  Optimizer optimizer;
  Schedule schedule;
  DType dtype;
  GemmPath gemm;
  CsvOptions csv;
};

// Both throw UsageError, naming the option.
Optimizer optimizer_of(const TrainOptions& options);
TrainSettings resolve(const TrainOptions& options);

}  // namespace chainrule::tools
