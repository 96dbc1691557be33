// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "chainrule/core/random.hpp"
#include "chainrule/learn/model_file.hpp"
#include "common.hpp"
#include "gradcheck_sources.hpp"

namespace chainrule::tools {
namespace {

constexpr std::uint64_t kRowStream = 41;
constexpr std::uint64_t kInputStream = 42;
constexpr std::uint64_t kTargetStream = 43;
constexpr std::uint64_t kDropoutStream = 44;
constexpr double kLargestCount = 6;

bool is_there(const Tensor& tensor) { return tensor.shape().rank() != 0; }

// value(u) of u uniform on [0, 1).
template <class Draw>
Tensor drawn(const Shape& shape, RandomKey key, Draw&& draw) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> x = tensor.as<double>();
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      x(i, j) = draw(key, static_cast<std::uint64_t>(i * x.columns + j));
    }
  }
  return tensor;
}

// A target that the likelihood allows.
double random_target(const Likelihood& likelihood, RandomKey key, std::uint64_t index) {
  const double u = random_uniform(key, index);
  if (std::holds_alternative<Bernoulli>(likelihood)) return u < 0.5 ? 0 : 1;
  if (std::holds_alternative<HingeLoss>(likelihood)) return u < 0.5 ? -1 : 1;
  if (std::holds_alternative<Gamma>(likelihood)) return 0.25 + 2 * u;
  if (has_log_link(likelihood)) return std::floor(u * kLargestCount);
  return random_normal(key, index);
}

// As Model::prepare() leaves data: what the network sees.
Dataset random_rows(const Model& model, Index rows, std::uint64_t seed) {
  Dataset data;
  data.x =
      drawn(Shape{rows, model.inputs()}, {.seed = seed, .stream = kInputStream}, random_normal);
  const RandomKey key{.seed = seed, .stream = kTargetStream};
  if (std::holds_alternative<Categorical>(model.likelihood())) {
    const auto classes = static_cast<double>(model.outputs());
    for (Index i = 0; i < rows; ++i) {
      const double u = random_uniform(key, static_cast<std::uint64_t>(i));
      data.labels.push_back(static_cast<std::int32_t>(std::floor(u * classes)));
    }
    return data;
  }
  data.y = drawn(Shape{rows, model.outputs()}, key, [&](RandomKey k, std::uint64_t index) {
    return random_target(model.likelihood(), k, index);
  });
  return data;
}

// Up to `count` rows, drawn at random, in their order.
Dataset some_rows(const Dataset& data, Index count, std::uint64_t seed) {
  if (data.rows() <= count) return data;
  std::vector<std::uint32_t> rows(static_cast<std::size_t>(data.rows()));
  random_permutation({.seed = seed, .stream = kRowStream}, rows);
  rows.resize(static_cast<std::size_t>(count));
  std::sort(rows.begin(), rows.end());
  return data.subset(rows);
}

std::string layers_text(const Model& model) {
  std::string text;
  for (const Layer& layer : model.layers()) {
    const auto* const linear = std::get_if<Linear>(&layer);
    text += fmt::format("{}{}", text.empty() ? "" : ", ", name_of(layer));
    if (linear != nullptr) text += fmt::format(" {}-{}", linear->in, linear->out);
  }
  return text;
}

bool has_batch_norm(const Model& model) {
  return std::any_of(model.layers().begin(), model.layers().end(),
                     [](const Layer& layer) { return std::holds_alternative<BatchNorm>(layer); });
}

// Biases whose gradient is zero by construction: batch_norm takes off what they add.
std::vector<std::string> biases_without_effect(const Model& model) {
  std::vector<std::string> names;
  const std::vector<Layer>& layers = model.layers();
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) {
    const auto* const linear = std::get_if<Linear>(&layers[i]);
    if (linear == nullptr || !linear->bias) continue;
    std::size_t next = i + 1;
    while (next + 1 < layers.size() && std::holds_alternative<Identity>(layers[next])) ++next;
    if (std::holds_alternative<BatchNorm>(layers[next])) names.push_back(fmt::format("{}.bias", i));
  }
  return names;
}

// What the command can do about a gradient of zero that nobody declared.
std::string advice_on(const GradientReport& report) {
  std::string text;
  for (const ValueCheck& check : report.values) {
    if (report.ok() || !check.all_zero || check.overall_verdict() == Verdict::kDisagree) continue;
    text +=
        fmt::format("hint: if nothing depends on {0} here, declare it: --zero {0}\n", check.name);
  }
  return text;
}

}  // namespace

struct ModelChecker::State {
  State(Model model_, Dataset batch_) : model(std::move(model_)), batch(std::move(batch_)) {}

  const Network& network() const { return model.network(); }

  Value loss() const {
    return network().loss({.weights = is_there(batch.weights), .offset = is_there(batch.offset)});
  }

  Feed feed(std::uint64_t seed) const {
    Feed feed;
    feed.inputs = {{network().x(), batch.x.view()}};
    if (is_there(batch.y)) {
      feed.inputs.emplace_back(network().target(), batch.y.view());
    } else {
      const auto rows = static_cast<Index>(batch.labels.size());
      feed.inputs.emplace_back(network().target(),
                               ConstTensorView(batch.labels.data(), DType::kInt32, rows, 1, 1));
    }
    if (is_there(batch.weights))
      feed.inputs.emplace_back(network().weights(), batch.weights.view());
    if (is_there(batch.offset)) feed.inputs.emplace_back(network().offset(), batch.offset.view());
    feed.parameters = &model.parameters();
    feed.mode = Mode::kTraining;
    feed.random = {.seed = seed, .stream = kDropoutStream};
    return feed;
  }

  // Everything whose gradient people want: parameters, the inputs and an offset.
  std::vector<Value> values() const {
    std::vector<Value> values;
    for (const ParameterLayout::Entry& entry : model.parameters().layout().entries) {
      if (entry.learned) values.emplace_back(network().x().graph(), entry.node);
    }
    values.push_back(network().x());
    if (is_there(batch.offset)) values.push_back(network().offset());
    return values;
  }

  Model model;    // float64
  Dataset batch;  // float64, prepared
};

ModelChecker::ModelChecker(const ModelCheck& check, std::uint64_t seed) {
  const Model stored = load_model(check.model);
  const Model model = stored.to(DType::kFloat64);
  facts_ = {{"model", check.model},
            {"layers", layers_text(model)},
            {"loss", std::string(name_of(model.likelihood()))}};
  Dataset batch;
  if (check.data.empty()) {
    batch = random_rows(model, check.samples, seed);
    facts_.emplace_back("data", fmt::format("{} random rows", check.samples));
  } else {
    const Rows rows = load_test_rows(check.data, dataset_options(model, check.data, check.columns),
                                     check.header.csv());
    batch = model.prepare(some_rows(rows.data, check.samples, seed));
    facts_.emplace_back(
        "data", fmt::format("{} of {} rows of {}", batch.x.rows(), rows.data.rows(), rows.name));
  }
  if (batch.x.rows() < 2 && has_batch_norm(model)) {
    throw ArgumentError(fmt::format(
        "{}: the model has batch_norm, which makes every gradient zero in a batch of one row; got "
        "one row, expected at least two",
        check.model));
  }
  state_ = std::make_unique<State>(model, std::move(batch));
  expect_tensors("--waive", check.waived);
  expect_tensors("--zero", check.zeros);
  waived_ = check.waived;
  zeros_ = check.zeros;
  if (!zeros_.empty()) {
    facts_.emplace_back("zero", joined(zeros_) + ": no gradient, as declared by --zero");
  }
}

ModelChecker::~ModelChecker() = default;

void ModelChecker::expect_tensors(const char* option, const std::vector<std::string>& names) const {
  std::vector<std::string> known;
  for (const Value& value : state_->values()) known.push_back(value.node().name);
  for (const std::string& name : names) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    throw UsageError(
        fmt::format("{}: no tensor is called '{}'; there are: {}", option, name, joined(known)));
  }
}

std::size_t ModelChecker::name_width() const {
  std::size_t width = 6;
  for (const Value& value : state_->values()) width = std::max(width, value.node().name.size());
  return width;
}

void ModelChecker::check(std::span<const DType> dtypes, const KernelTable& kernels,
                         const GradcheckObserver& observer, GradcheckRun& run) const {
  const std::vector<Value> values = state_->values();
  const std::vector<std::string> without_effect = biases_without_effect(state_->model);
  const Feed feed = state_->feed(run.seed);
  const std::size_t total = values.size() * dtypes.size();
  for (const Value& value : values) {
    const std::string& name = value.node().name;
    for (const DType dtype : dtypes) {
      observer.before(run.records.size(), total, name);
      GradientCheckOptions options;
      options.dtype = dtype;
      options.with_respect_to = {value};
      options.seed = run.seed;
      options.kernels = &kernels;
      const bool zero =
          std::find(without_effect.begin(), without_effect.end(), name) != without_effect.end() ||
          std::find(zeros_.begin(), zeros_.end(), name) != zeros_.end();
      if (zero) options.zero_gradients = {value};
      const bool waived = std::find(waived_.begin(), waived_.end(), name) != waived_.end();
      if (waived) options.waive_unresolved = {name};
      const auto start = std::chrono::steady_clock::now();
      GradientReport report =
          check_gradients(state_->network().graph(), state_->loss(), feed, options);
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
      const std::string advice = zero ? "" : advice_on(report);
      const Shape shape = report.values.empty() ? value.shape() : report.values.front().shape;
      run.records.push_back({.subject = name,
                             .name = name,
                             .variant = name,
                             .size = {},
                             .shape = to_string(shape),
                             .seconds = seconds.count(),
                             .properties = {},
                             .report = std::move(report),
                             .second_order = {},
                             .advice = advice});
      observer.group(GradcheckGroup(run.records).last(1));
    }
  }
}

}  // namespace chainrule::tools
