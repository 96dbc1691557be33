// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <variant>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

/// The optimizer's own learning rate throughout.
struct ConstantRate {
  bool operator==(const ConstantRate&) const = default;
};
/// Times `factor` after every `epochs` epochs.
struct StepDecay {
  Index epochs = 10;
  double factor = 0.1;
  bool operator==(const StepDecay&) const = default;
};
/// Linear warm-up over the first `warmup` share of all steps, then half a cosine down to
/// `final_factor` (Loshchilov & Hutter 2017, without restarts).
struct CosineDecay {
  double warmup = 0;
  double final_factor = 0;
  bool operator==(const CosineDecay&) const = default;
};
/// alpha(t) = a / (t + t0) at step t = 1, 2, ...: sum alpha = inf and sum alpha^2 < inf (Robbins &
/// Monro 1951; lecture notes S4). The optimizer's learning rate plays no role.
struct RobbinsMonro {
  double a = 1;
  double t0 = 0;
  bool operator==(const RobbinsMonro&) const = default;
};

using Schedule = std::variant<ConstantRate, StepDecay, CosineDecay, RobbinsMonro>;

/// Where training stands, for a schedule.
struct StepPosition {
  Index step = 1;  ///< 1, 2, ..., counted over all epochs
  Index steps_per_epoch = 1;
  Index total_steps = 1;
};

/// Throws ArgumentError, naming the number, when one is outside its domain.
CHAINRULE_API void validate(const Schedule& schedule);
CHAINRULE_API double learning_rate_at(const Schedule& schedule, double base, StepPosition position);
/// "constant", "step", "cosine" or "robbins-monro", each optionally with its numbers:
/// "step:10,0.5", "cosine:0.05,0", "robbins-monro:1,10". ArgumentError otherwise.
CHAINRULE_API Schedule parse_schedule(std::string_view text);

}  // namespace chainrule
