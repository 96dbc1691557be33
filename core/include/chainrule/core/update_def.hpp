// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <string_view>

#include "chainrule/core/op_context.hpp"
#include "chainrule/core/prepared_call.hpp"

namespace chainrule {

/// State slots an update may keep per parameter (momentum, second moment).
inline constexpr int kMaxUpdateSlots = 2;
/// Numbers an update gets anew at each step (learning rate, bias corrections).
inline constexpr int kUpdateScalars = 8;

/// What one call of an update sees: a tile of one parameter.
struct UpdateContext {
  const KernelTable* kernels = nullptr;
  TensorView parameter;
  ConstTensorView gradient;
  std::array<TensorView, kMaxUpdateSlots> state;
  const double* scalars = nullptr;  ///< kUpdateScalars of them
};

using UpdateFunction = void (*)(const UpdateContext&) noexcept;
using PrepareUpdateFunction = PreparedCall (*)(const UpdateContext&) noexcept;

/// An optimizer's update rule as data: elementwise on (parameter, gradient, state), so that a
/// weight tile can be updated while its gradient is still in cache. Functions are indexed by dtype.
struct UpdateDef {
  std::string_view name;
  int state_slots = 0;
  std::array<UpdateFunction, 2> apply{};
  /// apply() of a context as a call, which reads the scalars when it is made. May be null.
  std::array<PrepareUpdateFunction, 2> prepare{};
  /// apply() is p -= scalars[0] (g + scalars[1] p), two fused multiply-adds, and keeps no state: an
  /// op that accepts an epilogue may do it in the registers that the gradient is made in.
  bool is_plain_sgd = false;
};

}  // namespace chainrule
