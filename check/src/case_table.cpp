// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/case_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "chainrule/core/error.hpp"
#include "gradient_probe.hpp"

namespace chainrule {
namespace {

// Tall batches are several blocks of rows, the last one short.
constexpr auto kSizes = std::to_array<CaseSize>({
    {"typical", 6, 8},
    {"one row", 1, 7},
    {"one column", 6, 1},
    {"one element", 1, 1},
    {"odd", 7, 13},
    {"wide", 3, 67},
    {"tall", 301, 5},
});

// The k-th number of a fill in [low, high), u uniform on [0, 1).
double draw(const Fill& fill, double u) {
  const double spread = fill.high - fill.low;
  switch (fill.kind) {
    case Fill::Kind::kOddSixteenths:
      return fill.low + 0.0625 + 0.125 * std::floor(u * spread * 8);
    case Fill::Kind::kEvenSixteenths:
      return fill.low + 0.125 * std::floor(u * spread * 8);
    case Fill::Kind::kIntegers:
      return fill.low + std::floor(u * spread);
    case Fill::Kind::kSigns:
      return u < 0.5 ? -1 : 1;
    case Fill::Kind::kUniform:
    case Fill::Kind::kRows:
      break;
  }
  return fill.low + u * spread;
}

void normalize_rows(TensorView view) {
  const MatrixView<double> x = view.as<double>();
  for (Index i = 0; i < x.rows; ++i) {
    double sum = 0;
    for (Index j = 0; j < x.columns; ++j) sum += x(i, j) = std::abs(x(i, j)) + 0.125;
    for (Index j = 0; j < x.columns; ++j) x(i, j) /= sum;
  }
}

Tensor filled(const Shape& shape, const Fill& fill, RandomKey key) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> x = tensor.as<double>();
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      const double u = random_uniform(key, static_cast<std::uint64_t>(i * x.columns + j));
      x(i, j) = fill.scale * draw(fill, u);
    }
  }
  if (fill.kind == Fill::Kind::kRows) normalize_rows(tensor);
  return tensor;
}

}  // namespace

std::span<const CaseSize> case_sizes() noexcept { return kSizes; }

Value CaseBuilder::add(const Value& value, const Fill& fill) {
  leaves.push_back({value, fill});
  return value;
}

Value CaseBuilder::batch(std::string name, const Fill& fill) {
  return input(std::move(name), {kBatch, columns()}, fill);
}

Value CaseBuilder::input(std::string name, const Shape& shape, const Fill& fill) {
  return add(graph_->input(std::move(name), shape), fill);
}

Value CaseBuilder::parameter(std::string name, const Shape& shape, const Fill& fill) {
  return add(graph_->parameter(std::move(name), shape), fill);
}

Value CaseBuilder::state(std::string name, const Shape& shape, const Fill& fill) {
  return add(graph_->state(std::move(name), shape, zeros()), fill);
}

Value CaseBuilder::indices(std::string name, const Shape& shape, Index count) {
  const Fill fill{Fill::Kind::kIntegers, 0, static_cast<double>(count)};
  return add(graph_->indices(std::move(name), shape), fill);
}

std::string OpCase::name() const {
  return variant.empty() ? std::string(op->name) : fmt::format("{} ({})", op->name, variant);
}

std::vector<const OpDef*> ops_without_cases(std::span<const OpDef* const> ops,
                                            std::span<const OpCase> cases) {
  std::vector<const OpDef*> missing;
  for (const OpDef* op : ops) {
    const bool has_case =
        std::any_of(cases.begin(), cases.end(), [&](const OpCase& row) { return row.op == op; });
    if (!has_case) missing.push_back(op);
  }
  return missing;
}

CaseInstance::CaseInstance(const OpCase& op_case, const CaseSize& size, DType dtype,
                           std::uint64_t seed)
    : graph_(std::make_unique<Graph>()),
      rows_(std::min(size.rows, op_case.most_rows)),
      dtype_(dtype),
      mode_(op_case.mode) {
  CaseBuilder builder(*graph_, {size.name, rows_, size.columns});
  output_ = op_case.build(builder);
  if (output_.node().op != op_case.op) {
    throw ArgumentError(fmt::format("case {}: builds a node of the op {}", op_case.name(),
                                    output_.node().op ? output_.node().op->name : "(none)"));
  }
  zero_gradients_ = std::move(builder.zero_gradients);
  kinks_ = std::move(builder.kinks);
  Parameters parameters(*graph_, DType::kFloat64);
  for (const CaseBuilder::Leaf& leaf : builder.leaves) {
    const Value& value = leaf.value;
    const auto stream = static_cast<std::uint64_t>(value.id());
    const Shape shape = internal::filled_shape(value.shape(), rows_);
    Tensor numbers = filled(shape, leaf.fill, {.seed = seed, .stream = stream});
    const NodeKind kind = value.node().kind;
    if (kind == NodeKind::kParameter || kind == NodeKind::kState) {
      copy_values(numbers.view(), parameters.mutable_view(value));
    } else {
      inputs_.push_back(value);
      tensors_.push_back(numbers.to(kind == NodeKind::kIndexInput ? DType::kInt32 : dtype));
    }
  }
  parameters_ = parameters.to(dtype);
}

ConstTensorView CaseInstance::data(const Value& value) const {
  const auto at = std::find(inputs_.begin(), inputs_.end(), value);
  if (at != inputs_.end()) return tensors_[static_cast<std::size_t>(at - inputs_.begin())].view();
  return parameters_.view(value);
}

Feed CaseInstance::feed() const {
  Feed feed;
  for (std::size_t k = 0; k < inputs_.size(); ++k) {
    feed.inputs.emplace_back(inputs_[k], tensors_[k].view());
  }
  feed.parameters = &parameters_;
  feed.dtype = dtype_;
  feed.mode = mode_;
  feed.random = {.seed = 11, .stream = 5};
  return feed;
}

}  // namespace chainrule
