// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_gradients.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "chainrule/core/error.hpp"
#include "check_graph.hpp"
#include "compare.hpp"
#include "gradient_probe.hpp"

namespace chainrule {
namespace internal {
namespace {

bool contains(const std::vector<Value>& values, Value value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

void check_waivers(const std::vector<Value>& values, const GradientCheckOptions& options) {
  for (const std::string& name : options.waive_unresolved) {
    const bool known = std::any_of(values.begin(), values.end(),
                                   [&](const Value& value) { return value.node().name == name; });
    if (known) continue;
    std::string names;
    for (const Value& value : values) names += (names.empty() ? "" : ", ") + value.node().name;
    throw ArgumentError(
        fmt::format("check_gradients: waive_unresolved names '{}'; checked are: {}", name, names));
  }
}

CompareSettings settings_of(const std::vector<Value>& values, const GradientCheckOptions& options,
                            const Float32Rule& float32, Index longest) {
  CompareSettings settings;
  settings.dtype = options.dtype;
  settings.tolerances = {.relative_tolerance = options.relative_tolerance,
                         .error_bars = options.error_bars,
                         .roundings = options.roundings,
                         .resolution = options.resolution,
                         .float32 = float32,
                         .longest_sum = longest};
  settings.first_step = options.first_step;
  settings.max_jacobian = options.max_jacobian;
  settings.max_elements = options.max_elements;
  settings.samples = options.samples;
  settings.directions = options.directions;
  settings.seed = options.seed;
  settings.max_failures = options.max_failures;
  const std::vector<std::string>& waived = options.waive_unresolved;
  for (const Value& value : values) {
    settings.expected.push_back(
        {.zero = contains(options.zero_gradients, value),
         .kinks = options.accept_kinks || contains(options.kinks, value),
         .waived = std::find(waived.begin(), waived.end(), value.node().name) != waived.end()});
  }
  require_valid(settings, "check_gradients");
  return settings;
}

void require_output(const Graph& graph, Value output) {
  if (!output) throw ArgumentError("check_gradients: the output is an empty value");
  if (output.graph() != &graph) {
    throw ArgumentError("check_gradients: the output belongs to another graph");
  }
}

std::vector<Value> values_to_check(const Graph& graph, Value output,
                                   const GradientCheckOptions& options) {
  require_output(graph, output);
  const std::vector<Value> leaves = differentiable_leaves(graph, output);
  for (const auto* values : {&options.with_respect_to, &options.zero_gradients, &options.kinks}) {
    for (const Value& value : *values) {
      if (contains(leaves, value)) continue;
      throw ArgumentError(fmt::format(
          "check_gradients: {} is no parameter or real input that {} can be differentiated by",
          value ? describe(value.node()) : std::string("an empty value"), describe(output.node())));
    }
  }
  if (options.with_respect_to.empty()) return leaves;
  std::vector<Value> once;
  for (const Value& value : options.with_respect_to) {
    if (!contains(once, value)) once.push_back(value);
  }
  return once;
}

Index longest_dimension(const Graph& graph, Value output, Index rows) {
  const std::vector<bool> needed = ancestors(graph, output);
  Index longest = 1;
  for (NodeId id = 0; id <= output.id(); ++id) {
    if (!needed[static_cast<std::size_t>(id)]) continue;
    const Shape& shape = graph.node(id).shape;
    longest = std::max({longest, shape.is_batched() ? rows : shape.rows(), shape.columns()});
  }
  return longest;
}

GradientReport check_graph(const Graph& graph, Value output, const Feed& feed,
                           const GradientCheckOptions& options, const Float32Rule& float32) {
  if (options.dtype == DType::kInt32) {
    throw ArgumentError("check_gradients: dtype must be float32 or float64, got int32");
  }
  GradientReport report;
  report.dtype = options.dtype;
  const std::vector<Value> values = values_to_check(graph, output, options);
  check_waivers(values, options);
  const Index longest = longest_dimension(graph, output, rows_of_feed(feed));
  CompareSettings settings = settings_of(values, options, float32, longest);
  if (values.empty()) {
    report.failures.push_back(fmt::format(
        "{}: nothing to differentiate by, so nothing was compared", describe(output.node())));
    return report;
  }
  GradientProbe probe(graph, output, feed, values, options);
  report.architecture = probe.kernels().architecture;
  if (!probe.output_is_finite()) {
    report.failures.push_back(fmt::format("{}: is not finite", describe(output.node())));
    return report;
  }
  const std::vector<double> weights =
      output_weights(probe.outputs().size(), options.dtype, options.seed);
  if (!probe.is_deterministic(weights, options.dtype)) {
    report.failures.push_back("running backward twice gives different bits");
  }
  settings.batch_rows = rows_of_feed(feed);
  settings.forward_mode = true;
  compare_gradients(probe, settings, report);
  report.without_forward_mode = probe.without_forward_mode();
  return report;
}

}  // namespace internal

GradientReport check_gradients(const Graph& graph, Value output, const Feed& feed,
                               const GradientCheckOptions& options) {
  internal::require_output(graph, output);
  const Index rows = internal::rows_of_feed(feed);
  const internal::Float32Rule rule{.factor = options.float32_factor,
                                   .sum = internal::longest_dimension(graph, output, rows),
                                   .terms = options.float32_terms};
  return internal::check_graph(graph, output, feed, options, rule);
}

}  // namespace chainrule
