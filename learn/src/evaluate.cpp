// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/evaluate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "batch_source.hpp"
#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

// Rows of one run; bounds the memory of a prediction, not its result.
constexpr Index kChunkRows = 4096;

Index argmax(ConstTensorView view, Index row) {
  Index best = 0;
  for (Index j = 1; j < view.columns; ++j) {
    if (element(view, row, j) > element(view, row, best)) best = j;
  }
  return best;
}

// The class that a row of predictions means.
Index class_of(const Likelihood& likelihood, ConstTensorView prediction, Index row) {
  if (std::holds_alternative<Categorical>(likelihood)) return argmax(prediction, row);
  const double threshold = std::holds_alternative<Bernoulli>(likelihood) ? 0.5 : 0;
  return element(prediction, row, 0) > threshold ? 1 : 0;
}

}  // namespace

struct Predictor::State {
  State(const Model& model_, const PredictorOptions& options_)
      : model(model_.clone()), options(options_), executor(options_.threads) {}

  // A plan for one set of operands, made when first needed.
  struct Compiled {
    Compiled(const Plan& plan_, const Executor& executor)
        : plan(plan_), workspace(executor.make_workspace(plan_, kChunkRows)) {}

    Plan plan;
    Workspace workspace;
  };

  Compiled compile_for(Value loss, Value prediction) {
    CompileOptions compile_options;
    compile_options.dtype = model.dtype();
    compile_options.mode = Mode::kInference;
    compile_options.loss = loss;
    compile_options.outputs = {prediction};
    compile_options.gemm = options.gemm;
    return Compiled(compile(model.network().graph(), compile_options), executor);
  }

  Tensor predict(const Dataset& inputs) {
    const bool with_offset = inputs.offset.shape().rank() != 0;
    auto& slot = predictors[with_offset ? 1 : 0];
    const Value prediction = model.network().prediction(with_offset);
    if (!slot) slot = std::make_unique<Compiled>(compile_for({}, prediction));
    Tensor result(Shape{inputs.x.rows(), prediction.shape().columns()}, model.dtype());
    for_each_chunk(inputs, *slot, {.weights = false, .offset = with_offset}, false,
                   [&](Index first, Index count) {
                     TensorView to = result.view();
                     to.data = static_cast<std::byte*>(to.data) + first * to.ld * size_of(to.dtype);
                     to.rows = count;
                     copy_values(slot->workspace.output(prediction), to);
                   });
    return result;
  }

  // Runs over `data` chunk by chunk and calls `body(first, count)` after each.
  template <class Body>
  void for_each_chunk(const Dataset& data, Compiled& compiled, Extras extras, bool with_target,
                      Body&& body) {
    const internal::BatchSource source(model.network(), data, extras, with_target);
    Bindings bindings(compiled.plan);
    bindings.parameters(std::as_const(model.parameters()));
    for (Index first = 0; first < data.x.rows(); first += kChunkRows) {
      const Index count = std::min(kChunkRows, data.x.rows() - first);
      source.bind_rows(bindings, first, count);
      executor.run(compiled.workspace, bindings);
      body(first, count);
    }
  }

  Model model;
  PredictorOptions options;
  Executor executor;
  std::array<std::unique_ptr<Compiled>, 2> predictors;
};

Predictor::Predictor(const Model& model, const PredictorOptions& options)
    : state_(std::make_unique<State>(model, options)) {}
Predictor::~Predictor() = default;
Predictor::Predictor(const Predictor& other)
    : Predictor(other.state_->model, other.state_->options) {}
Predictor& Predictor::operator=(const Predictor& other) {
  if (this != &other) *this = Predictor(other);
  return *this;
}
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

Tensor Predictor::predict(const Tensor& x) {
  Dataset inputs;
  inputs.x = state_->model.prepare_inputs_view(x);
  return state_->predict(inputs);
}

Tensor Predictor::predict(const Tensor& x, const Tensor& offset) {
  if (!state_->model.network().offset()) {
    throw ArgumentError(fmt::format("predict: likelihood '{}' takes no offset",
                                    name_of(state_->model.likelihood())));
  }
  if (offset.rows() != x.rows() || offset.columns() != 1) {
    throw ShapeError(fmt::format("predict: offset has shape {}, expected [{}, 1]",
                                 to_string(offset.shape()), x.rows()));
  }
  Dataset inputs;
  inputs.x = state_->model.prepare_inputs_view(x);
  inputs.offset = offset.to(state_->model.dtype());
  return state_->predict(inputs);
}

std::vector<std::int32_t> Predictor::classify(const Tensor& x) {
  const Likelihood& likelihood = state_->model.likelihood();
  if (!is_classification(likelihood)) {
    throw ArgumentError(
        fmt::format("classify: likelihood '{}' predicts no classes", name_of(likelihood)));
  }
  const Tensor prediction = predict(x);
  std::vector<std::int32_t> classes(static_cast<std::size_t>(prediction.rows()));
  for (Index i = 0; i < prediction.rows(); ++i) {
    classes[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(class_of(likelihood, prediction.view(), i));
  }
  return classes;
}

Evaluation Predictor::evaluate(const Dataset& data) {
  const Model& model = state_->model;
  const Dataset ready = model.prepare_view(data);
  const Extras extras = internal::extras_of(ready);
  const Value prediction = model.network().prediction(extras.offset);
  State::Compiled compiled = state_->compile_for(model.network().loss(extras), prediction);

  Evaluation result;
  result.rows = data.rows();
  const bool classes = is_classification(model.likelihood());
  if (classes) {
    const Index count =
        std::holds_alternative<Categorical>(model.likelihood()) ? model.outputs() : 2;
    result.confusion.assign(static_cast<std::size_t>(count),
                            std::vector<Index>(static_cast<std::size_t>(count)));
  }
  double loss = 0;
  double weight = 0;
  double squared_error = 0;
  Index correct = 0;
  state_->for_each_chunk(ready, compiled, extras, true, [&](Index first, Index count) {
    const double chunk_weight = internal::total_weight(ready, first, count);
    if (chunk_weight > 0) loss += compiled.workspace.loss() * chunk_weight;
    weight += chunk_weight;
    const ConstTensorView predicted = compiled.workspace.output(prediction);
    for (Index i = 0; i < count; ++i) {
      if (classes) {
        const auto truth =
            static_cast<std::size_t>(ready.labels[static_cast<std::size_t>(first + i)]);
        const auto guess = static_cast<std::size_t>(class_of(model.likelihood(), predicted, i));
        ++result.confusion[truth][guess];
        correct += truth == guess ? 1 : 0;
        continue;
      }
      for (Index j = 0; j < predicted.columns; ++j) {
        const double error = element(predicted, i, j) - element(ready.y.view(), first + i, j);
        squared_error += error * error;
      }
    }
  });
  const auto rows = static_cast<double>(std::max<Index>(result.rows, 1));
  result.loss = weight > 0 ? loss / weight : 0;
  if (classes) {
    result.accuracy = static_cast<double>(correct) / rows;
  } else {
    result.rmse = std::sqrt(squared_error / rows / static_cast<double>(model.outputs()));
  }
  return result;
}

Evaluation evaluate(const Model& model, const Dataset& data, const PredictorOptions& options) {
  return Predictor(model, options).evaluate(data);
}

}  // namespace chainrule
