// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

#include "batch_source.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

UpdateOptions update_all(const Model& model, const Optimizer& optimizer) {
  UpdateOptions update{.def = &update_def(optimizer), .targets = {}};
  Graph& graph = *model.network().x().graph();
  for (const ParameterLayout::Entry& entry : model.parameters().layout().entries) {
    if (!entry.learned) continue;
    const int group = entry.shape.rank() == 2 ? kDecayedGroup : kUndecayedGroup;
    update.targets.push_back({.parameter = Value(&graph, entry.node), .group = group});
  }
  return update;
}

// The purposes that random numbers of a fit serve.
enum Salt : std::uint64_t { kShuffle, kDropout };

}  // namespace

// One call of fit().
class Trainer::Fit {
 public:
  Fit(Trainer& trainer, const Dataset& data, const FitOptions& options)
      : trainer_(trainer),
        options_(options),
        data_(trainer.model_.prepare_view(data)),
        extras_(internal::extras_of(data_)),
        rows_(data_.x.rows()),
        batch_size_(std::min(options.batch_size, rows_)),
        batches_((rows_ + batch_size_ - 1) / batch_size_),
        first_step_(trainer.steps_),
        executor_(trainer.options_.threads),
        plan_(compile_plan()),
        workspace_(executor_.make_workspace(plan_, batch_size_)),
        bindings_(plan_),
        source_(trainer.model_.network(), data_, extras_, true),
        order_(static_cast<std::size_t>(rows_)) {
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::uint32_t>(i);
    source_.bind_all(bindings_);
    bindings_.parameters(trainer.model_.parameters()).optimizer(trainer.state_, scalars_);
  }

  History run() {
    history_.workers = executor_.with_residents([this] { run_epochs(); });
    history_.seconds = seconds_since(start_);
    return std::move(history_);
  }

 private:
  Plan compile_plan() const {
    CompileOptions options;
    options.dtype = trainer_.model_.dtype();
    options.loss = trainer_.model_.network().loss(extras_);
    options.update = update_all(trainer_.model_, trainer_.optimizer_);
    options.gemm = trainer_.options_.gemm;
    options.gather = true;
    return compile(trainer_.model_.network().graph(), options);
  }

  void run_epochs() {
    progress_.epochs = options_.epochs;
    progress_.batches = batches_;
    bool go_on = notify(TrainingProgress::Event::kBegin);
    for (Index epoch = 1; epoch <= options_.epochs && go_on; ++epoch) go_on = run_epoch(epoch);
    history_.stopped = !go_on;
    notify(TrainingProgress::Event::kEnd);
  }

  bool run_epoch(Index epoch) {
    const auto epoch_start = Clock::now();
    progress_.epoch = epoch;
    if (options_.shuffle) {
      const RandomKey key{.seed = options_.seed,
                          .stream = static_cast<std::uint64_t>(trainer_.epochs_)};
      random_permutation(derive(key, kShuffle), order_);
    }
    double loss = 0;
    double weight = 0;
    double learning_rate = 0;
    for (Index batch = 1; batch <= batches_; ++batch) {
      const Index first = (batch - 1) * batch_size_;
      const auto rows = std::span<const std::uint32_t>(order_).subspan(
          static_cast<std::size_t>(first),
          static_cast<std::size_t>(std::min(batch_size_, rows_ - first)));
      learning_rate = run_batch(rows, epoch, batch);
      const double batch_weight = weight_of(rows);
      loss += workspace_.loss() * batch_weight;
      weight += batch_weight;
      progress_.batch = batch;
      progress_.loss = weight > 0 ? loss / weight : 0;
      update_speed((epoch - 1) * rows_ + first + static_cast<Index>(rows.size()));
      if (!notify(TrainingProgress::Event::kBatch)) return false;
    }
    ++trainer_.epochs_;
    EpochRecord record;
    record.epoch = epoch;
    record.loss = progress_.loss;
    record.learning_rate = learning_rate;
    record.seconds = seconds_since(epoch_start);
    record.samples_per_second = static_cast<double>(rows_) / std::max(record.seconds, 1e-9);
    if (options_.validation != nullptr) {
      record.validation = evaluate(trainer_.model_, *options_.validation,
                                   {.threads = 1, .gemm = trainer_.options_.gemm});
    }
    history_.epochs.push_back(std::move(record));
    progress_.record = &history_.epochs.back();
    const bool go_on = notify(TrainingProgress::Event::kEpoch);
    progress_.record = nullptr;
    return go_on;
  }

  // Returns the learning rate of the step.
  double run_batch(std::span<const std::uint32_t> rows, Index epoch, Index batch) {
    const Index step = trainer_.steps_ + 1;
    const double learning_rate =
        learning_rate_at(options_.schedule, base_learning_rate(trainer_.optimizer_),
                         {.step = step,
                          .steps_per_epoch = batches_,
                          .total_steps = first_step_ + batches_ * options_.epochs});
    update_scalars(trainer_.optimizer_, learning_rate, step, scalars_);
    const RandomKey key{.seed = options_.seed, .stream = static_cast<std::uint64_t>(step)};
    bindings_.random(derive(key, kDropout)).row_order(rows);
    try {
      executor_.run(workspace_, bindings_);
    } catch (const NonFiniteError& error) {
      throw NonFiniteError(fmt::format("epoch {}, batch {}: {}", epoch, batch, error.what()),
                           error.node());
    }
    trainer_.steps_ = step;
    return learning_rate;
  }

  double weight_of(std::span<const std::uint32_t> rows) const {
    if (!extras_.weights) return static_cast<double>(rows.size());
    double sum = 0;
    for (const std::uint32_t row : rows) sum += element(data_.weights.view(), row, 0);
    return sum;
  }

  void update_speed(Index rows_done) {
    const double elapsed = std::max(seconds_since(start_), 1e-9);
    progress_.samples_per_second = static_cast<double>(rows_done) / elapsed;
    progress_.eta_seconds = static_cast<double>(rows_ * options_.epochs - rows_done) /
                            std::max(progress_.samples_per_second, 1e-9);
  }

  // False when training should stop.
  bool notify(TrainingProgress::Event event) {
    progress_.event = event;
    bool go_on = !options_.stop.stop_requested();
    for (const Callback& callback : options_.callbacks) go_on &= callback(progress_);
    return go_on;
  }

  Trainer& trainer_;
  const FitOptions& options_;
  Dataset data_;
  Extras extras_;
  Index rows_;
  Index batch_size_;
  Index batches_;
  Index first_step_;
  Executor executor_;
  Plan plan_;
  Workspace workspace_;
  Bindings bindings_;
  internal::BatchSource source_;
  std::vector<std::uint32_t> order_;
  std::array<double, kParameterGroups * kUpdateScalars> scalars_{};
  TrainingProgress progress_;
  History history_;
  Clock::time_point start_ = Clock::now();
};

Trainer::Trainer(const Model& model, const Optimizer& optimizer, const TrainerOptions& options)
    : model_(model),
      optimizer_(optimizer),
      options_(options),
      state_(model.parameters().layout(), update_def(optimizer).state_slots) {
  validate(optimizer);
}

History Trainer::fit(const Dataset& data, const FitOptions& options) {
  if (options.epochs < 0 || options.batch_size < 1 || data.rows() < 1) {
    throw ArgumentError(
        fmt::format("fit: got {} epochs, batch size {} and {} rows, expected >= 0, >= 1 and >= 1",
                    options.epochs, options.batch_size, data.rows()));
  }
  validate(options.schedule);
  return Fit(*this, data, options).run();
}

}  // namespace chainrule
