// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/deep_kernel.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/gp_nll.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

constexpr double kDefaultNoiseShare = 0.1;  // of the targets' variance

// g(x), in float64.
Tensor outputs_of(const Model& model, const Tensor& x) {
  const Network& network = model.network();
  const Tensor ready = model.prepare_inputs_view(x);
  return evaluate(network.graph(), network.logits(),
                  {.inputs = {{network.x(), ready.view()}},
                   .parameters = &model.parameters(),
                   .dtype = model.dtype()})
      .to(DType::kFloat64);
}

class Deep : public CovarianceFunction {
 public:
  Deep(std::unique_ptr<CovarianceFunction> inner, Model model)
      : inner_(std::move(inner)), model_(std::move(model)) {}

  std::unique_ptr<CovarianceFunction> clone() const override {
    return std::make_unique<Deep>(inner_->clone(), model_);
  }
  std::string name() const override { return fmt::format("deep({})", inner_->name()); }
  std::string text() const override { return fmt::format("deep({})", inner_->text()); }
  std::vector<Hyperparameter> hyperparameters() const override { return inner_->hyperparameters(); }
  void set_values(std::span<const double> values) override { inner_->set_values(values); }
  Index block_rows() const override { return inner_->block_rows(); }

  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    const Tensor inputs =
        Tensor::view(const_cast<double*>(x.data), {x.rows, x.columns}, DType::kFloat64, x.ld);
    const Tensor features = outputs_of(model_, inputs);
    return inner_->prepare(features.as<double>());
  }
  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    inner_->block(a, first, b, k);
  }
  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    inner_->diagonal(a, k);
  }
  void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                MatrixView<const double> weights, std::span<double> gradient) const override {
    inner_->contract(a, first, b, weights, gradient);
  }

 private:
  std::unique_ptr<CovarianceFunction> inner_;
  Model model_;
};

// The mean over the columns of their variances; 1 where nothing varies.
double mean_variance_of(const Tensor& y) {
  double total = 0;
  for (const double scale : Standardizer::fit(y).scale) total += scale * scale;
  return total / static_cast<double>(y.columns());
}

// The root mean square distance of two rows; 1 where they are all the same.
double spread_of(const Tensor& features) {
  const std::vector<double> mean = Standardizer::fit(features).mean;
  const MatrixView<const double> f = features.as<double>();
  double sum = 0;
  for (Index i = 0; i < f.rows; ++i) {
    for (Index c = 0; c < f.columns; ++c) {
      const double away = f(i, c) - mean[static_cast<std::size_t>(c)];
      sum += away * away;
    }
  }
  return sum > 0 ? std::sqrt(2 * sum / static_cast<double>(f.rows)) : 1;
}

Tensor centered(const Tensor& y, bool center) {
  Tensor result = y.to(DType::kFloat64);
  if (!center) return result;
  const std::vector<double> mean = Standardizer::fit(y).mean;
  const MatrixView<double> values = result.as<double>();
  for (Index i = 0; i < values.rows; ++i) {
    for (Index c = 0; c < values.columns; ++c) values(i, c) -= mean[static_cast<std::size_t>(c)];
  }
  return result;
}

void expect_fitting(const Model& model, const Tensor& x, const Tensor& y,
                    const DeepKernelOptions& options) {
  if (x.rows() < 1 || x.columns() != model.inputs() || y.rows() != x.rows() || y.columns() < 1) {
    throw ShapeError(
        fmt::format("fit_deep_kernel: got x {} and y {}, expected [n, {}] and [n, k], n, k >= 1",
                    to_string(x.shape()), to_string(y.shape()), model.inputs()));
  }
  if (options.steps < 0) {
    throw ArgumentError(fmt::format("fit_deep_kernel: got {} steps, expected >= 0", options.steps));
  }
  for (const auto& [name, value] :
       {std::pair("variance", options.variance), std::pair("length scale", options.length_scale),
        std::pair("noise", options.noise)}) {
    if (value) internal::expect_positive("fit_deep_kernel", name, *value);
  }
  validate(options.optimizer);
  validate(options.schedule);
}

// The network's graph with the likelihood of a Gaussian process behind its outputs, and the
// parameters of both.
class DeepGraph {
 public:
  struct Hyperparameters {
    double variance;
    std::vector<double> length_scales;
    double noise;
  };

  DeepGraph(const Model& model, Index targets, const Hyperparameters& start, double max_jitter)
      : network_(model.layers(), model.likelihood(), model.inputs()),
        graph_(*network_.x().graph()),
        targets_(graph_.input("gp_targets", {kBatch, targets})),
        log_variance_(graph_.parameter("gp_log_variance", {1})),
        log_length_scale_(graph_.parameter("gp_log_length_scale",
                                           {static_cast<Index>(start.length_scales.size())})),
        log_noise_(graph_.parameter("gp_log_noise", {1})),
        loss_(rbf_gp_nll(network_.logits(), targets_, log_variance_, log_length_scale_, log_noise_,
                         {.max_jitter = max_jitter})),
        parameters_(graph_, model.dtype()) {
    graph_.rename(loss_, "gp_nll");
    for (const auto& entry : model.parameters().layout().entries) {
      copy_values(model.parameters().view({model.network().x().graph(), entry.node}),
                  parameters_.mutable_view({&graph_, entry.node}));
    }
    set_log(log_variance_, {start.variance});
    set_log(log_length_scale_, start.length_scales);
    set_log(log_noise_, {start.noise});
  }

  const Graph& graph() const { return graph_; }
  Value x() const { return network_.x(); }
  Value targets() const { return targets_; }
  Value loss() const { return loss_; }
  Parameters& parameters() { return parameters_; }

  UpdateOptions updates(const Optimizer& optimizer) {
    UpdateOptions update{.def = &update_def(optimizer), .targets = {}};
    for (const auto& entry : parameters_.layout().entries) {
      if (!entry.learned) continue;
      const int group = entry.shape.rank() == 2 ? kDecayedGroup : kUndecayedGroup;
      update.targets.push_back({.parameter = Value(&graph_, entry.node), .group = group});
    }
    return update;
  }

  Hyperparameters hyperparameters() const {
    return {exponentials(log_variance_)[0], exponentials(log_length_scale_),
            exponentials(log_noise_)[0]};
  }
  void copy_network_to(Model& model) const {
    for (const auto& entry : model.parameters().layout().entries) {
      copy_values(parameters_.view(Value(&graph_, entry.node)),
                  model.parameters().mutable_view(Value(model.network().x().graph(), entry.node)));
    }
  }

 private:
  void set_log(Value parameter, const std::vector<double>& values) {
    const TensorView view = parameters_.mutable_view(parameter);
    for (std::size_t j = 0; j < values.size(); ++j) {
      set_element(view, 0, static_cast<Index>(j), std::log(values[j]));
    }
  }
  std::vector<double> exponentials(Value parameter) const {
    const ConstTensorView view = parameters_.view(parameter);
    std::vector<double> values;
    for (Index j = 0; j < view.columns; ++j) values.push_back(std::exp(element(view, 0, j)));
    return values;
  }

  Network network_;
  Graph& graph_;
  Value targets_;
  Value log_variance_;
  Value log_length_scale_;
  Value log_noise_;
  Value loss_;
  Parameters parameters_;
};

DeepGraph::Hyperparameters start_of(const Model& model, const Tensor& x, const Tensor& y,
                                    const DeepKernelOptions& options) {
  const double variance = mean_variance_of(y);
  const double length = options.length_scale.value_or(spread_of(outputs_of(model, x)));
  const auto scales = static_cast<std::size_t>(options.ard ? model.outputs() : 1);
  return {options.variance.value_or(variance), std::vector<double>(scales, length),
          options.noise.value_or(kDefaultNoiseShare * variance)};
}

// Full-batch steps; returns the losses.
std::vector<double> train(DeepGraph& deep, const Tensor& x, const Tensor& y,
                          const DeepKernelOptions& options) {
  CompileOptions compile_options;
  compile_options.dtype = deep.parameters().dtype();
  compile_options.loss = deep.loss();
  compile_options.update = deep.updates(options.optimizer);
  const Plan plan = compile(deep.graph(), compile_options);
  const Executor executor(options.threads);
  Workspace workspace = executor.make_workspace(plan, x.rows());
  OptimizerState state(deep.parameters().layout(), update_def(options.optimizer).state_slots);
  std::array<double, kParameterGroups * kUpdateScalars> scalars{};
  Bindings bindings(plan);
  bindings.input(deep.x(), x).input(deep.targets(), y);
  bindings.parameters(deep.parameters()).optimizer(state, scalars);
  std::vector<double> losses;
  executor.with_residents([&] {
    for (Index step = 1; step <= options.steps && !options.stop.stop_requested(); ++step) {
      const double rate =
          learning_rate_at(options.schedule, base_learning_rate(options.optimizer),
                           {.step = step, .steps_per_epoch = 1, .total_steps = options.steps});
      update_scalars(options.optimizer, rate, step, scalars);
      bindings.random({.seed = 0, .stream = static_cast<std::uint64_t>(step)});
      try {
        executor.run(workspace, bindings);
      } catch (const NonFiniteError& error) {
        throw NonFiniteError(fmt::format("step {}: {}", step, error.what()), error.node());
      }
      losses.push_back(workspace.loss());
      if (options.progress && !options.progress(step, losses.back())) return;
    }
  });
  return losses;
}

}  // namespace

CovarianceKernel deep_kernel(const CovarianceKernel& kernel, const Model& model) {
  return CovarianceKernel(std::make_unique<Deep>(kernel.function().clone(), model));
}

DeepKernelFit fit_deep_kernel(const Model& model, const Tensor& x, const Tensor& y,
                              const DeepKernelOptions& options) {
  expect_fitting(model, x, y, options);
  Model trained = model.clone();
  DeepGraph deep(trained, y.columns(), start_of(trained, x, y, options), options.max_jitter);
  const Tensor inputs = trained.prepare_inputs(x);
  const Tensor targets = centered(y, options.center_targets).to(trained.dtype());
  std::vector<double> losses = train(deep, inputs, targets, options);
  deep.copy_network_to(trained);
  const DeepGraph::Hyperparameters found = deep.hyperparameters();
  const CovarianceKernel rbf =
      options.ard ? ard_rbf_kernel(found.length_scales) : rbf_kernel(found.length_scales.front());
  GaussianProcess gp(scaled(deep_kernel(rbf, trained), found.variance),
                     {.noise = found.noise,
                      .center_targets = options.center_targets,
                      .max_jitter = options.max_jitter,
                      .threads = options.threads});
  gp.fit(x, y);
  const double likelihood = gp.log_marginal_likelihood().value;
  return {.model = std::move(trained),
          .gp = std::move(gp),
          .losses = std::move(losses),
          .log_marginal_likelihood = likelihood};
}

}  // namespace chainrule
