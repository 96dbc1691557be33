// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "chainrule/learn/dual_activation.hpp"

namespace chainrule {

struct DualActivation::Form {
  enum class Family : std::uint8_t { kRectifier, kErf, kSin, kGelu, kSmooth };

  Family family = Family::kRectifier;
  std::string name{};
  double slope = 0;       ///< of a rectifier
  Function phi{};         ///< not of rectifiers
  Function derivative{};  ///< not of rectifiers

  /// Weights of t and |t| in the second moments of a rectifier.
  double odd() const noexcept { return (1 + slope) * (1 + slope) / 4; }
  double even() const noexcept { return (1 - slope) * (1 - slope) / 4; }
};

}  // namespace chainrule
