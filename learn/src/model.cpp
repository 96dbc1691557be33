// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/differentiate.hpp"

namespace chainrule {
namespace {

struct Parts {
  std::vector<Layer> layers;
  Likelihood likelihood;
};

Parts split(std::initializer_list<ModelPart> parts) {
  Parts result;
  std::size_t position = 0;
  for (const ModelPart& part : parts) {
    const bool last = ++position == parts.size();
    if (last != std::holds_alternative<Likelihood>(part)) {
      throw ArgumentError(
          fmt::format("Model: part {} of {} is a {}, expected layers and then one likelihood",
                      position, parts.size(), last ? "layer" : "likelihood"));
    }
    if (last) {
      result.likelihood = std::get<Likelihood>(part);
    } else {
      result.layers.push_back(std::get<Layer>(part));
    }
  }
  return result;
}

// Columns that the first Linear layer reads; layers before it keep their width.
Index input_width(const std::vector<Layer>& layers) {
  for (const Layer& layer : layers) {
    if (const auto* linear = std::get_if<Linear>(&layer)) return linear->in;
  }
  throw ArgumentError("Model: no Linear layer, expected at least one");
}

// Labels as the target [n, 1] of a likelihood with one output.
Tensor binary_target(const Dataset& data, double negative, DType dtype) {
  Tensor target(Shape{data.rows(), 1}, dtype);
  Tensor column(Shape{data.rows(), 1}, DType::kFloat64);
  for (Index i = 0; i < data.rows(); ++i) {
    column.as<double>()(i, 0) = data.labels[static_cast<std::size_t>(i)] == 0 ? negative : 1;
  }
  copy_values(column.view(), target.view());
  return target;
}

// In `dtype`; ArgumentError where that makes a finite number infinite.
Tensor narrowed(const Tensor& tensor, DType dtype, std::string_view what) {
  Tensor result = tensor.to(dtype);
  if (tensor.dtype() != DType::kFloat64 || dtype == DType::kFloat64) return result;
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) {
      const double value = element(tensor.view(), i, j);
      if (std::isfinite(element(result.view(), i, j)) || !std::isfinite(value)) continue;
      throw ArgumentError(fmt::format("{}, row {}, column {}: {} does not fit {}", what, i + 1,
                                      j + 1, value, to_string(dtype)));
    }
  }
  return result;
}

Tensor labels_as_real(const Dataset& data) {
  Tensor target(Shape{data.rows(), 1}, DType::kFloat64);
  for (Index i = 0; i < data.rows(); ++i) {
    target.as<double>()(i, 0) = data.labels[static_cast<std::size_t>(i)];
  }
  return target;
}

// Where the likelihood is defined; ArgumentError naming the first row outside.
void expect_domain(const Likelihood& likelihood, const Tensor& y) {
  if (!has_log_link(likelihood)) return;
  const bool positive = std::holds_alternative<Gamma>(likelihood);
  for (Index i = 0; i < y.rows(); ++i) {
    for (Index j = 0; j < y.columns(); ++j) {
      const double value = element(y.view(), i, j);
      if (std::isfinite(value) && (positive ? value > 0 : value >= 0)) continue;
      throw ArgumentError(fmt::format("target, row {}: {}, expected a number {} 0 for loss '{}'",
                                      i + 1, value, positive ? ">" : ">=", name_of(likelihood)));
    }
  }
}

void expect_layer(std::size_t layer, const std::vector<Layer>& layers) {
  if (layer < layers.size()) return;
  throw ArgumentError(
      fmt::format("got layer {} (from 0) of a model of {} layers", layer, layers.size()));
}

}  // namespace

Model::Model(std::initializer_list<ModelPart> parts, Where where)
    : Model(split(parts).layers, split(parts).likelihood, DType::kFloat32, 0, where) {}

Model::Model(std::vector<Layer> layers, Likelihood likelihood, DType dtype, std::uint64_t seed,
             Where where)
    : layers_(std::move(layers)),
      likelihood_(likelihood),
      inputs_(input_width(layers_)),
      network_(std::make_shared<const Network>(layers_, likelihood_, inputs_, where)),
      parameters_(std::make_shared<Parameters>(network_->graph(), dtype, seed)),
      schema_(std::make_shared<Schema>()) {
  outputs_ = network_->logits().shape().columns();
}

void Model::initialize(std::uint64_t seed) {
  parameters_->assign(Parameters(network_->graph(), dtype(), seed));
}

Model Model::clone() const {
  Model copy = *this;
  copy.parameters_ = std::make_shared<Parameters>(*parameters_);
  copy.schema_ = std::make_shared<Schema>(*schema_);
  return copy;
}

Model Model::to(DType dtype) const {
  Model copy = *this;
  copy.parameters_ = std::make_shared<Parameters>(parameters_->to(dtype));
  copy.schema_ = std::make_shared<Schema>(*schema_);
  return copy;
}

Tensor Model::prepare_inputs(const Tensor& x) const {
  Tensor ready = prepare_inputs_view(x);
  if (!ready.owns_memory()) return x.to(dtype());
  return ready;
}

Tensor Model::prepare_inputs_view(const Tensor& x) const {
  if (x.columns() != inputs_) {
    throw ShapeError(
        fmt::format("the model reads {} columns, the data has {}", inputs_, x.columns()));
  }
  if (schema_->standardizer) {
    Tensor scaled = schema_->standardizer->apply(x);
    if (scaled.dtype() == dtype()) return scaled;
    return narrowed(scaled, dtype(), "standardized features");
  }
  // Another layout would be slower to read than to copy.
  if (x.dtype() == dtype() && x.ld() == padded_leading_dimension(x.columns(), x.dtype())) {
    return Tensor::view(const_cast<void*>(x.data()), x.shape(), x.dtype(), x.ld());
  }
  return narrowed(x, dtype(), "features");
}

Dataset Model::prepare(const Dataset& data) const {
  Dataset ready = prepare_view(data);
  if (!ready.x.owns_memory()) ready.x = data.x.to(dtype());
  return ready;
}

Dataset Model::prepare_view(const Dataset& data) const {
  data.validate();
  Dataset ready;
  ready.x = prepare_inputs_view(data.x);
  const bool has_labels = !data.labels.empty() || data.rows() == 0;
  if (is_classification(likelihood_)) {
    if (!has_labels) {
      throw ArgumentError(fmt::format(
          "likelihood '{}' needs class labels, the data has real targets", name_of(likelihood_)));
    }
    const bool categorical = std::holds_alternative<Categorical>(likelihood_);
    const Index allowed = categorical ? outputs_ : 2;
    if (data.classes() > allowed) {
      throw ArgumentError(fmt::format("the data has {} classes, the model tells apart {}",
                                      data.classes(), allowed));
    }
    ready.labels = data.labels;
    if (!categorical) {
      ready.y =
          binary_target(data, std::holds_alternative<HingeLoss>(likelihood_) ? -1 : 0, dtype());
    }
  } else {
    if (data.y.shape().rank() == 0 && !has_labels) {
      throw ArgumentError(
          fmt::format("likelihood '{}' needs targets, the data has none", name_of(likelihood_)));
    }
    // Labels of an integer target are numbers too: counts, say.
    const Tensor y = data.y.shape().rank() == 0 ? labels_as_real(data) : data.y;
    ready.y = narrowed(y, dtype(), "target");
    if (ready.y.columns() != outputs_) {
      throw ShapeError(fmt::format("the model has {} outputs, the data {} targets", outputs_,
                                   ready.y.columns()));
    }
    expect_domain(likelihood_, ready.y);
  }
  if (data.weights.shape().rank() != 0) {
    ready.weights = narrowed(data.weights, dtype(), "weights");
  }
  if (data.offset.shape().rank() != 0) {
    if (!network_->offset()) {
      throw ArgumentError(fmt::format("likelihood '{}' with {} outputs takes no offset",
                                      name_of(likelihood_), outputs_));
    }
    ready.offset = narrowed(data.offset, dtype(), "offset");
  }
  return ready;
}

Tensor Model::features(const Tensor& x, std::optional<std::size_t> layer) const {
  if (layer) expect_layer(*layer, layers_);
  const Tensor ready = prepare_inputs_view(x);
  return evaluate(network_->graph(), layer ? network_->layer(*layer) : network_->features(),
                  {.inputs = {{network_->x(), ready.view()}},
                   .parameters = parameters_.get(),
                   .dtype = dtype()});
}

Model Model::with_head(Index outputs, const Likelihood& likelihood, bool bias,
                       std::optional<std::size_t> layer) const {
  if (layer) expect_layer(*layer, layers_);
  const auto last = std::ranges::find_if(layers_.rbegin(), layers_.rend(), [](const Layer& l) {
    return std::holds_alternative<Linear>(l);
  });
  const auto end =
      layer ? layers_.begin() + static_cast<std::ptrdiff_t>(*layer) + 1 : std::prev(last.base());
  std::vector<Layer> layers(layers_.begin(), end);
  const Value read = layer ? network_->layer(*layer) : network_->features();
  layers.push_back(Linear{.in = read.shape().columns(), .out = outputs, .bias = bias});
  Model result(std::move(layers), likelihood, dtype(), 0, Where::unknown());
  const std::string head = std::to_string(result.layers_.size() - 1) + ".";
  for (const ParameterLayout::Entry& entry : result.parameters_->layout().entries) {
    if (entry.name.starts_with(head)) continue;
    copy_values(parameters_->view(entry.name), result.parameters_->mutable_view(entry.name));
  }
  result.schema_->feature_names = schema_->feature_names;
  result.schema_->standardizer = schema_->standardizer;
  return result;
}

std::vector<Layer> mlp_layers(std::string_view widths, const Layer& activation) {
  std::vector<Index> sizes;
  const char* at = widths.data();
  const char* const end = at + widths.size();
  bool complete = false;
  while (true) {
    Index size = 0;
    const auto parsed = std::from_chars(at, end, size);
    if (parsed.ec != std::errc() || size < 1) break;
    sizes.push_back(size);
    complete = parsed.ptr == end;
    if (complete || *parsed.ptr != '-') break;
    at = parsed.ptr + 1;
  }
  if (!complete || sizes.size() < 2) {
    throw ArgumentError(fmt::format(
        "architecture '{}', expected at least two positive sizes joined by '-', as in 64-32-10",
        widths));
  }
  std::vector<Layer> layers;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    if (i > 0) layers.push_back(activation);
    layers.push_back(Linear{.in = sizes[i], .out = sizes[i + 1]});
  }
  return layers;
}

}  // namespace chainrule
