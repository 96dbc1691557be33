// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/check/check_gradients.hpp"
#include "compare.hpp"
#include "judge.hpp"

namespace chainrule::internal {

/// Throws ArgumentError for an empty output and one of another graph.
void require_output(const Graph& graph, Value output);

/// What to differentiate by; throws the ArgumentErrors of check_gradients().
std::vector<Value> values_to_check(const Graph& graph, Value output,
                                   const GradientCheckOptions& options);

/// Throws ArgumentError for a waiver that names none of the values.
void check_waivers(const std::vector<Value>& values, const GradientCheckOptions& options);

/// How gradients by these values are compared.
CompareSettings settings_of(const std::vector<Value>& values, const GradientCheckOptions& options,
                            const Float32Rule& float32, Index longest);

/// The longest dimension of a value that `output` is computed from.
Index longest_dimension(const Graph& graph, Value output, Index rows);

/// check_gradients() with a rule for float32 of the caller's own.
GradientReport check_graph(const Graph& graph, Value output, const Feed& feed,
                           const GradientCheckOptions& options, const Float32Rule& float32);

}  // namespace chainrule::internal
