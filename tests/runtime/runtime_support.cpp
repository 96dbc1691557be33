// SPDX-License-Identifier: Apache-2.0
#include "runtime_support.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <span>
#include <thread>

#include "chainrule/core/initializer.hpp"
#include "chainrule/core/op_def.hpp"

namespace chainrule::testing {
namespace {

template <class T, UpdateKernel kKernel>
void apply_update(const UpdateContext& context) noexcept {
  const auto state = [&](std::size_t slot) {
    const TensorView& view = context.state[slot];
    return view.data == nullptr ? MatrixView<T>{} : view.as<T>();
  };
  context.kernels->get<T>().update[static_cast<std::size_t>(kKernel)](
      context.parameter.as<T>(), context.gradient.as<T>(), state(0), state(1), context.scalars);
}

template <class T>
void copy(MatrixView<const T> from, MatrixView<T> to, bool accumulate) {
  for (Index i = 0; i < from.rows; ++i) {
    for (Index j = 0; j < from.columns; ++j) {
      to(i, j) = accumulate ? to(i, j) + from(i, j) : from(i, j);
    }
  }
}

template <class T>
void copy_forward(const OpContext& context) {
  copy(context.input<T>(0), context.out<T>(), false);
}

template <class T>
void copy_jvp(const OpContext& context) {
  copy(context.in_tangent<T>(0), context.out_tangent<T>(), false);
}

template <class T>
void copy_backward(const OpContext& context) {
  copy(context.out_gradient<T>(), context.in_gradient<T>(0), context.accumulates(0));
}

struct Meet {
  static constexpr std::string_view kName = "meet";
  static constexpr OpTraits kTraits{
      .backward_reads = {.inputs = 0, .output = false}, .linear = true, .handles_overwrite = true};
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  template <class T>
  static void forward(const OpContext& context) {
    Meeting::attend();
    copy_forward<T>(context);
  }
  template <class T>
  static void backward(const OpContext& context) {
    copy_backward<T>(context);
  }
  template <class T>
  static void jvp(const OpContext& context) {
    copy_jvp<T>(context);
  }
};

struct Fragile {
  static constexpr std::string_view kName = "fragile";
  static constexpr OpTraits kTraits{
      .backward_reads = {.inputs = 0, .output = false}, .linear = true, .handles_overwrite = true};
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  template <class T>
  static void forward(const OpContext& context) {
    const Index end = context.first_row + context.rows;
    if (end > Failures::forward_from && context.first_row < Failures::forward_to) {
      // The lowest rows fail last, so that only order can make them win.
      if (context.first_row <= Failures::forward_from) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
      throw Failure{"forward", context.first_row};
    }
    copy_forward<T>(context);
  }
  template <class T>
  static void backward(const OpContext& context) {
    if (context.first_row + context.rows > Failures::backward_from) {
      throw Failure{"backward", context.first_row};
    }
    copy_backward<T>(context);
  }
  template <class T>
  static void jvp(const OpContext& context) {
    copy_jvp<T>(context);
  }
};

struct FragileDot {
  static constexpr std::string_view kName = "fragile_dot";
  static constexpr OpTraits kTraits{.min_inputs = 2,
                                    .max_inputs = 2,
                                    .backward_reads = {.inputs = 0b01, .output = false},
                                    .weight_input = 1,
                                    .mirror_input = 1};
  static Shape infer(const InferContext&) { return {kBatch, 1}; }
  template <class T>
  static void forward(const OpContext& context) {
    const auto x = context.input<T>(0);
    const auto w = context.input<T>(1);
    for (Index i = 0; i < x.rows; ++i) {
      T sum = 0;
      for (Index k = 0; k < x.columns; ++k) sum += x(i, k) * w(k, 0);
      context.out<T>()(i, 0) = sum;
    }
  }
  template <class T>
  static void backward(const OpContext& context) {
    const auto dx = context.in_gradient<T>(0);
    const auto transposed = context.mirror.as<T>();
    for (Index i = 0; i < dx.rows; ++i) {
      for (Index k = 0; k < dx.columns; ++k) {
        dx(i, k) += context.out_gradient<T>()(i, 0) * transposed(0, k);
      }
    }
  }
  template <class T>
  static void jvp(const OpContext& context) {
    const auto x = context.input<T>(0), tx = context.in_tangent<T>(0);
    const auto w = context.input<T>(1), tw = context.in_tangent<T>(1);
    for (Index i = 0; i < x.rows; ++i) {
      T sum = 0;
      for (Index k = 0; k < x.columns; ++k) sum += tx(i, k) * w(k, 0) + x(i, k) * tw(k, 0);
      context.out_tangent<T>()(i, 0) = sum;
    }
  }
  template <class T>
  static void weight_gradient(const OpContext& context, Index first, Index count) {
    if (Failures::weight_gradient && first > 0) throw Failure{"weight_gradient", first};
    const auto x = context.input<T>(0);
    for (Index k = 0; k < count; ++k) {
      for (Index i = 0; i < x.rows; ++i) {
        context.in_gradient<T>(1)(k, 0) += context.out_gradient<T>()(i, 0) * x(i, first + k);
      }
    }
  }
};

struct Opaque {
  static constexpr std::string_view kName = "opaque";
  static constexpr OpTraits kTraits{};
  static constexpr bool kNoGradient = true;
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
  template <class T>
  static void forward(const OpContext& context) {
    copy_forward<T>(context);
  }
};

constinit const OpDef kMeetOp = define_op<Meet>();
constinit const OpDef kFragileOp = define_op<Fragile>();
constinit const OpDef kFragileDotOp = define_op<FragileDot>();
constinit const OpDef kOpaqueOp = define_op<Opaque>();

std::atomic<int> meeting_number{0};
std::atomic<int> meeting_expected{0};
std::atomic<int> meeting_arrived{0};

constexpr Index kNever = std::numeric_limits<Index>::max();

}  // namespace

constinit const UpdateDef kSgdUpdate{
    .name = "sgd",
    .state_slots = 0,
    .apply = {&apply_update<float, UpdateKernel::kSgd>, &apply_update<double, UpdateKernel::kSgd>},
    .is_plain_sgd = true};
constinit const UpdateDef kAdamUpdate{.name = "adam",
                                      .state_slots = 2,
                                      .apply = {&apply_update<float, UpdateKernel::kAdam>,
                                                &apply_update<double, UpdateKernel::kAdam>}};

std::vector<double> sgd_scalars(double rate) { return {rate, 0, 0, 0, 0, 0, 0, 0}; }

std::vector<double> adam_scalars(double rate, int step) {
  return {rate / (1 - std::pow(0.9, step)),         0.9, 0.999, 1e-8,
          1 / std::sqrt(1 - std::pow(0.999, step)), 0,   0,     0};
}

std::vector<UpdateOptions::Target> all_parameters(Graph& graph) {
  std::vector<UpdateOptions::Target> targets;
  for (NodeId id = 0; id < static_cast<NodeId>(graph.size()); ++id) {
    if (graph.node(id).kind == NodeKind::kParameter) {
      targets.push_back({.parameter = Value(&graph, id), .group = 0});
    }
  }
  return targets;
}

Tensor random_tensor(const Shape& shape, DType dtype, std::uint64_t seed) {
  Tensor result(shape, dtype);
  initialize(uniform(1), {.seed = seed, .stream = 77}, result);
  return result;
}

Tensor random_labels(Index rows, Index classes, std::uint64_t seed) {
  Tensor result(Shape{rows, 1}, DType::kInt32);
  for (Index i = 0; i < rows; ++i) {
    result.as<std::int32_t>()(i, 0) = static_cast<std::int32_t>(
        random_bits({.seed = seed, .stream = 78}, static_cast<std::uint64_t>(i)) %
        static_cast<std::uint64_t>(classes));
  }
  return result;
}

Tensor tensor(const Shape& shape, const std::vector<double>& values, DType dtype) {
  return Tensor::from(shape, std::span<const double>(values)).to(dtype);
}

ConstTensorView first_rows(const Tensor& tensor, Index rows) {
  ConstTensorView view = tensor.view();
  view.rows = rows;
  return view;
}

std::vector<double> elements(ConstTensorView view) {
  std::vector<double> result;
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) result.push_back(element(view, i, j));
  }
  return result;
}

std::string bytes(ConstTensorView view) {
  std::string result;
  const Index size = size_of(view.dtype);
  for (Index i = 0; i < view.rows; ++i) {
    result.append(static_cast<const char*>(view.data) + i * view.ld * size,
                  static_cast<std::size_t>(view.columns * size));
  }
  return result;
}

std::string bytes(const Parameters& parameters) {
  std::string result;
  for (Index i = 0; i < parameters.size(); ++i) result += bytes(parameters.view(i));
  return result;
}

std::string bytes(const OptimizerState& state) {
  std::string result;
  for (int slot = 0; slot < state.slots(); ++slot) {
    for (Index i = 0; i < static_cast<Index>(state.layout().entries.size()); ++i) {
      result += bytes(state.view(slot, i));
    }
  }
  return result;
}

Meeting::Meeting(int expected) {
  meeting_arrived = 0;
  ++meeting_number;
  meeting_expected = expected;
}

Meeting::~Meeting() { meeting_expected = 0; }

int Meeting::arrived() const noexcept { return meeting_arrived; }

void Meeting::attend() {
  thread_local int last = 0;
  if (meeting_expected == 0 || last == meeting_number) return;
  last = meeting_number;
  ++meeting_arrived;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (meeting_arrived < meeting_expected && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

Value meet(Value x) { return x.graph()->apply(kMeetOp, {x}); }

std::atomic<Index> Failures::forward_from{kNever};
std::atomic<Index> Failures::forward_to{kNever};
std::atomic<Index> Failures::backward_from{kNever};
std::atomic<bool> Failures::weight_gradient{false};

void Failures::reset() {
  forward_from = kNever;
  forward_to = kNever;
  backward_from = kNever;
  weight_gradient = false;
}

Value fragile(Value x) { return x.graph()->apply(kFragileOp, {x}); }
Value fragile_dot(Value x, Value w) { return x.graph()->apply(kFragileDotOp, {x, w}); }
Value opaque(Value x) { return x.graph()->apply(kOpaqueOp, {x}); }

}  // namespace chainrule::testing
