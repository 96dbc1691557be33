// SPDX-License-Identifier: Apache-2.0
#include "gp_deep.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "interrupt.hpp"
#include "progress_line.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kDefaultHidden = "32-32-2";
constexpr double kDefaultRate = 0.01;

}  // namespace

void DeepKernelCommand::add_to(CLI::App& app) {
  constexpr const char* kGroup = "With --kernel deep";
  const auto own = [&](CLI::Option* option) { own_.push_back(option->group(kGroup)); };
  own(app.add_option("--model", widths_,
                     fmt::format("Widths of the network from the features to its outputs, which "
                                 "the kernel compares (default: {} behind the features)",
                                 kDefaultHidden)));
  own(app.add_option("--activation", activation_, "Between the layers, as of train")
          ->capture_default_str());
  own(app.add_option("--steps", steps_, "Of the optimizer, each on all rows")
          ->check(CLI::Range(Index{0}, Index{1} << 40))
          ->capture_default_str());
  own(app.add_option("--optimizer", training_.optimizer, "sgd, adam or adamw")
          ->capture_default_str());
  own(app.add_option("--learning-rate", training_.learning_rate, "(default: 0.01)"));
  own(app.add_option("--weight-decay", training_.weight_decay,
                     "Of matrices (default: 0, for adamw 0.01)"));
  own(app.add_flag("--ard", ard_, "A length scale for each output of the network"));
}

void DeepKernelCommand::expect_asked_for(const std::string& kernel) const {
  if (kernel == kName) return;
  for (const CLI::Option* option : own_) {
    if (option->count() > 0) {
      throw UsageError(fmt::format("{} is for --kernel deep", option->get_name()));
    }
  }
}

Model DeepKernelCommand::model(const std::optional<Model>& features, Index inputs,
                               std::uint64_t seed) const {
  if (features) {
    const bool given = std::ranges::any_of(own_, [](const CLI::Option* option) {
      return option->count() > 0 &&
             (option->get_name() == "--model" || option->get_name() == "--activation");
    });
    if (given) throw UsageError("--model and --activation: the network is that of --features");
    return features->to(DType::kFloat64);
  }
  const Layer activation =
      parse_option("--activation", [&] { return activation_named(activation_); });
  const std::string widths =
      widths_.empty() ? fmt::format("{}-{}", inputs, kDefaultHidden) : widths_;
  std::vector<Layer> layers =
      parse_option("--model", [&] { return mlp_layers(widths, activation); });
  const Model model(std::move(layers), Gaussian{}, DType::kFloat64, seed);
  if (model.inputs() != inputs) {
    throw UsageError(fmt::format("--model: {} reads {} features, the data has {}", widths,
                                 model.inputs(), inputs));
  }
  return model;
}

DeepKernelFit DeepKernelCommand::fit(const Model& model, const Tensor& x, const Tensor& y,
                                     const GaussianProcessOptions& gp,
                                     std::optional<double> noise) const {
  TrainOptions training = training_;
  training.learning_rate = training.learning_rate.value_or(kDefaultRate);
  const InterruptGuard guard;
  ProgressLine line;
  const auto progress = [&](Index step, double loss) {
    line.show(static_cast<std::size_t>(step), static_cast<std::size_t>(steps_),
              fmt::format("steps, {:.6g} nats a target", loss));
    return !guard.interrupted();
  };
  return fit_deep_kernel(model, x, y,
                         {.optimizer = optimizer_of(training),
                          .steps = steps_,
                          .ard = ard_,
                          .noise = noise,
                          .center_targets = gp.center_targets,
                          .max_jitter = gp.max_jitter,
                          .threads = gp.threads,
                          .progress = progress});
}

}  // namespace chainrule::tools
