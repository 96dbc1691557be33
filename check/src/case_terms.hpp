// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/check/case_table.hpp"

namespace chainrule::internal {

// OpCase::terms of the ops whose backward adds up more than its result shows; the formulas are
// those of chainrule/ops/backward_accuracy.hpp.
double elu_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double sigmoid_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double tanh_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double silu_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double gelu_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double gelu_tanh_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double softmax_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double log_softmax_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double layer_norm_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double batch_norm_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double binary_cross_entropy_terms(const CaseInstance& instance, std::size_t input, Index row,
                                  Index column);
double poisson_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double gamma_terms(const CaseInstance& instance, std::size_t input, Index row, Index column);
double negative_binomial_terms(const CaseInstance& instance, std::size_t input, Index row,
                               Index column);
double cross_entropy_terms(const CaseInstance& instance, std::size_t input, Index row,
                           Index column);

}  // namespace chainrule::internal
