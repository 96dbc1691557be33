// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule {

/// Reads a kernel for inputs of `columns` columns from a formula:
///
///     sum     = product { "+" product }
///     product = factor { "*" factor }
///     factor  = NUMBER | NAME [ "(" NUMBER { "," NUMBER } ")" ] | "(" sum ")" | "deep" "(" sum ")"
///
/// A number is a variance that scales the rest of its product: "2 * rbf(1.5) + linear". Names and
/// their arguments, with what they are if left out: rbf(length_scale = 1), matern32, matern52;
/// ard_rbf(length_scale_0 = 1, ...), ard_matern32, ard_matern52; constant(value = 1); linear;
/// polynomial(degree = 2, offset = 1); arc_cosine(order = 1, weight_variance = 1, bias_variance =
/// 0); nngp_relu(depth = 1, weight_variance = 2, bias_variance = 0.1), ntk_relu, and so on
/// for the activations of DualActivation::names(), nngp and ntk being those of relu, see
/// nngp_kernel(); and, if there is a `model`, learned or learned(layer), see learned_kernel(), and
/// deep(...) of a kernel for its outputs, see deep_kernel().
///
/// ArgumentError, with the column of the text (from 1), for what is none of this or has arguments
/// outside its domain.
CHAINRULE_API CovarianceKernel parse_kernel(std::string_view text, Index columns,
                                            const Model* model = nullptr);

/// The formula of a kernel, from which parse_kernel() makes the same kernel to the last bit if it
/// consists of those.
CHAINRULE_API std::string to_text(const CovarianceKernel& kernel);

}  // namespace chainrule
