// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>

#include "chainrule/core/error.hpp"
#include "workspace_data.hpp"

namespace chainrule {

using internal::InputRole;
using internal::PlanInput;

Bindings::Data::Data(const Plan& plan_) : plan(plan_) {
  inputs.resize(plan.data().inputs.size());
  bound.resize(inputs.size());
  moved();
}

void Bindings::Data::changed() noexcept {
  static constinit std::atomic<std::uint64_t> last{0};
  version = last.fetch_add(1, std::memory_order_relaxed) + 1;
}

void Bindings::Data::moved() noexcept {
  changed();
  address_version = version;
}

Index Bindings::Data::check_complete() const {
  const internal::PlanData& data = plan.data();
  Index rows = -1;
  std::string_view rows_of;
  for (std::size_t i = 0; i < data.inputs.size(); ++i) {
    const PlanInput& input = data.inputs[i];
    if (!bound[i]) throw ArgumentError(fmt::format("run: nothing is bound to '{}'", input.name));
    if (!input.batched || (data.gather && input.role == InputRole::kValue)) {
      if (input.batched && inputs[i].rows <= largest_row) {
        throw ArgumentError(fmt::format("run: the row order names row {}, but '{}' has {} rows",
                                        largest_row, input.name, inputs[i].rows));
      }
      continue;
    }
    if (rows >= 0 && inputs[i].rows != rows) {
      throw ShapeError(fmt::format("run: '{}' has {} rows, but '{}' has {}", input.name,
                                   inputs[i].rows, rows_of, rows));
    }
    rows = inputs[i].rows;
    rows_of = input.name;
  }
  if (data.gather) {
    if (!row_order_bound) throw ArgumentError("run: the plan gathers rows, but no order is bound");
    const auto order_rows = static_cast<Index>(row_order.size());
    if (rows >= 0 && rows != order_rows) {
      throw ShapeError(fmt::format("run: the row order has {} rows, but '{}' has {}", order_rows,
                                   rows_of, rows));
    }
    rows = order_rows;
  }
  if (!data.layout.entries.empty() && parameters == nullptr) {
    throw ArgumentError("run: no parameters are bound");
  }
  if (data.writes_parameters && mutable_parameters == nullptr) {
    throw ArgumentError("run: the plan updates parameters, but those bound are const");
  }
  if (data.update != nullptr) {
    if (data.update->state_slots > 0 && optimizer == nullptr) {
      throw ArgumentError(
          fmt::format("run: update '{}' needs an optimizer state", data.update->name));
    }
    if (scalars.size() < static_cast<std::size_t>(data.update_groups * kUpdateScalars)) {
      throw ArgumentError(fmt::format("run: update '{}' needs {} scalars, got {}",
                                      data.update->name, data.update_groups * kUpdateScalars,
                                      scalars.size()));
    }
  }
  return std::max<Index>(rows, 0);
}

Bindings::Bindings(const Plan& plan) : data_(std::make_unique<Data>(plan)) {}
Bindings::~Bindings() = default;
Bindings::Bindings(const Bindings& other) : data_(std::make_unique<Data>(*other.data_)) {}

Bindings& Bindings::operator=(const Bindings& other) {
  if (this != &other) data_ = std::make_unique<Data>(*other.data_);
  return *this;
}

namespace {

void check_fits(const PlanInput& input, const ConstTensorView& view) {
  const bool rows_fit = input.batched || view.rows == input.rows;
  if (view.dtype == input.dtype && view.columns == input.columns && rows_fit &&
      view.ld >= view.columns && view.rows >= 0) {
    return;
  }
  throw ShapeError(fmt::format(
      "bind: '{}' expects {} [{}, {}], got {} [{}, {}] with leading dimension {}", input.name,
      to_string(input.dtype), input.batched ? std::string("batch") : std::to_string(input.rows),
      input.columns, to_string(view.dtype), view.rows, view.columns, view.ld));
}

void bind_input(Bindings::Data& data, std::size_t i, const ConstTensorView& view) {
  check_fits(data.plan.data().inputs[i], view);
  data.inputs[i] = view;
  data.bound[i] = true;
  data.moved();
}

/// False when the plan has no input of that value and role.
bool find_and_bind(Bindings::Data& data, Value value, InputRole role, const ConstTensorView& view) {
  const auto& inputs = data.plan.data().inputs;
  if (value.graph() != data.plan.data().graph) return false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].node != value.id() || inputs[i].role != role) continue;
    bind_input(data, i, view);
    return true;
  }
  return false;
}

}  // namespace

Bindings& Bindings::input(Value value, ConstTensorView view) {
  if (find_and_bind(*data_, value, InputRole::kValue, view)) return *this;
  const bool foreign = value && value.graph() != data_->plan.data().graph;
  throw ArgumentError(fmt::format("bind: the plan reads no input {}{}",
                                  value ? describe(value.node()) : std::string("(empty value)"),
                                  foreign ? " of another graph" : ""));
}

Bindings& Bindings::input(std::string_view name, ConstTensorView view) {
  const auto& inputs = data_->plan.data().inputs;
  std::string names;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].role != InputRole::kValue) continue;
    if (inputs[i].name == name) {
      bind_input(*data_, i, view);
      return *this;
    }
    names += (names.empty() ? "" : ", ") + inputs[i].name;
  }
  throw ArgumentError(fmt::format("bind: the plan reads no input '{}'; it reads: {}", name, names));
}

Bindings& Bindings::cotangent(Value value, ConstTensorView view) {
  if (find_and_bind(*data_, value, InputRole::kCotangent, view)) return *this;
  throw ArgumentError("bind: the plan was not compiled with a cotangent of that value");
}

Bindings& Bindings::tangent(Value value, ConstTensorView view) {
  if (find_and_bind(*data_, value, InputRole::kTangent, view)) return *this;
  throw ArgumentError("bind: the plan was not compiled with a tangent of that value");
}

namespace {

void check_layout(const Bindings::Data& data, const ParameterLayout& layout,
                  std::string_view what) {
  if (layout != data.plan.data().layout) {
    throw ShapeError(fmt::format(
        "bind: the {} have another layout ({} entries, {}) than the plan ({} entries, {})", what,
        layout.entries.size(), to_string(layout.dtype), data.plan.data().layout.entries.size(),
        to_string(data.plan.dtype())));
  }
}

}  // namespace

Bindings& Bindings::parameters(const Parameters& parameters) {
  check_layout(*data_, parameters.layout(), "parameters");
  data_->parameters = &parameters;
  data_->mutable_parameters = nullptr;
  data_->moved();
  return *this;
}

Bindings& Bindings::parameters(Parameters& parameters) {
  check_layout(*data_, parameters.layout(), "parameters");
  data_->parameters = &parameters;
  data_->mutable_parameters = &parameters;
  data_->moved();
  return *this;
}

Bindings& Bindings::optimizer(OptimizerState& state, std::span<const double> scalars) {
  const UpdateDef* update = data_->plan.data().update;
  if (update == nullptr) throw ArgumentError("bind: the plan was compiled without an update");
  if (update->state_slots > 0) check_layout(*data_, state.layout(), "optimizer slots");
  if (state.slots() != update->state_slots) {
    throw ArgumentError(fmt::format("bind: update '{}' keeps {} state slots, got {}", update->name,
                                    update->state_slots, state.slots()));
  }
  if (data_->optimizer == &state && data_->scalars.data() == scalars.data()) {
    data_->changed();
  } else {
    data_->moved();
  }
  data_->optimizer = &state;
  data_->scalars = scalars;
  return *this;
}

Bindings& Bindings::random(RandomKey key) {
  data_->random = key;
  return *this;
}

Bindings& Bindings::row_order(std::span<const std::uint32_t> rows) {
  data_->row_order = rows;
  data_->row_order_bound = true;
  data_->changed();
  data_->largest_row = rows.empty() ? -1 : *std::max_element(rows.begin(), rows.end());
  return *this;
}

}  // namespace chainrule
