// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "compare.hpp"
#include "subject.hpp"

namespace chainrule::internal {

/// The gradients of one variable: of the weighted sum, and of each output where the whole Jacobian
/// is compared.
struct Gradients {
  Tensor sum;
  Tensor sum32;  ///< of float32, else empty
  std::vector<Tensor> each;

  double largest_of_each() const;
};

/// Those of every variable.
std::vector<Gradients> compute_gradients(Subject& subject, const std::vector<double>& weights,
                                         const CompareSettings& settings);

/// The mean of |x|; 1 if that is 0.
double mean_magnitude(ConstTensorView x);
/// The largest finite |x|.
double largest_magnitude(ConstTensorView x);
bool is_zero(ConstTensorView x);

}  // namespace chainrule::internal
