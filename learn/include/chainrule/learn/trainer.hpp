// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/learn/optimizer.hpp"
#include "chainrule/learn/schedule.hpp"
#include "chainrule/runtime/parameters.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule {

/// One epoch of a training run.
struct EpochRecord {
  Index epoch = 0;           ///< 1, 2, ...
  double loss = 0;           ///< mean over the epoch's rows, each batch before its update
  double learning_rate = 0;  ///< of the last step
  double seconds = 0;
  double samples_per_second = 0;
  std::optional<Evaluation> validation;
};

/// What a fit() did.
struct History {
  std::vector<EpochRecord> epochs;
  int workers = 1;       ///< threads that took part
  bool stopped = false;  ///< by the stop token or a callback
  double seconds = 0;
};

/// What callbacks see.
struct TrainingProgress {
  enum class Event : std::uint8_t { kBegin, kBatch, kEpoch, kEnd };

  Event event = Event::kBegin;
  Index epoch = 0;  ///< 1, 2, ... of `epochs`; at kBegin 0
  Index epochs = 0;
  Index batch = 0;  ///< 1, 2, ... of `batches`
  Index batches = 0;
  double loss = 0;  ///< mean of the epoch so far
  double samples_per_second = 0;
  double eta_seconds = 0;               ///< for the rest of the run
  const EpochRecord* record = nullptr;  ///< at kEpoch
};

/// Called on the thread that called fit(); returns false to stop after this event.
using Callback = std::function<bool(const TrainingProgress&)>;

struct FitOptions {
  Index epochs = 10;
  Index batch_size = 32;
  std::uint64_t seed = 0;  ///< of the shuffling and of dropout
  bool shuffle = true;
  Schedule schedule = ConstantRate{};
  const Dataset* validation = nullptr;
  std::vector<Callback> callbacks{};
  std::stop_token stop{};
};

struct TrainerOptions {
  int threads = 0;  ///< 0: default_threads()
  GemmPath gemm = GemmPath::kAuto;
};

/// Trains a model by mini-batches. The result depends on the model's initial parameters, the data
/// and the options, never on the number of threads.
class CHAINRULE_API Trainer {
 public:
  /// Shares the model's parameters.
  Trainer(const Model& model, const Optimizer& optimizer, const TrainerOptions& options = {});

  /// Runs epochs over `data` and returns their history. Continues from where the last call ended
  /// (optimizer state, step count). Throws what Model::prepare() throws; NonFiniteError, naming
  /// epoch, batch and node, when the loss is NaN or infinite: the parameters are then those before
  /// that batch.
  History fit(const Dataset& data, const FitOptions& options = {});

  /// Steps done so far, over all calls.
  Index steps() const noexcept { return steps_; }
  const OptimizerState& state() const noexcept { return state_; }

 private:
  class Fit;

  Model model_;
  Optimizer optimizer_;
  TrainerOptions options_;
  OptimizerState state_;
  Index steps_ = 0;
  Index epochs_ = 0;
};

}  // namespace chainrule
