// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_hessian.hpp"

#include <fmt/format.h>

#include "chainrule/core/error.hpp"
#include "check_graph.hpp"
#include "compare.hpp"
#include "hessian_probe.hpp"

namespace chainrule {

GradientReport check_hessian(const Graph& graph, Value loss, const Feed& feed,
                             const GradientCheckOptions& options) {
  if (options.dtype != DType::kFloat64) {
    throw ArgumentError(
        fmt::format("check_hessian: dtype must be float64, got {}", to_string(options.dtype)));
  }
  GradientReport report;
  const std::vector<Value> values = internal::values_to_check(graph, loss, options);
  internal::check_waivers(values, options);
  const Index rows = internal::rows_of_feed(feed);
  internal::CompareSettings settings = internal::settings_of(
      values, options, {.factor = options.float32_factor, .terms = options.float32_terms},
      internal::longest_dimension(graph, loss, rows));
  if (values.empty()) {
    report.failures.push_back(fmt::format(
        "{}: nothing to differentiate by, so nothing was compared", describe(loss.node())));
    return report;
  }
  internal::HessianProbe probe(graph, loss, feed, values, options);
  report.architecture = probe.kernels().architecture;
  if (!probe.output_is_finite()) {
    report.failures.push_back(
        fmt::format("the gradient of {}: is not finite", describe(loss.node())));
    return report;
  }
  settings.batch_rows = rows;
  settings.what = "second derivative";
  settings.given = "forward over reverse gives";
  internal::compare_gradients(probe, settings, report);
  return report;
}

}  // namespace chainrule
