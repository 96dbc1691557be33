// SPDX-License-Identifier: Apache-2.0
#include "gp_optimize.hpp"

#include <fmt/format.h>

#include "interrupt.hpp"
#include "progress_line.hpp"

namespace chainrule::tools {

OptimizeResult with_progress(
    OptimizeOptions options,
    const std::function<OptimizeResult(const OptimizeOptions&)>& optimize) {
  const InterruptGuard guard;
  ProgressLine line;
  options.progress = [&](const OptimizeProgress& progress) {
    line.show(static_cast<std::size_t>(progress.start), static_cast<std::size_t>(progress.starts),
              fmt::format("starts, {} evaluations, log marginal likelihood {:.6g}",
                          progress.evaluations, progress.best));
    return !guard.interrupted();
  };
  return optimize(options);
}

}  // namespace chainrule::tools
