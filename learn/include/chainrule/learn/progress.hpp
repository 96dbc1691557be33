// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <iosfwd>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/trainer.hpp"

namespace chainrule {

/// The width of the terminal that is open as `descriptor` (2 is standard error); 80 where there is
/// none, or it does not say.
CHAINRULE_API int terminal_columns(int descriptor);

/// A bar with loss, validation metric, samples/s and remaining time, redrawn in place at most ten
/// times a second. For terminals. The stream must outlive the callback. `columns` is asked for the
/// width at each redrawing, which no line fills; without it that is 80. What is too long loses
/// first the length of the bar, then validation loss, samples/s, remaining time, validation metric,
/// loss, and last the bar:
///
///   progress_bar(std::cerr, [] { return terminal_columns(2); })
CHAINRULE_API Callback progress_bar(std::ostream& out, std::function<int()> columns = {});

/// One plain line an epoch. For pipes and logs.
CHAINRULE_API Callback progress_lines(std::ostream& out);

}  // namespace chainrule
