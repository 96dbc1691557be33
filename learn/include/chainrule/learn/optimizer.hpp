// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>
#include <variant>

#include "chainrule/core/export.hpp"
#include "chainrule/core/update_def.hpp"

namespace chainrule {

/// w -= learning_rate (v), v = momentum v + g; Nesterov's form steps along g + momentum v
/// (Sutskever et al. 2013, in PyTorch's formulation).
struct Sgd {
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;  ///< adds weight_decay w to the gradient of matrices

  bool operator==(const Sgd&) const = default;
};

/// Kingma & Ba 2015, algorithm 1.
struct Adam {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;  ///< adds weight_decay w to the gradient of matrices

  bool operator==(const Adam&) const = default;
};

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019) of matrices.
struct AdamW {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;

  bool operator==(const AdamW&) const = default;
};

using Optimizer = std::variant<Sgd, Adam, AdamW>;

/// Throws ArgumentError, naming the number, when one is outside its domain.
CHAINRULE_API void validate(const Optimizer& optimizer);
CHAINRULE_API double base_learning_rate(const Optimizer& optimizer) noexcept;
/// "sgd", "adam" or "adamw".
CHAINRULE_API std::string_view name_of(const Optimizer& optimizer) noexcept;

/// The optimizer's update rule as the runtime knows it.
CHAINRULE_API const UpdateDef& update_def(const Optimizer& optimizer) noexcept;

/// Parameter groups that optimizers distinguish.
inline constexpr int kDecayedGroup = 0;    ///< matrices
inline constexpr int kUndecayedGroup = 1;  ///< biases and scales
inline constexpr int kParameterGroups = 2;

/// The scalars of step t = 1, 2, ... for all groups (kParameterGroups x kUpdateScalars).
CHAINRULE_API void update_scalars(const Optimizer& optimizer, double learning_rate, Index step,
                                  std::span<double> scalars);

}  // namespace chainrule
