// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/trainer.hpp"

namespace chainrule {

/// A bar with loss, validation metric, samples/s and remaining time, redrawn in place at most ten
/// times a second. For terminals. The stream must outlive the callback.
CHAINRULE_API Callback progress_bar(std::ostream& out);

/// One plain line an epoch. For pipes and logs.
CHAINRULE_API Callback progress_lines(std::ostream& out);

}  // namespace chainrule
